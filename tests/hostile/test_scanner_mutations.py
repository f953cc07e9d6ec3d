"""Ten thousand archives and headers, damaged in ways that a seed decides: each ends in a verdict, soon.

What was dangerous before the damage and still holds its payload whole, where its reader would find it, must
not have become clean: see the evasions of `test_scanner.py`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import random
import struct
import zipfile
import zlib

import lz4.frame
import numpy as np
import pytest

from moongate.core.verdicts import VERDICTS
from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import EVIL, zipped
from support.scan_samples import containers, documents, graphs, headers, rarer_archives, tables
from support.scan_samples.seven_zip import seven_zipped

PIECES = 20
ROUNDS = 500
"""Twenty pieces of five hundred: ten thousand, spread over the processes of a run."""

_SMALL = 3000
_INTERESTING = (
    b"\xff" * 8,
    bytes(8),
    struct.pack("<Q", 1 << 62),
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\x01\x00",
)


def _bases() -> list[bytes]:
    plain = pickle.dumps({"a": [1, 2.0, "x"], "b": np.arange(4)}, 4)
    made = [
        plain,
        EVIL,
        zipped({"archive/data.pkl": EVIL, "archive/data/0": bytes(64)}),
        zipped({"a.json": b'{"chat_template": "{{ x }}"}' * 4}, zipfile.ZIP_DEFLATED),
        zipped({"config.json": b"{}"}, zipfile.ZIP_BZIP2),
        seven_zipped({"m.pkl": EVIL, "readme": b"words " * 9}),
        seven_zipped(
            {"m": lzma.compress(b"x", lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])}, b"\x21"
        ),
        containers.tarred({"model.pkl": EVIL})[:2048],
        rarer_archives.rar4({"m.pkl": EVIL}),
        rarer_archives.rar5({"m.pkl": EVIL}),
        rarer_archives.cabinet({"m.pkl": EVIL}),
        rarer_archives.ar({"m.pkl": EVIL}),
        rarer_archives.cpio({"m.pkl": EVIL}),
        rarer_archives.rpm(gzip.compress(rarer_archives.cpio({"m.pkl": EVIL}), mtime=0), "true"),
        rarer_archives.seven_zip_of_bcj2("m.pkl", EVIL),
        rarer_archives.lzw(EVIL),
        tables.parquet([EVIL], "snappy", tables.snapped),
        tables.arrow([EVIL], lz4.frame.compress),
        graphs.tflite("FlexReadFile", "Mine"),
        b"%PDF-1.7\n4 0 obj<</Type/ObjStm/Filter/FlateDecode>>stream\r\n" + zlib.compress(b"5 0 <</JS(x)>>"),
        gzip.compress(EVIL, mtime=0),
        bz2.compress(plain),
        lzma.compress(plain),
        lzma.compress(plain, lzma.FORMAT_ALONE),
        zlib.compress(plain),
        lz4.frame.compress(plain),
        headers.objects(EVIL),
        documents.hdf5(documents.model(documents.LAMBDA))[-2500:],
        graphs.onnx(graphs.node("Relu"), tensors=(graphs.external("../x"),)),
        graphs.saved_model("ReadFile", "MatMul", in_library=True),
    ]
    groups = (headers.MALICIOUS, headers.BENIGN, containers.MALICIOUS, graphs.MALICIOUS, documents.MALICIOUS)
    return made + [data for group in groups for data in group.values() if len(data) <= _SMALL]


def _damaged(data: bytes, dice: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(dice.randint(1, 5)):
        place = dice.randrange(len(out) or 1)
        match dice.randrange(7):
            case 0:
                out[place : place + 1] = bytes((dice.randrange(256),))
            case 1:
                del out[place : place + dice.randint(1, 24)]
            case 2:
                out[place:place] = dice.randbytes(dice.randint(1, 8))
            case 3:
                value = dice.choice(_INTERESTING)
                out[place : place + len(value)] = value
            case 4:
                out += out[place : place + 64]
            case 5:
                out[place : place + 1] = bytes(
                    byte ^ 1 << dice.randrange(8) for byte in out[place : place + 1]
                )
            case _:
                out = out[:place] or out
    return bytes(out)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", range(PIECES))
def test_damaged_archives_and_headers_end_in_a_verdict(piece: int) -> None:
    dice = random.Random(f"piece {piece}")
    bases = _bases()
    for _ in range(ROUNDS):
        sample = _damaged(dice.choice(bases), dice)
        report = judge(Held(sample), "file")
        assert report.verdict in VERDICTS
        broken = [finding for finding in report.findings if finding.rule == "scan-failed"]
        assert not broken, (sample, broken)
