"""What content is, by its bytes alone. A name is never asked."""

from __future__ import annotations

import re
from typing import Final

from moongate.scan.decoding import wide_encoding
from moongate.weights.tar_members import is_header

HEAD_BYTES: Final = 1024

_MAGICS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08PK\x03\x04", "zip"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"!<arch>\n", "ar"),
    (b"MSCF\x00\x00\x00\x00", "cab"),
    (b"LZIP\x01", "lzip"),
    (b"xar!\x00\x1c", "opaque"),
    (b"\x1f\x9d", "compress"),
    (b"\xed\xab\xee\xdb", "rpm"),
    (b"ITSF\x03\x00\x00\x00", "opaque"),
    (b"hsqs", "opaque"),
    (b"ftrt", "engine"),
    (b"ptrt", "engine"),
    (b"\x1bLua", "program"),
    (b"\x1bLJ", "program"),
    (b"BC\xc0\xde", "program"),
    (b"\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01\x00\x00\x00", ".NET objects"),
    (b"\x93NUMPY", "npy"),
    (b"GGUF", "gguf"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"PAR1", "parquet"),
    (b"ARROW1\x00\x00", "arrow"),
    (b"\x7fELF", "program"),
    (b"\xfe\xed\xfa\xce", "program"),
    (b"\xfe\xed\xfa\xcf", "program"),
    (b"\xce\xfa\xed\xfe", "program"),
    (b"\xcf\xfa\xed\xfe", "program"),
    (b"\xca\xfe\xba\xbe", "program"),
    (b"\xbe\xba\xfe\xca", "program"),
    (b"\xca\xfe\xba\xbf", "program"),
    (b"\x03\xf3\r\n", "program"),
    (b"\x00asm\x01\x00\x00\x00", "program"),
    (b"dex\n03", "program"),
    (b"MZqFpD", "program"),
    (b"\x4c\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00", "program"),
    (b"\xac\xed\x00\x05", "java objects"),
    *(
        (mark, "R objects")
        for mark in (
            b"X\n\x00\x00\x00\x02",
            b"X\n\x00\x00\x00\x03",
            b"A\n2\n",
            b"A\n3\n",
            b"RDX2\n",
            b"RDX3\n",
            b"RDA2\n",
            b"RDA3\n",
            b"B\n\x02\x00\x00\x00",
            b"B\n\x03\x00\x00\x00",
        )
    ),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"%PDF-", "document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office"),
)
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_LONGEST_HEADER_BYTES = 1 << 40
"""What claims a longer header, or one of less than `{}`, is read as safetensors only if a key follows."""
_SAFETENSORS = re.compile(rb"[\s\S]{8}[ \t\r\n]*\{")
# What CPython compiles: a number of its own between 3000 and 3999, then flags.
_BYTECODE = re.compile(
    rb"[\xb8-\xff]\x0b\r\n[\x00-\x03]\x00\x00\x00|[\x00-\xff][\x0c-\x0f]\r\n[\x00-\x03]\x00\x00\x00"
)
# Flash, and what Erlang compiles; the length behind the mark must fit a file.
_OTHER_BYTECODE = re.compile(rb"[FCZ]WS[\x01-\x32][\s\S]{3}[\x00-\x0f]|FOR1[\s\S]{4}BEAM")
_CPIO = re.compile(rb"07070[12][0-9A-Fa-f]{104}|070707[0-7]{70}")
_TEXT_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def sniff(head: bytes, size_bytes: int) -> str:
    """The name of a format; `text` or `data` where there is no magic."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if head.startswith(b"MZ") and _is_windows_program(head):
        return "program"
    if _BYTECODE.match(head) or _OTHER_BYTECODE.match(head):
        return "program"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return "skippable"
    if _CPIO.match(head):
        return "cpio"
    if head[4:8] == b"ftyp":
        return "video"
    if head.startswith(b"RIFF"):
        return "media"
    if len(head) >= 512 and is_header(head[:512]):
        return "tar"
    if _ZLIB.match(head) and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    if size_bytes > 18 and _is_lzma(head):
        return "lzma"
    if _SAFETENSORS.match(head[:64]) and (
        1 < int.from_bytes(head[:8], "little") < _LONGEST_HEADER_BYTES
        or (head[8:10] == b'{"' and not is_text(head))
    ):
        return "safetensors"
    return "text" if is_text(head) else "data"


def _is_lzma(head: bytes) -> bool:
    """The header of LZMA alone has no mark; these are the checks of xz, and that its first byte is zero."""
    if len(head) < 14 or head[0] >= 225 or head[13]:
        return False
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    if size != (1 << 64) - 1 and (size >= 1 << 38 or not size):
        return False
    lowest = dictionary & -dictionary
    return dictionary == 0xFFFFFFFF or (dictionary >= 4096 and dictionary in {lowest, 3 * lowest})


def is_text(head: bytes) -> bool:
    """Whether it reads as text: UTF-8 (cut anywhere), or one of the encodings of `decoding`."""
    if wide_encoding(head):
        return True
    if _TEXT_CONTROL.search(head):
        return False
    for cut in range(4):
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False


def _is_windows_program(head: bytes) -> bool:
    place = int.from_bytes(head[60:64], "little")
    return len(head) < 64 or place + 2 > len(head) or head[place : place + 2] in {b"PE", b"NE", b"LE"}
