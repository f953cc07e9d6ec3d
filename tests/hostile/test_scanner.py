"""What is made to slip past the scanner is found, and what is made to break it does not."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import pickle
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import pytest

from moongate.core.verdicts import VERDICTS
from moongate.scan.engine import judge
from moongate.scan.jail import Jail, Limits
from moongate.weights.ranged import Held
from support.pickled import EVIL, calls, zipped

ROUNDS = 150


def tarred(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("inner")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def objects(data: bytes) -> bytes:
    """An array of numpy's that holds objects, whose pickle is `data`."""
    out = io.BytesIO()
    np.save(out, np.array([None], dtype=object), allow_pickle=True)
    whole = out.getvalue()
    return whole[: whole.index(b"\n") + 1] + data


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "bare": lambda data: data,
    "zip": lambda data: zipped({"inner": data}),
    "torch": lambda data: zipped({"archive/data.pkl": data, "archive/version": b"3"}),
    "tar": tarred,
    "npy": objects,
    "npz": lambda data: zipped({"arr_0.npy": objects(data)}),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lz4.frame.compress,
}
PADDINGS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "nothing first": lambda data: data[:2] + b"N0" * 5000 + data[2:],
    "a pickle first": lambda data: pickle.dumps({"weights": [1.0] * 50}) + data,
    "noise behind": lambda data: data + bytes(range(256)) * 8,
}


@pytest.mark.parametrize(("container", "compression"), list(itertools.product(CONTAINERS, COMPRESSIONS)))
def test_no_wrapping_hides_a_call(container: str, compression: str) -> None:
    for (padding, pad), protocol, name in itertools.product(
        PADDINGS.items(), (2, 4), ("model.pt", "config.json", "weights.safetensors", "x")
    ):
        sample = COMPRESSIONS[compression](CONTAINERS[container](pad(calls("posix", "system", protocol))))
        assert judge(Held(sample), name).verdict == "dangerous", (padding, protocol, name)


def _texts() -> dict[str, bytes]:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    key = b"tokenizer.chat_template"
    return {
        "pickle": pickle.dumps({"a": [1, 2.0, "x"], "b": np.arange(10)}, 4),
        "old pickle": pickle.dumps({"a": [1, 2.0, "x"], "b": (1, 2)}, 0),
        "evil": EVIL,
        "torch": zipped({"archive/data.pkl": pickle.dumps({}, 2), "archive/data/0": bytes(200)}),
        "deflated": zipped({"a/b.json": b'{"chat_template": "{{ messages }}"}' * 9}, 8),
        "tar": tarred(EVIL),
        "gzip": gzip.compress(tarred(b"x")),
        "safetensors": struct.pack("<Q", len(header)) + header + bytes(4),
        "gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
        + struct.pack("<IQ", 8, 14) + b"{{ messages }}",
        "numpy": objects(pickle.dumps([None])),
        "graph": b"\x08\x08\x12\x04test\x3a\x0c\x0a\x07\x22\x04Relu:\x00\x12\x01g\x42\x02\x10\x0f",
        "json": json.dumps({"class_name": "Sequential", "config": {"layers": []}}).encode(),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(40) + b'{"class_name": "Model", "config": {}}' + bytes(40),
        "template": b"{% for m in messages %}{{ m['content'] | trim }}{% endfor %}",
        "python": b"import torch\nclass A(torch.nn.Module):\n    def f(self):\n        return self.x\n",
        "requirements": b"torch==2.4\ngradio>=5\nnumpy\n",
        "dockerfile": b"FROM python:3.11\nRUN pip install torch\nCMD python app.py\n",
        "xml": b"<?xml version='1.0'?><PMML version='4.4'><Header/></PMML>",
        "7z": bytes.fromhex("377abcaf271c0004") + bytes(24) + bytes(range(64)),
    }  # fmt: skip


def _mutated(data: bytes, dice: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(len(out) or 1)
        match dice.randrange(5):
            case 0:
                out[place : place + 1] = bytes((dice.randrange(256),))
            case 1:
                del out[place : place + dice.randint(1, 16)]
            case 2:
                out[place:place] = dice.randbytes(dice.randint(1, 8))
            case 3:
                out[place : place + 8] = dice.choice((b"\xff" * 8, bytes(8), struct.pack("<Q", 1 << 62)))
            case _:
                out += out[place : place + 64]
    return bytes(out)


@pytest.mark.parametrize("name", _texts())
def test_no_damage_breaks_the_scanner(name: str) -> None:
    dice = random.Random(name)
    data = _texts()[name]
    for _ in range(ROUNDS):
        sample = _mutated(data, dice)
        report = judge(Held(sample), "file")
        assert report.verdict in VERDICTS
        assert all(finding.rule != "scan-failed" for finding in report.findings), (sample, report)


BOMBS = {
    "memo of memos": b"\x80\x02]q\x00" + b"(h\x00h\x00lq\x00" * 2000 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "deep lists as arguments": b"\x80\x02cos\nsystem\n)" + b"\x85" * 100_000 + b"R.",
    "many marks": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
    "deep json": b"[" * 500_000,
    "deep objects": b'{"a":' * 100_000,
    "deep parentheses": b"x = " + b"(" * 50_000,
    "many template pieces": b"{{ a }}" * 50_000,
    "open template pieces": b"{{ " * 20_000,
    "open comments": b"{#" * 50_000 + b"{{ x }}",
    "class names": b"\x89HDF\r\n\x1a\n" + b"class_name\x00" * 200_000,
    "class names in a row": b"\x89HDF\r\n\x1a\n" + b'{"class_name' * 100_000,
    "pickle beginnings": b"\x00" + b"\x80\x04]" * 200_000,
    "archive ends": b"\x00" * 10 + b"PK\x05\x06" * 15_000,
    "member heads": b"PK\x03\x04" * 50_000,
    "empty xml tags": b"<?xml?>" + b"<!DOCTYPE" * 20_000,
    "long requirement": b"a==" + b"1" * 200_000 + b"\n",
    "spaces in a shell": b"#!/bin/sh\ncurl" + b" " * 100_000,
    "curls": b"#!/bin/sh\n" + b"curl http://a.test " * 10_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_nothing_takes_for_ever(name: str) -> None:
    assert judge(Held(BOMBS[name]), "file").verdict in VERDICTS


def _lzma_with_dictionary(size_bytes: int) -> bytes:
    return b"\x5d" + struct.pack("<I", size_bytes) + b"\xff" * 8 + bytes(64)


HEAVY: dict[str, Callable[[], bytes]] = {
    "gzip of zeros": lambda: gzip.compress(bytes(80 << 20), 1),
    "zip of zeros": lambda: zipped({"a": bytes(80 << 20)}, 8),
    "xz of zeros": lambda: lzma.compress(bytes(80 << 20), preset=0),
    "bzip2 of zeros": lambda: bz2.compress(bytes(80 << 20)),
    "lz4 of zeros": lambda: lz4.frame.compress(bytes(80 << 20)),
    "a giant dictionary": lambda: _lzma_with_dictionary(0xFFFFFFFF),
    "gzip in gzip": lambda: gzip.compress(gzip.compress(bytes(80 << 20), 1), 1),
    "wide json": lambda: b"[" + b"{}," * 1_000_000 + b"{}]",
    "a wide pickle": lambda: b"\x80\x04(" + b"]" * 1_000_000 + b"t.",
    "long lines": lambda: b"x" * (17 << 20),
    "a long python": lambda: b"a = [" + b"1, " * 300_000 + b"]\n",
    "many members": lambda: zipped({f"{n}": b"" for n in range(15_000)}),
    "a wide template": lambda: b"{{ " + b"a ~ " * 200_000 + b"a }}",
}


@pytest.mark.timeout(100)
@pytest.mark.parametrize("name", HEAVY)
def test_what_is_heavy_ends_within_the_jails_bounds(name: str, tmp_path: Path) -> None:
    """512 MiB and ten seconds of CPU: nothing that we make dies of them."""
    path = tmp_path / "heavy"
    path.write_bytes(HEAVY[name]())
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with Jail(Limits(seconds=60, memory_bytes=512 << 20, cpu_seconds=10)) as jail:
            report = jail.judge(descriptor, "heavy")
    finally:
        os.close(descriptor)
    assert report.verdict in VERDICTS
    assert not [finding for finding in report.findings if finding.rule == "scan-failed"], report
