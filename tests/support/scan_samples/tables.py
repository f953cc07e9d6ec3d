"""Writes small tables: one binary column in parquet, packed as asked for, and what Arrow writes of one."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

CODECS = {"none": 0, "snappy": 1, "gzip": 2, "brotli": 4, "zstd": 6, "lz4": 7}


def _number(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


def _fields(*fields: tuple[int, int, bytes]) -> bytes:
    """A struct of Thrift's compact protocol: number, kind, what is in it."""
    out, last = b"", 0
    for number, kind, data in fields:
        out, last = out + bytes((number - last << 4 | kind,)) + data, number
    return out + b"\x00"


def _int(number: int, value: int) -> tuple[int, int, bytes]:
    return number, 5, _number(value << 1)


def _text(number: int, value: bytes) -> tuple[int, int, bytes]:
    return number, 8, _number(len(value)) + value


def _list(number: int, kind: int, items: Sequence[bytes]) -> tuple[int, int, bytes]:
    return number, 9, bytes((len(items) << 4 | kind,)) + b"".join(items)


def snapped(data: bytes) -> bytes:
    """As snappy packs it, without a match."""
    out = _number(len(data))
    for at in range(0, len(data), 60):
        piece = data[at : at + 60]
        out += bytes((len(piece) - 1 << 2,)) + piece
    return out


def parquet(
    values: Sequence[bytes],
    codec: str = "none",
    pack: Callable[[bytes], bytes] = bytes,
    *,
    second: bool = False,
) -> bytes:
    """second: with a page of the second version, whose levels are not compressed."""
    plain = b"".join(struct.pack("<I", len(value)) + value for value in values)
    levels = b"\x02\x00\x00\x00\x02\x01"
    if second:
        told = _fields(
            _int(1, len(values)), _int(2, 0), _int(3, 1), _int(4, 0), _int(5, len(levels)), _int(6, 0)
        )
        data = levels + pack(plain)
        page = _fields(_int(1, 3), _int(2, len(levels) + len(plain)), _int(3, len(data)), (8, 12, told))
    else:
        told = _fields(_int(1, len(values)), _int(2, 0), _int(3, 3), _int(4, 3))
        data = pack(levels + plain)
        page = _fields(_int(1, 0), _int(2, len(levels + plain)), _int(3, len(data)), (5, 12, told))
    body = b"PAR1" + page + data
    chunk = _fields(
        _int(1, 6),
        _list(2, 5, [_number(0)]),
        _list(3, 8, [b"\x04blob"]),
        _int(4, CODECS[codec]),
        _int(5, len(values)),
        _int(6, len(plain)),
        _int(7, len(data)),
        _int(9, 4),
    )
    group = _fields(_list(1, 12, [_fields(_int(2, 4), (3, 12, chunk))]), _int(2, len(plain)), _int(3, 1))
    schema = [_fields(_text(4, b"schema"), _int(5, 1)), _fields(_int(1, 6), _int(3, 1), _text(4, b"blob"))]
    footer = _fields(_int(1, 1), _list(2, 12, schema), _int(3, len(values)), _list(4, 12, [group]))
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def arrow(
    values: Sequence[bytes], pack: Callable[[bytes], bytes] | None = None, *, stream: bool = False
) -> bytes:
    """A file, or a stream, as far as it is looked at: a schema's message, then the buffers of a column."""
    plain = b"".join(values)
    buffer = plain if pack is None else struct.pack("<Q", len(plain)) + pack(plain)
    message = struct.pack("<IIII", 0xFFFFFFFF, 64, 16, 0) + bytes(64 - 8) + bytes(8)
    body = (b"" if stream else b"ARROW1\x00\x00") + message + buffer
    return body + bytes(-len(body) % 8) + (b"" if stream else b"ARROW1")
