"""Pickles that reach for something in ways that no list names, and files that are two things at once."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import EVIL, text, zipped
from support.scan_samples.assembly import names
from support.scan_samples.containers import tarred, torch_zip
from support.scan_samples.headers import gguf

PLAIN = b"cos\nsystem\n(S'true'\ntR."
UNKNOWN = b"cevilpkg\nrun\n(S'x'\ntR."
YOLO = names("ultralytics", "YOLO")
ZIP = torch_zip(EVIL)


def many(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def called(module: str, name: str, *values: bytes) -> bytes:
    return names(module, name) + many(*values) + b"R"


def listed(value: bytes) -> bytes:
    """`list(value)`, which goes through the value."""
    return b"\x80\x04" + called("builtins", "list", value) + b"."


CALLS = {
    "a base's constructor": b"\x80\x04"
    + called("copyreg", "_reconstructor", YOLO, YOLO, text("evil.pt"))
    + b".",
    "a partial": b"\x80\x04" + called("functools", "partial", YOLO, text("evil.pt")) + b".",
    "a partial that is told another function": b"\x80\x04"
    + called("functools", "partial", names("torch", "Tensor"))
    + many(YOLO, many(text("evil.pt")), b"}", b"}")
    + b"b.",
    "an iterator that calls": listed(called("builtins", "iter", YOLO, b"N")),
    "a data pipe that calls": listed(
        called(
            "torch.utils.data.datapipes.iter.callable",
            "MapperIterDataPipe",
            called(
                "torch.utils.data.datapipes.iter.utils",
                "IterableWrapperIterDataPipe",
                b"](" + text("x") + b"e",
            ),
            names("torch.storage", "_load_from_bytes"),
        )
    ),
    "pandas' expressions": b"\x80\x04" + called("pandas.core.computation.expr", "Expr", text("1")) + b".",
    "a model by its name": b"\x80\x04" + called("transformers", "BertModel", text("evil")) + b".",
    "a later stream without a mark": pickle.dumps({"a": 1}, 4) + UNKNOWN,
    "behind data, a number first": bytes(9000) + b"\x80\x04I1\n0" + EVIL[2:],
    "behind data, a float first": bytes(9000) + b"\x80\x02G" + bytes(8) + b"0" + PLAIN,
}


def tar_named(name: bytes) -> bytes:
    """A tar whose first member is named by a pickle: the file is both."""
    head = bytearray(tarred({"a": b""})[:512])
    head[:100] = name.ljust(100, b"\x00")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\x00 " % sum(head)
    return bytes(head) + bytes(1024)


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def commented(archive: bytes, length: int) -> bytes:
    out = bytearray(archive)
    struct.pack_into("<H", out, archive.rindex(b"PK\x05\x06") + 20, length)
    return bytes(out) + b" " * length


def alone(**settings: int) -> bytes:
    return lzma.compress(EVIL, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, **settings}])


BOTH = {
    "tar": tar_named(PLAIN),
    "bzip2": b"BZh\x01\x00" + bytes(0x1685A) + b"0" + PLAIN,
    "video": b"\x80\x04\x8c\x04ftyp0" + EVIL[2:],
    "numpy and zip": saved(np.zeros(4)) + ZIP,
    "tar and zip": tarred({"a": b"x"}) + ZIP,
    "parquet and zip": b"PAR1" + bytes(100) + b"PAR1" + ZIP,
    "arrow and zip": b"ARROW1\x00\x00" + bytes(60) + ZIP,
    "zlib and zip": zlib.compress(b"hello") + ZIP,
    "zstd and zip": b"\x28\xb5\x2f\xfd" + bytes(60) + ZIP,
    "a long comment": b"junk" + commented(ZIP, 30_000),
    "lzma with a small dictionary": alone(dict_size=4096),
    "lzma with other settings": alone(dict_size=1 << 20, lc=0, lp=2, pb=0),
    "gzip in two": gzip.compress(EVIL[:20], mtime=0) + bytes(7) + gzip.compress(EVIL[20:]),
    "zip by lzma": zipped({"a/data.pkl": EVIL, "a/version": b"3"}, zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_way_to_a_call_is_dangerous(name: str) -> None:
    assert judge(Held(CALLS[name]), "model.pkl").verdict == "dangerous"


@pytest.mark.parametrize("name", BOTH)
def test_what_is_two_things_is_judged_as_both(name: str) -> None:
    assert judge(Held(BOTH[name]), "model").verdict == "dangerous"


def test_what_stands_behind_the_tensors_of_gguf_is_looked_at() -> None:
    tensors = struct.pack("<Q", 1) + b"w" + struct.pack("<IQIQ", 1, 8, 0, 0)
    whole = gguf({"general.architecture": "llama"}, tensors=tensors, count=1)
    whole += bytes(-len(whole) % 32) + bytes(32)
    assert judge(Held(whole), "x.gguf").verdict == "clean"
    assert judge(Held(whole + ZIP), "x.gguf").verdict == "dangerous"


@pytest.mark.parametrize(
    "data",
    [gzip.compress(bytes(5000))[:-30], b"BZh91AY&SY" + bytes(40), b"!<arch>\nx", b"LZIP\x01"],
    ids=["gzip", "bzip2", "ar", "lzip"],  # the bytes of gzip tell the time
)
def test_what_cannot_be_unpacked_is_never_clean(data: bytes) -> None:
    assert judge(Held(data), "x").verdict == "unscanned"


def test_ordinary_pickles_stay_clean() -> None:
    for value in (
        {"f": np.log1p, "a": [np.zeros(3), np.float32(1)]},
        [set("ab"), frozenset("a"), bytearray(b"x")],
    ):
        for protocol in range(2, 6):
            assert judge(Held(pickle.dumps(value, protocol)), "x.pkl").verdict == "clean"


def verdict(data: bytes) -> str:
    return judge(Held(data), "model.pkl").verdict


def wrapped(filename: str) -> bytes:
    """An array that joblib of old keeps in another file."""
    made = names("joblib.numpy_pickle_compat", "NDArrayWrapper") + b")\x81}"
    return b"\x80\x04" + made + text("filename") + text(filename) + b"sb."


def test_arrays_in_other_files_stay_in_their_folder() -> None:
    assert verdict(wrapped("model.pkl_01.npy")) == "clean"
    for path in ("../x.npy", "/srv/x.npy", "C:\\x.npy"):
        assert verdict(wrapped(path)) == "dangerous"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        (("builtins", "list"), names("itertools", "count") + b")R\x85R."),
        (("builtins", "bytearray"), b"\x8a\x06" + (1 << 40).to_bytes(6, "little") + b"\x85R."),
        (("fractions", "Fraction"), text("1e999999999") + b"\x85R."),
    ],
)
def test_what_would_never_end_is_dangerous(name: tuple[str, str], given: bytes) -> None:
    assert verdict(b"\x80\x04" + names(*name) + given) == "dangerous"
