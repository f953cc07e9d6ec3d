"""Values of tables that are pickles are found on their first pages, however these are packed."""

from __future__ import annotations

import gzip
import pickle
import random
import struct

import lz4.block
import lz4.frame
import pytest

from moongate.scan.engine import judge
from moongate.weights.parquet_pages import unsnapped
from moongate.weights.ranged import Held
from moongate.weights.unpacking import DECODERS
from support.pickled import EVIL
from support.scan_samples.tables import arrow, parquet, snapped

PLAIN = [pickle.dumps({"row": number}) for number in range(20)]
CODE = [b"import os; os.system('true')", b"__import__('os')", b"cos\nsystem is what it says"]
NOISE = [random.Random(3).randbytes(900) for _ in range(30)]
PACKERS = {
    "none": bytes,
    "snappy": snapped,
    "gzip": gzip.compress,
    "lz4": lambda data: lz4.block.compress(data, store_size=False),
}


def verdict(data: bytes, name: str = "train.parquet") -> str:
    return judge(Held(data), name).verdict


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("codec", PACKERS)
def test_a_value_that_runs_code_is_found(codec: str, second: bool) -> None:
    pack = PACKERS[codec]
    assert verdict(parquet([*PLAIN, EVIL], codec, pack, second=second)) == "dangerous"
    for values in (PLAIN, CODE, NOISE, [b""]):
        assert verdict(parquet(values, codec, pack, second=second)) == "clean"


@pytest.mark.skipif("zstd" not in DECODERS, reason="no zstd here")
def test_pages_and_buffers_of_zstd_are_unpacked() -> None:
    pack = pytest.importorskip("backports.zstd").compress
    assert verdict(parquet([*PLAIN, EVIL], "zstd", pack)) == "dangerous"
    assert verdict(arrow([*PLAIN, EVIL], pack), "data.arrow") == "dangerous"
    assert verdict(arrow(PLAIN, pack), "data.arrow") == "clean"


@pytest.mark.parametrize("stream", [False, True])
def test_values_of_arrow_are_looked_at(stream: bool) -> None:
    for pack in (None, lz4.frame.compress):
        assert verdict(arrow([*PLAIN, EVIL], pack, stream=stream), "data.arrow") == "dangerous"
        for values in (PLAIN, CODE, NOISE):
            assert verdict(arrow(values, pack, stream=stream), "data.arrow") == "clean"


def test_a_footer_that_lies_costs_nothing() -> None:
    whole = parquet([EVIL])
    for length in (0, 3, len(whole), 0xFFFFFFFF):
        assert verdict(whole[:-8] + struct.pack("<I", length) + b"PAR1") in {"clean", "dangerous"}
    for at in range(len(whole)):
        judge(Held(whole[:at] + b"\xff" + whole[at + 1 :]), "x")


def test_copies_of_snappy_are_followed() -> None:
    assert unsnapped(b"\x0a\x04ab" + b"\x16\x02\x00" + b"\x00c", 100) == b"abababab" + b"c"
    with pytest.raises(ValueError, match="not there"):
        unsnapped(b"\x0a\x04ab" + b"\x16\x09\x00", 100)
