"""The first pages of binary columns of a parquet file, unpacked: a sample of what values are.

Uncompressed, snappy, gzip, lz4 and zstd; pages packed otherwise (brotli, lzo) are left out.
Sources: parquet-format (`parquet.thrift`), Thrift's compact protocol, snappy's format description.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import lz4.block

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Cursor, Ended, Held, Ranged
from moongate.weights.unpacking import DECODERS, unpack

MOST_FOOTER_BYTES: Final = 16 << 20
MOST_COLUMNS: Final = 64
MOST_PAGE_BYTES: Final = 256 << 10
_MOST_ITEMS = 1_000_000
_DEEPEST = 16
_PAGE_HEADER_BYTES = 64 << 10
_BINARY, _FIXED = 6, 7
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_PLAIN, _SNAPPY, _GZIP, _ZSTD, _LZ4_RAW = 0, 1, 2, 6, 7
_FALSE, _TRUE, _BYTE, _DOUBLE, _TEXT, _LIST, _SET, _STRUCT = 2, 1, 3, 7, 8, 9, 10, 12


class BadTable(Exception):
    """A footer or a page that cannot be read."""


class _Thrift:
    """Reads structs of the compact protocol as dictionaries by field, as many values as are bearable."""

    def __init__(self, content: Ranged, at: int = 0) -> None:
        self.c = Cursor(content, at)
        self._left = _MOST_ITEMS

    def struct(self, depth: int = 0) -> dict[int, object]:
        told: dict[int, object] = {}
        number = 0
        while (head := self.c.take(1)[0]) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            told[number] = self._value(head & 15, depth + 1)
        return told

    def _value(self, kind: int, depth: int, *, listed: bool = False) -> object:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise BadTable
        if kind in {_TRUE, _FALSE}:
            return self.c.take(1) == b"\x01" if listed else kind == _TRUE
        if kind == _BYTE:
            return self.c.take(1)
        if kind < _DOUBLE:
            return self._signed()
        if kind == _DOUBLE:
            return self.c.take(8)
        if kind == _TEXT:
            return self.c.take(self._bounded())
        if kind in {_LIST, _SET}:
            head = self.c.take(1)[0]
            count = head >> 4 if head >> 4 < 15 else self._bounded()
            return [self._value(head & 15, depth + 1, listed=True) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth)
        raise BadTable

    def _bounded(self) -> int:
        length = self._number()
        if length > self.c.left:
            raise BadTable
        return length

    def _number(self) -> int:
        value = 0
        for place in range(10):
            byte = self.c.take(1)[0]
            value |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                return value
        raise BadTable

    def _signed(self) -> int:
        value = self._number()
        return value >> 1 ^ -(value & 1)


def first_pages(content: Ranged) -> Iterator[bytes]:
    """Of each binary column in the first and the last group of rows: its dictionary, and its first page.

    What cannot be read is left out: a table is judged by what its readers would find in it.
    """
    for chunk in _chunks(content):
        told = chunk.get(3)
        if not isinstance(told, dict) or told.get(1) not in {_BINARY, _FIXED}:
            continue
        for begins in sorted({at for at in (told.get(9), told.get(11)) if isinstance(at, int) and at > 0}):
            try:
                data = _page(content, begins, told.get(4))
            except (BadTable, Ended, ValueError, struct.error):
                continue
            if data:
                yield data


def _chunks(content: Ranged) -> list[dict[int, object]]:
    size = content.size_bytes
    tail = content.read(ByteSpan(max(0, size - 8), size))
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or not 0 < length <= min(size - 8, MOST_FOOTER_BYTES):
        return []
    try:
        groups = _Thrift(content, size - 8 - length).struct().get(4)
    except (BadTable, Ended):
        return []
    if not isinstance(groups, list) or not groups:
        return []
    chunks: list[dict[int, object]] = []
    for group in groups[:1] + groups[1:][-1:]:
        columns = group.get(1) if isinstance(group, dict) else None
        own = [one for one in columns if isinstance(one, dict)] if isinstance(columns, list) else []
        chunks += own[:MOST_COLUMNS]
    return chunks


def _page(content: Ranged, at: int, codec: object) -> bytes:
    if at >= content.size_bytes:
        raise BadTable
    head = content.read(ByteSpan(at, min(content.size_bytes, at + _PAGE_HEADER_BYTES)))
    reader = _Thrift(Held(head))
    told = reader.struct()
    kind, size, packed_bytes = told.get(1), told.get(2), told.get(3)
    if not isinstance(packed_bytes, int) or not isinstance(size, int) or packed_bytes < 0 or size < 0:
        raise BadTable
    begins = at + reader.c.at
    data = content.read(ByteSpan(begins, begins + min(packed_bytes, MOST_PAGE_BYTES)))
    second = told.get(8)
    if kind == _DATA_PAGE_V2 and isinstance(second, dict):
        levels = sum(
            length for length in (second.get(5), second.get(6)) if isinstance(length, int) and length > 0
        )
        return data[levels:] if second.get(7) is False else _unpacked(data[levels:], codec, size)
    return _unpacked(data, codec, size) if kind in {_DATA_PAGE, _DICTIONARY_PAGE} else b""


def _unpacked(data: bytes, codec: object, size_bytes: int) -> bytes:
    bound = min(size_bytes, MOST_PAGE_BYTES)
    if codec == _PLAIN:
        return data
    if codec == _SNAPPY:
        return unsnapped(data, bound)
    if codec == _LZ4_RAW and size_bytes <= MOST_PAGE_BYTES:
        given: bytes = lz4.block.decompress(data, uncompressed_size=size_bytes)
        return given
    method = {_GZIP: "gzip", _ZSTD: "zstd"}.get(codec if isinstance(codec, int) else -1)
    return unpack(Held(data), method, bound).data if method in DECODERS else b""


def unsnapped(data: bytes, max_bytes: int) -> bytes:
    """The beginning of what snappy had packed; as far as it goes where the data is cut.

    Raises:
        ValueError: it refers to what is not there.
    """
    at, out = 0, bytearray()
    while at < len(data) and data[at] & 0x80:
        at += 1
    at += 1
    while at < len(data) and len(out) < max_bytes:
        tag = data[at]
        at += 1
        if not tag & 3:
            length = (tag >> 2) + 1
            if length > 60:
                more = length - 60
                length = int.from_bytes(data[at : at + more], "little") + 1
                at += more
            out += data[at : at + length]
            at += length
            continue
        width = (1, 2, 4)[(tag & 3) - 1]
        back = int.from_bytes(data[at : at + width], "little") | ((tag >> 5) << 8 if tag & 3 == 1 else 0)
        length = (tag >> 2 & 7) + 4 if tag & 3 == 1 else (tag >> 2) + 1
        at += width
        if not 0 < back <= len(out):
            raise ValueError("a copy of what is not there")
        piece = out[len(out) - back : len(out) - back + length]
        out += piece if len(piece) == length else (piece * (length // back + 1))[:length]
    return bytes(out[:max_bytes])
