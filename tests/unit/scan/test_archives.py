"""Archives are looked into by content, and what their readers could disagree about is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import lz4.frame
import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import EVIL, zipped

_STATE = b"\x80\x02}q\x00."
_TORCH = {"archive/data.pkl": _STATE, "archive/version": b"3\n", "archive/data/0": bytes(4096)}


def verdict(data: bytes, name: str = "model.bin") -> str:
    return judge(Held(data), name).verdict


def tarred(name: str, data: bytes, *, link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        if link:
            member.type, member.linkname, member.size = tarfile.SYMTYPE, link, 0
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lz4.frame.compress,
    "two gzips": lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]),
    "zip": lambda data: zipped({"a": data}),
    "deflated": lambda data: zipped({"a": data}, zipfile.ZIP_DEFLATED),
    "bzipped": lambda data: zipped({"a": data}, zipfile.ZIP_BZIP2),
    "torch": lambda data: zipped(_TORCH | {"archive/data.pkl": data}),
    "torch constants": lambda data: zipped(_TORCH | {"archive/constants.pkl": data}),
    "storage": lambda data: zipped(_TORCH | {"archive/data/0": data}),
    "tar": lambda data: tarred("a", data),
    "tar.gz": lambda data: gzip.compress(tarred("a", data)),
    "zip in zip in zip": lambda data: zipped({"a": zipped({"b": zipped({"c": data})})}),
    "behind noise": lambda data: b"#!/bin/true\n" + zipped({"a": data}),
}


@pytest.mark.parametrize("name", ["model.pt", "config.json", "noext"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_pickle_is_found_in_every_wrapping(wrapping: str, name: str) -> None:
    assert verdict(WRAPPINGS[wrapping](EVIL), name) == "dangerous"
    assert verdict(WRAPPINGS[wrapping](pickle.dumps({"a": 1})), name) in {"clean", "suspicious"}


def test_a_torch_archive_of_numbers_is_clean() -> None:
    report = judge(Held(zipped(_TORCH)), "pytorch_model.bin")
    assert report.verdict == "clean", report
    assert report.formats == ("zip", "torch", "pickle")


def test_members_are_named_where_they_are() -> None:
    report = judge(Held(zipped({"in.zip": zipped({"deep/a.pkl": EVIL})})))
    assert {finding.member for finding in report.findings} == {"in.zip!/deep/a.pkl"}


def patched(data: bytes, signature: bytes, at: int, new: bytes) -> bytes:
    place = data.index(signature) + at
    return data[:place] + new + data[place + len(new) :]


def test_lies_about_encryption_names_and_methods_are_refused() -> None:
    honest = zipped(_TORCH)
    assert verdict(patched(honest, b"PK\x01\x02", 8, b"\x01")) == "dangerous"
    assert verdict(patched(honest, b"PK\x03\x04", 6, b"\x01")) == "dangerous"
    assert verdict(patched(honest, b"PK\x03\x04", 30, b"X")) == "dangerous"
    assert verdict(patched(honest, b"PK\x03\x04", 8, b"\x08")) == "dangerous"


def test_a_member_that_no_line_names_is_found() -> None:
    first, second = zipped({"a": b"x"}), zipped({"b": EVIL})
    hidden = second[: second.index(b"PK\x01\x02")]
    body = first[: first.index(b"PK\x01\x02")]
    end = zipped({"a": b"x"})[len(body) :]
    moved = patched(end, b"PK\x05\x06", 16, (len(body) + len(hidden)).to_bytes(4, "little"))
    assert verdict(body + hidden + moved) == "dangerous"


@pytest.mark.parametrize("path", ["../../etc/cron.d/x", "/etc/passwd", "a/../../b", "..\\..\\b", "C:\\b"])
def test_paths_that_leave_are_refused(path: str) -> None:
    assert verdict(tarred(path, b"x")) == "dangerous"
    assert verdict(zipped({path: b"x"})) == "dangerous"


def test_a_link_out_of_a_tar_is_refused() -> None:
    assert verdict(tarred("a", b"", link="../../etc")) == "dangerous"
    assert verdict(tarred("a", b"", link="b")) == "clean"


def test_bombs_are_refused_without_being_unpacked() -> None:
    zeros = bytes(100 << 20)
    assert verdict(zipped({"a": zeros}, zipfile.ZIP_DEFLATED)) == "dangerous"
    assert verdict(gzip.compress(zeros)) == "dangerous"


def test_what_archives_in_one_another_grow_to_is_counted_together() -> None:
    inner = zipped({"a": bytes(20 << 20)}, zipfile.ZIP_DEFLATED)
    many = zipped({f"{number}.zip": inner for number in range(6)}, zipfile.ZIP_DEFLATED)
    assert verdict(inner) == "clean"
    assert verdict(many) == "dangerous"


def test_depth_has_an_end_that_is_not_clean() -> None:
    data = b"x"
    for _ in range(12):
        data = zipped({"a": data})
    assert verdict(data) == "unscanned"


def test_what_is_encrypted_is_unscanned() -> None:
    locked = zipped({"a": b"secret" * 10})
    locked = patched(patched(locked, b"PK\x01\x02", 8, b"\x01"), b"PK\x03\x04", 6, b"\x01")
    locked = locked.replace(b"secret" * 10, bytes(range(60)))
    assert verdict(locked) == "unscanned"


def test_a_zip_cut_off_is_not_clean_and_still_looked_into() -> None:
    whole = zipped({"a": EVIL, "b": b"x" * 100})
    assert verdict(whole[: whole.index(b"PK\x01\x02")]) == "dangerous"
    assert verdict(zipped(_TORCH)[:-30]) != "clean"
