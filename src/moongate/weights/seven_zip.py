"""The members of a 7z archive: copy, LZMA, LZMA2, deflate, deflate64, bzip2, zstd, and filters of programs,
put together in any way. PPMd is not read here.

Source: 7zFormat.txt of the LZMA SDK.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.branch_filters import FILTERS, joined_calls, unfiltered
from moongate.weights.deflate64 import inflate64
from moongate.weights.ranged import Cursor, Ended, Held, Ranged
from moongate.weights.unpacking import DECODERS, unpack

MAX_HEADER_BYTES: Final = 8 << 20
MAX_FOLDERS: Final = 10_000
MAX_FILES: Final = 100_000
MAX_CODERS: Final = 8
_LZMA, _LZMA2, _COPY, _DEFLATE, _BZIP2 = b"\x03\x01\x01", b"\x21", b"\x00", b"\x04\x01\x08", b"\x04\x02\x02"
_ZSTD = b"\x04\xf7\x11\x01"
_DEFLATE64, _BCJ2 = b"\x04\x01\x09", b"\x03\x03\x01\x1b"
_AES = b"\x06\xf1\x07\x01"


class BadSevenZip(Exception):
    """A header that cannot be, or a coder that is not known here.

    encrypted: it needs a password.
    """

    def __init__(self, message: str, *, encrypted: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.encrypted = encrypted


@dataclass(slots=True)
class _Coder:
    """inputs: the numbers of its streams among those of the folder. size_bytes: of what it gives."""

    identity: bytes
    properties: bytes
    inputs: range
    size_bytes: int = 0


@dataclass(slots=True)
class _Folder:
    """bound: which coder gives an input. packed: which inputs are packed, and where they lie."""

    coders: list[_Coder] = field(default_factory=list)
    bound: dict[int, int] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    last: int = 0
    size_bytes: int = 0
    sizes: list[int] = field(default_factory=list)
    streams: int = 1
    has_digest: bool = False
    packed: list[ByteSpan] = field(default_factory=list)


class _Parser:
    def __init__(self, content: Ranged, at: int = 0) -> None:
        self.c = Cursor(content, at)
        self.folders: list[_Folder] = []
        self.names: list[str] = []
        self.empty: list[bool] = []

    def number(self) -> int:
        first = self.c.take(1)[0]
        mask, value = 0x80, 0
        for place in range(8):
            if not first & mask:
                return value + ((first & (mask - 1)) << (8 * place))
            value |= self.c.take(1)[0] << (8 * place)
            mask >>= 1
        return value

    def bounded(self, bound: int) -> int:
        value = self.number()
        if value > bound:
            raise BadSevenZip("a number is absurdly large")
        return value

    def bits(self, count: int) -> list[bool]:
        raw = self.c.take((count + 7) // 8)
        return [bool(raw[i // 8] & (0x80 >> i % 8)) for i in range(count)]

    def streams(self) -> None:
        pack_at, packed = 0, list[int]()
        while (kind := self.number()) != 0:
            if kind == 6:
                pack_at = 32 + self.number()
                count = self.bounded(MAX_FOLDERS)
                while (inner := self.number()) != 0:
                    if inner == 9:
                        packed = [self.number() for _ in range(count)]
                    elif inner == 10:
                        self.digests(count)
                    else:
                        raise BadSevenZip("an unknown property")
            elif kind == 7:
                self.unpack_info()
                place, lengths = pack_at, iter(packed)
                for folder in self.folders:
                    for length in islice(lengths, len(folder.inputs)):
                        folder.packed.append(ByteSpan(place, place + length))
                        place += length
            elif kind == 8:
                self.substreams()
            else:
                raise BadSevenZip("an unknown property")

    def digests(self, count: int) -> list[bool]:
        defined = [True] * count if self.c.take(1)[0] else self.bits(count)
        self.c.step(4 * sum(defined))
        return defined

    def unpack_info(self) -> None:
        if self.number() != 11:
            raise BadSevenZip("no folders")
        count = self.bounded(MAX_FOLDERS)
        if self.c.take(1)[0]:
            raise BadSevenZip("external folders")
        self.folders = [self.folder() for _ in range(count)]
        if self.number() != 12:
            raise BadSevenZip("no sizes")
        for folder in self.folders:
            for coder in folder.coders:
                coder.size_bytes = self.number()
            folder.size_bytes = folder.coders[folder.last].size_bytes
            folder.sizes = [folder.size_bytes]
        while (kind := self.number()) != 0:
            if kind != 10:
                raise BadSevenZip("an unknown property")
            for made, known in zip(self.folders, self.digests(count), strict=True):
                made.has_digest = known

    def folder(self) -> _Folder:
        made, inputs = _Folder(), 0
        for _ in range(self.bounded(MAX_CODERS)):
            flags = self.c.take(1)[0]
            identity = self.c.take(flags & 15)
            takes, gives = (self.bounded(4), self.bounded(4)) if flags & 16 else (1, 1)
            if gives != 1:
                raise BadSevenZip("a coder that gives several streams")
            properties = self.c.take(self.bounded(1 << 16)) if flags & 32 else b""
            made.coders.append(_Coder(identity, properties, range(inputs, inputs + takes)))
            inputs += takes
        for _ in range(len(made.coders) - 1):
            taken, given = self.number(), self.number()
            made.bound[taken] = given
        ends = set(range(len(made.coders))) - set(made.bound.values())
        if len(ends) != 1 or not set(made.bound) <= set(range(inputs)):
            raise BadSevenZip("its coders do not fit together")
        made.last = ends.pop()
        free = [place for place in range(inputs) if place not in made.bound]
        made.inputs = [self.number() for _ in free] if len(free) > 1 else free
        return made

    def substreams(self) -> None:
        kind = self.number()
        if kind == 13:
            for folder in self.folders:
                folder.streams = self.bounded(MAX_FILES)
            kind = self.number()
        if kind == 9:
            for folder in self.folders:
                sizes = [self.number() for _ in range(max(0, folder.streams - 1))]
                folder.sizes = [*sizes, folder.size_bytes - sum(sizes)] if folder.streams else []
            kind = self.number()
        while kind != 0:
            if kind != 10:
                raise BadSevenZip("an unknown property")
            self.digests(sum(f.streams for f in self.folders if f.streams != 1 or not f.has_digest))
            kind = self.number()

    def files(self) -> None:
        count = self.bounded(MAX_FILES)
        self.empty = [False] * count
        while (kind := self.number()) != 0:
            length = self.bounded(MAX_HEADER_BYTES)
            end = self.c.at + length
            if kind == 17 and not self.c.take(1)[0]:
                raw = self.c.take(end - self.c.at).decode("utf-16-le", "replace")
                self.names = raw.split("\0")[:count]
            elif kind == 14:
                self.empty = self.bits(count)
            self.c.go(end)


def members(content: Ranged, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents, at most `max_bytes` in all.

    Raises:
        BadSevenZip: the archive cannot be read, or not further.
    """
    try:
        yield from _members(content, max_bytes)
    except (Ended, struct.error, ValueError, IndexError, lzma.LZMAError, zlib.error, OSError, EOFError):
        raise BadSevenZip("its header or data is broken") from None


def _members(content: Ranged, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    at, length = struct.unpack_from("<QQ", content.read(ByteSpan(12, 32)), 0)
    if length > MAX_HEADER_BYTES:
        raise BadSevenZip("its header is absurdly long")
    parser = _Parser(content, 32 + at)
    kind = parser.number()
    if kind == 23:
        parser.streams()
        header = _decode(content, parser.folders[0], MAX_HEADER_BYTES)
        parser = _Parser(Held(header))
        kind = parser.number()
    if kind != 1:
        raise BadSevenZip("it has no header")
    names, folders, filled = _described(parser)
    place = 0
    for folder in folders:
        data = _decode(content, folder, max_bytes)
        start = 0
        for size in folder.sizes:
            name = (
                names[filled[place]]
                if place < len(filled) and filled[place] < len(names)
                else f"(member {place})"
            )
            yield name, data[start : start + size]
            start, place = start + size, place + 1
        max_bytes -= len(data)


def _described(parser: _Parser) -> tuple[list[str], list[_Folder], list[int]]:
    """Names, folders, and which files have content. Where the files are not told, names are lost."""
    while (kind := parser.number()) != 0:
        if kind == 4:
            parser.streams()
        elif kind == 5:
            parser.files()
            break
        else:
            break
    return (
        parser.names,
        parser.folders,
        [place for place, is_empty in enumerate(parser.empty) if not is_empty],
    )


def _decode(content: Ranged, folder: _Folder, max_bytes: int) -> bytes:
    if any(coder.identity == _AES for coder in folder.coders):
        raise BadSevenZip("it is encrypted", encrypted=True)
    if any(coder.size_bytes > max_bytes for coder in folder.coders):
        raise BadSevenZip("it unpacks to more than we look at")
    return _given(content, folder, folder.last, 0)


def _given(content: Ranged, folder: _Folder, place: int, depth: int) -> bytes:
    """What a coder gives, after those whose output it takes."""
    if depth > len(folder.coders):
        raise BadSevenZip("its coders go round")
    coder, taken = folder.coders[place], list[bytes]()
    for number in coder.inputs:
        if number in folder.bound:
            taken.append(_given(content, folder, folder.bound[number], depth + 1))
        else:
            taken.append(content.read(folder.packed[folder.inputs.index(number)]))
    if coder.identity == _BCJ2 and len(taken) == 4:
        return joined_calls(taken[0], taken[1], taken[2], taken[3], coder.size_bytes)
    return _one(coder.identity, coder.properties, taken[0], coder.size_bytes)


def _lzma_filter(identity: bytes, properties: bytes) -> dict[str, int]:
    if identity == _LZMA2:
        letter = properties[0]
        size = 0xFFFFFFFF if letter >= 40 else (2 | letter & 1) << (letter // 2 + 11)
        made = {"id": lzma.FILTER_LZMA2, "dict_size": size}
    else:
        rest, lc = divmod(properties[0], 9)
        size = int.from_bytes(properties[1:5], "little")
        made = {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": lc, "lp": rest % 5, "pb": rest // 5}
    if size > 128 << 20:
        raise BadSevenZip("its dictionary is absurdly large")
    return made


def _one(identity: bytes, properties: bytes, data: bytes, wanted: int) -> bytes:
    if identity == _COPY:
        return data[:wanted]
    if identity in FILTERS:
        return unfiltered(identity, properties, data[:wanted])
    if identity in {_LZMA, _LZMA2}:
        chain = [_lzma_filter(identity, properties)]
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain).decompress(data, wanted)
    if identity == _DEFLATE:
        return zlib.decompressobj(-15).decompress(data, wanted)
    if identity == _DEFLATE64:
        out, cut, _, _ = inflate64(data, wanted)
        if cut and len(out) < wanted:
            raise BadSevenZip("it unpacks to more than we look at")
        return out
    if identity == _BZIP2:
        return bz2.BZ2Decompressor().decompress(data, wanted)
    if identity == _ZSTD and "zstd" in DECODERS:
        return unpack(Held(data), "zstd", wanted).data
    raise BadSevenZip("it is packed in a way that is not read here")
