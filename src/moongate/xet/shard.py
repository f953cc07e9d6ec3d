"""Shards: which files are made of which terms, and which chunks a xorb has. Every entry is 48 bytes.

    header        tag 32 · version u64 = 2 · footer length u64
    file blocks   file hash, flags, n · n terms · n verifications (bit 31) · sha256 (bit 30) …, an end mark
    xorb blocks   xorb hash, flags, n, raw bytes, stored bytes · n chunks …, an end mark
    footer        200 bytes, in dedup answers; uploads may end in anything, and it is not read

Rules of this file:
- Uploads are read front to back, and whatever the header says of a footer is ignored: clients differ.
- The sha256 of a file is spelled with the bytes of each group of eight reversed, as a hash's hex string is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from moongate.core.errors import BadRequest
from moongate.xet.hashes import XetHash, hash_hex, keyed_chunk_hash, parse_hash

MAX_SHARD_BYTES: Final = 128 << 20

_TAG: Final = bytes.fromhex("48465265706f4d6574614461746100556967456a7b815783a5bdd95ccdd14aa9")
_ENTRY_BYTES: Final = 48
_FOOTER_BYTES: Final = 200
_END: Final = b"\xff" * 32 + bytes(16)
_HAS_VERIFICATION: Final = 1 << 31
_HAS_METADATA: Final = 1 << 30
_DEDUP_CHUNK: Final = 1 << 31

_HEADER = struct.Struct("<32sQQ")
_FILE = struct.Struct("<32sII8x")
_TERM = struct.Struct("<32sIIII")
_HASH = struct.Struct("<32s16x")
_XORB = struct.Struct("<32sIIII")
_CHUNK = struct.Struct("<32sIIII")
_FOOTER = struct.Struct("<QQQ6Q32sQQ48xQQQQ")


class BadShard(BadRequest):
    """Bytes that are no shard."""


@dataclass(frozen=True, slots=True)
class ShardTerm:
    """Chunks `start` up to `end` of a xorb, which make `unpacked_bytes` of a file."""

    xorb: XetHash
    unpacked_bytes: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One file: its id, its terms in order, their verification hashes and its sha256 when given."""

    file_hash: XetHash
    terms: tuple[ShardTerm, ...]
    verification: tuple[XetHash, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ShardXorb:
    """One xorb: its hash, its chunks (hash and raw length) in order, how long it is stored (0: not told)."""

    xorb_hash: XetHash
    chunks: tuple[tuple[XetHash, int], ...]
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Shard:
    """What a shard tells."""

    files: tuple[ShardFile, ...] = ()
    xorbs: tuple[ShardXorb, ...] = field(default=())


def read_shard(data: bytes | memoryview) -> Shard:
    """The files and xorbs of a shard, in whatever of its many shapes it comes.

    Raises:
        BadShard: the bytes are no shard, or end in its middle.
    """
    reader = _begin(data)
    files = []
    while (entry := reader.block()) is not None:
        files.append(_read_file(entry, reader))
    xorbs = []
    while (entry := reader.block()) is not None:
        xorbs.append(_read_xorb(entry, reader))
    return Shard(tuple(files), tuple(xorbs))


def iterate_files(data: bytes | memoryview) -> Iterator[ShardFile]:
    """The files of a shard one by one, so that only one is in memory; raises as `read_shard`, on the way.

    Its xorb blocks are walked over at the end: what they say is known better by whoever has the xorbs.
    """
    reader = _begin(data)
    while (entry := reader.block()) is not None:
        yield _read_file(entry, reader)
    while (entry := reader.block()) is not None:
        reader.skip(_XORB.unpack(entry)[2])


def iterate_xorbs(data: bytes | memoryview) -> Iterator[XetHash]:
    """The hashes of the xorbs that a shard describes; raises as `read_shard`, on the way."""
    reader = _begin(data)
    while (entry := reader.block()) is not None:
        _read_file(entry, reader)
    while (entry := reader.block()) is not None:
        xorb, _, count, _, _ = _XORB.unpack(entry)
        reader.skip(count)
        yield XetHash(xorb)


def write_shard(shard: Shard) -> bytes:
    """A shard as today's clients upload it: without a footer."""
    return b"".join([_HEADER.pack(_TAG, 2, 0), *_file_section(shard.files), *_xorb_section(shard.xorbs)])


def dedup_answer(xorbs: Sequence[ShardXorb], hmac_key: bytes, created: int, key_expiry: int) -> bytes:
    """An answer to a dedup query: xorbs whose chunk hashes are keyed, and a footer that holds the key.

    Times are seconds since the epoch. A key of 32 zeros leaves the hashes plain.
    """
    keyed = [
        ShardXorb(
            xorb.xorb_hash,
            tuple((keyed_chunk_hash(chunk, hmac_key), length) for chunk, length in xorb.chunks),
            xorb.stored_bytes,
        )
        for xorb in xorbs
    ]
    files = b"".join(_file_section(()))
    body = b"".join(_xorb_section(keyed))
    files_at = _HEADER.size
    xorbs_at = files_at + len(files)
    footer_at = xorbs_at + len(body)
    raw = sum(length for xorb in xorbs for _, length in xorb.chunks)
    footer = _FOOTER.pack(
        1, files_at, xorbs_at, *(footer_at, 0) * 3, hmac_key, created, key_expiry, raw, raw, raw, footer_at
    )
    return _HEADER.pack(_TAG, 2, _FOOTER_BYTES) + files + body + footer


def _begin(data: bytes | memoryview) -> _Reader:
    reader = _Reader(memoryview(data))
    tag, version, _ = _HEADER.unpack(reader.entry())
    if tag != _TAG or version != 2:
        raise BadShard("not a shard: the tag or the version is unknown")
    return reader


class _Reader:
    """Walks over a shard's entries."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def entry(self) -> memoryview:
        end = self._at + _ENTRY_BYTES
        if end > len(self._data):
            raise BadShard("the shard ends too early")
        entry = self._data[self._at : end]
        self._at = end
        return entry

    def entries(self, count: int) -> list[memoryview]:
        self._expect(count)
        return [self.entry() for _ in range(count)]

    def skip(self, count: int) -> None:
        self._expect(count)
        self._at += count * _ENTRY_BYTES

    def _expect(self, count: int) -> None:
        if count * _ENTRY_BYTES > len(self._data) - self._at:
            raise BadShard("the shard tells more entries than it has")

    def block(self) -> memoryview | None:
        """The first entry of the next block; None at the section's end."""
        entry = self.entry()
        return None if entry[:32] == _END[:32] else entry


def _read_file(entry: memoryview, reader: _Reader) -> ShardFile:
    file_hash, flags, count = _FILE.unpack(entry)
    terms = []
    for term in reader.entries(count):
        xorb, _, unpacked_bytes, start, end = _TERM.unpack(term)
        if start >= end:
            raise BadShard("a term without chunks")
        terms.append(ShardTerm(XetHash(xorb), unpacked_bytes, start, end))
    verification = (
        tuple(XetHash(_HASH.unpack(one)[0]) for one in reader.entries(count))
        if flags & _HAS_VERIFICATION
        else ()
    )
    sha256 = hash_hex(XetHash(_HASH.unpack(reader.entry())[0])) if flags & _HAS_METADATA else None
    return ShardFile(XetHash(file_hash), tuple(terms), verification, sha256)


def _read_xorb(entry: memoryview, reader: _Reader) -> ShardXorb:
    xorb, _, count, _, stored_bytes = _XORB.unpack(entry)
    chunks = []
    for chunk in reader.entries(count):
        value, _, length, _, _ = _CHUNK.unpack(chunk)
        chunks.append((XetHash(value), length))
    return ShardXorb(XetHash(xorb), tuple(chunks), stored_bytes)


def _file_section(files: Sequence[ShardFile]) -> list[bytes]:
    parts = []
    for file in files:
        flags = (_HAS_VERIFICATION if file.verification else 0) | (_HAS_METADATA if file.sha256 else 0)
        parts.append(_FILE.pack(file.file_hash, flags, len(file.terms)))
        parts += [_TERM.pack(term.xorb, 0, term.unpacked_bytes, term.start, term.end) for term in file.terms]
        parts += [_HASH.pack(value) for value in file.verification]
        if file.sha256:
            parts.append(_HASH.pack(parse_hash(file.sha256)))
    return [*parts, _END]


def _xorb_section(xorbs: Sequence[ShardXorb]) -> list[bytes]:
    parts = []
    for xorb in xorbs:
        lengths = [length for _, length in xorb.chunks]
        parts.append(_XORB.pack(xorb.xorb_hash, 0, len(lengths), sum(lengths), xorb.stored_bytes))
        starts = [0, *accumulate(lengths)]
        parts += [
            _CHUNK.pack(value, start, length, 0, 0)
            for (value, length), start in zip(xorb.chunks, starts, strict=False)
        ]
    return [*parts, _END]


def is_dedup_chunk(value: XetHash, *, first_of_file: bool) -> bool:
    """Whether a chunk may be asked for by a dedup query."""
    return first_of_file or int.from_bytes(value[24:], "little") % 1024 == 0
