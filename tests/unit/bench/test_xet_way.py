from __future__ import annotations

from pathlib import Path

import pytest
from bench import xet_way
from bench.family import make_base
from bench.plan import MIB
from bench.reader import Answered

from moongate.double import HubDouble, LfsFile


def test_the_pieces_of_a_file_are_its_xorbs_and_can_be_read(tmp_path: Path) -> None:
    made = make_base(tmp_path, MIB, seed=1)
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/chunks", xet=True).commit({"model.safetensors": LfsFile(made.at)})
    double.add_repo("acme/plain").commit({"model.safetensors": LfsFile(made.at)})
    with double.running() as url:
        pieces = xet_way.pieces_of(url, "acme/chunks", "model.safetensors")
        terms = double.xet_file("acme/chunks", "model.safetensors").terms
        assert len({piece.xorb for piece in pieces}) == len({term.xorb for term in terms})
        assert sum(piece.span.length for piece in pieces) >= made.size_bytes
        assert xet_way.first_byte(url, "acme/chunks", "model.safetensors") > 0
        double.meters.wait_for(lambda meters: meters.bytes_sent(xorb=pieces[0].xorb) > 0)
        with pytest.raises(Answered, match="does not offer"):
            xet_way.pieces_of(url, "acme/plain", "model.safetensors")
