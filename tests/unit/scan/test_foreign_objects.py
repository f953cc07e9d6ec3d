"""Objects that other languages serialize: never clean, and dangerous where they call what attacks call."""

from __future__ import annotations

import gzip
import struct

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held


def verdict(data: bytes, name: str = "file") -> str:
    return judge(Held(data), name).verdict


def letters(text: bytes) -> bytes:
    """A CHARSXP of R."""
    return b"\x00\x04\x00\x09" + struct.pack(">I", len(text)) + text


R = b"X\n" + struct.pack(">III", 2, 0x040300, 0x020300)
NUMBER = b"\x00\x00\x03\x0d" + struct.pack(">II", 1, 5)
TORCH7 = struct.pack("<iii", 4, 1, 3) + b"V 1" + struct.pack("<i", 13) + b"nn.Sequential"
JAVA = b"\xac\xed\x00\x05sr\x00\x11"
NET = b"\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01\x00\x00\x00" + bytes(9)


def calling(name: bytes) -> bytes:
    return R + b"\x00\x00\x00\x06\x00\x00\x00\x01" + letters(name) + b"\x00\x00\x00\x02\x00\x00\x00\xfe"


DANGEROUS = {
    "R": gzip.compress(calling(b"system")),
    "several of R's": gzip.compress(b"RDX3\n" + calling(b"download.file")),
    "Java": JAVA + b"org.apache.commons.collections.keyvalue.TiedMapEntry" + bytes(40),
    ".NET": NET + b"System.Windows.Data.ObjectDataProvider" + bytes(40),
    "Torch of Lua": TORCH7 + struct.pack("<iii", 8, 2, 30) + b"\x1bLua\x51" + bytes(30),
}
UNREAD = {
    "a number of R's": gzip.compress(R + NUMBER),
    "a model of R's that keeps its call": gzip.compress(calling(b"eval")),
    "Java": JAVA + b"java.util.HashMap" + bytes(40),
    ".NET": NET + b"System.Collections.Generic.List" + bytes(40),
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_calls_programs_is_dangerous(name: str) -> None:
    assert verdict(DANGEROUS[name]) == "dangerous"


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_is_not_clean(name: str) -> None:
    assert verdict(UNREAD[name]) == "unscanned"


def test_layers_of_torch_in_lua_are_clean() -> None:
    assert verdict(TORCH7 + bytes(60), "model.t7") == "clean"
