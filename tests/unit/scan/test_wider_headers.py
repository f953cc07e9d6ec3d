"""Headers of tensors, archives and compressed data that say what no writer says."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from moongate.weights.unpacking import DECODERS
from support.pickled import EVIL, zipped
from support.scan_samples.containers import GOOD, torch_zip
from support.scan_samples.headers import gguf


def verdict(data: bytes, name: str = "file") -> str:
    return judge(Held(data), name).verdict


def tensor(name: str, shape: list[int], kind: int = 0, at: int = 0) -> bytes:
    told = struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
    return told + b"".join(struct.pack("<Q", length) for length in shape) + struct.pack("<IQ", kind, at)


def text(key: str, value: str) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IQ", 8, len(value)) + value.encode()


def with_tensors(*tensors: bytes) -> bytes:
    whole = gguf({"general.architecture": "llama"}, tensors=b"".join(tensors), count=len(tensors))
    return whole.ljust(-(-len(whole) // 32) * 32, b"\x00") + bytes(64)


TWICE = b"GGUF" + struct.pack("<IQQ", 3, 0, 2)
TWICE += text("tokenizer.chat_template", "{{ x.__class__ }}") + text("tokenizer.chat_template", "{{ x }}")
LYING = {
    "a key twice": TWICE,
    "a tensor twice": with_tensors(tensor("a", [8]), tensor("a", [8], at=32)),
    "overlap": with_tensors(tensor("a", [8]), tensor("b", [16])),
    "an unknown type": with_tensors(tensor("a", [8], 4095)),
    "not aligned": with_tensors(tensor("a", [8], at=7)),
    "many dimensions": with_tensors(tensor("a", [1] * 6)),
    "half a block": with_tensors(tensor("a", [33], 2)),
    "an odd alignment": gguf({"general.alignment": 3}),
    "no alignment": gguf({"general.alignment": 0}),
}


@pytest.mark.parametrize("name", LYING)
def test_headers_of_gguf_that_lie(name: str) -> None:
    assert verdict(LYING[name], "model.gguf") == "dangerous"
    assert verdict(with_tensors(tensor("a", [8]), tensor("b", [8], at=32)), "model.gguf") == "clean"


def npy(told: str, data: bytes) -> bytes:
    header = told.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def array(shape: str, data: bytes, kind: str = "'<f4'") -> bytes:
    return npy(f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}", data)


def test_arrays_are_as_long_as_they_say() -> None:
    assert verdict(array("(4,)", bytes(16))) == "clean"
    assert verdict(array("(2,)", bytes(24), "[('a', '<i4'), ('b', '<f4', (2,))]")) == "clean"
    assert verdict(array("(4,)", bytes(16)) + array("(2,)", bytes(8)), "a.npy") == "clean"
    assert verdict(array("(4L,)", bytes(16))) == "clean"
    for shape in ("(-1,)", "(4611686018427387904, 16)", "'x'"):
        assert verdict(array(shape, bytes(16))) == "dangerous"
    assert verdict(array("(100000000,)", bytes(16))) == "suspicious"
    assert verdict(array("(4,)", bytes(16) + EVIL)) == "dangerous"
    assert verdict(array("(1,)", bytes(4)) * 3 + array("(1,)", bytes(4) + EVIL)) == "dangerous"


def member(name: str, data: bytes, mode: int = 0o100644, extra: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        told = zipfile.ZipInfo(name)
        told.external_attr, told.extra, told.create_system = mode << 16, extra, 3
        archive.writestr(told, data)
    return out.getvalue()


def other_name(name: bytes, other: bytes) -> bytes:
    return struct.pack("<HHBI", 0x7075, 5 + len(other), 1, zlib.crc32(name)) + other


def test_links_in_zips_are_followed_to_their_targets() -> None:
    for target in (b"/etc/passwd", b"../../x"):
        assert verdict(member("a", target, 0o120777)) == "dangerous"
    assert verdict(member("a", b"b", 0o120777)) == "clean"


def test_a_second_name_of_a_member_is_read() -> None:
    for other in (b"../../evil", b"data.pkl"):
        assert verdict(member("a.txt", b"x", extra=other_name(b"a.txt", other))) == "dangerous"
    assert verdict(member("a.txt", b"x", extra=other_name(b"a.txt", b"a.txt"))) == "clean"


def packed(method: int, data: bytes, plain: bytes) -> bytes:
    """A zip of one member, compressed as it says."""
    name, crc = b"a/data.pkl", zlib.crc32(plain)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 63, 0, method, 0, 0, crc, len(data), len(plain), len(name), 0)
    local += name + data
    sizes = (crc, len(data), len(plain), len(name))
    line = struct.pack("<4s6H3I5H2I", b"PK\1\2", 63, 63, 0, method, 0, 0, *sizes, *bytes(6)) + name
    return local + line + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(line), len(local), 0)


def test_rarer_compressions_of_zip() -> None:
    assert verdict(packed(95, lzma.compress(EVIL), EVIL)) == "dangerous"
    assert verdict(packed(9, b"abc", EVIL)) == "unscanned"


@pytest.mark.skipif("zstd" not in DECODERS, reason="no zstd here")
def test_zstd_is_looked_into() -> None:
    zstd = pytest.importorskip("backports.zstd")
    pack, skipped = zstd.compress, b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
    split = pack(EVIL[:20]) + skipped + pack(EVIL[20:])
    for data in (pack(EVIL), pack(torch_zip(EVIL)), skipped + pack(EVIL), split, pack(b"x") + EVIL):
        assert verdict(data) == "dangerous"
    for data in (packed(93, pack(EVIL), EVIL), pack(bytes(200 << 20))):
        assert verdict(data) == "dangerous"
    assert verdict(pack(torch_zip(GOOD)), "x.zst") == "clean"
    assert verdict(pack(bytes(range(256)) * 9)[:-5]) == "unscanned"
    assert verdict(b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00") == "unscanned"


def test_classes_that_an_archive_of_torchscript_brings_are_its_own() -> None:
    told = b"\x80\x02c__torch__.Net\nNet\nq\x00)\x81}X\x08\x00\x00\x00training\x89sb."
    members = {"m/data.pkl": told, "m/constants.pkl": b"\x80\x02).", "m/version": b"3\n"}
    assert (
        verdict(zipped({**members, "m/code/__torch__.py": b"class Net(Module):\n  training : bool\n"}))
        == "clean"
    )
    assert verdict(told) == "suspicious"


TEMPLATES = (
    "{% filter attr('__class__') %}x{% endfilter %}",
    "{{ x[('__cl' ~ 'ass__')] }}",
    "{{ x['<b>__cl</b>ass__'|striptags] }}",
    "{{ x['subprocess'].Popen('true') }}",
    "{{ x.from_string('{{ 1 }}') }}",
    "{% set f = '{0.__class__.__mro__}' %}{{ f.format(x) }}",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_that_reach_further(template: str) -> None:
    assert verdict(template.encode(), "chat_template.jinja") == "dangerous"
