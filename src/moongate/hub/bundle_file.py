"""The container of a bundle: a plain tar file (GNU flavour) of a strict kind, written and read as a stream.

    moongate-bundle.json       what is in it, and what the receiver should have already
    blobs/<etag>               content, each under its own hash
    xet/<file id>.json         how a file is made of chunks (a reconstruction, version 1, without URLs)
    xorbs/<xorb>/<segment>     chunks of that file which nobody had before; more of them may follow
    records/<sha256>.json      listings and ready-made answers, one member per commit
    moongate-end.json          the sha256 of the first member; without it the bundle is not whole

Only these names, only regular files, only in this order; `tar tf` lists it. Nothing in it becomes a path on
disk: a name is parsed into a hash, or refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from moongate.core.errors import BadRequest

MANIFEST: Final = "moongate-bundle.json"
END: Final = "moongate-end.json"

Kind = Literal["manifest", "blob", "xet", "segment", "record", "end"]

_BLOCK_BYTES = 512
_PIECE_BYTES = 1 << 20
_MAX_JSON_BYTES = 512 << 20
_BLOB = re.compile(r"blobs/([0-9a-f]{64}|[0-9a-f]{40})")
_XET = re.compile(r"xet/([0-9a-f]{64})\.json")
_SEGMENT = re.compile(r"xorbs/([0-9a-f]{64}/\d{1,10}-\d{1,10}_\d{1,10}-\d{1,10})", re.ASCII)
_RECORD = re.compile(r"records/([0-9a-f]{64})\.json")
_KINDS: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = (
    ("blob", _BLOB),
    ("xet", _XET),
    ("segment", _SEGMENT),
    ("record", _RECORD),
)


class BadBundle(BadRequest):
    """The file is no bundle, a broken one, or ends early. What was verified before is kept."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `name_hash`: a blob's etag, a Xet file's id, a record's sha256; for a segment, its xorb and
    what it has of it; empty for the others.
    """

    kind: Kind
    name_hash: str
    size_bytes: int


class BundleWriter:
    """Appends members to a file that is open for writing, at its position."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, name: str, size_bytes: int, pieces: Iterator[bytes]) -> None:
        """One member of exactly that many bytes."""
        header = tarfile.TarInfo(name)
        header.size = size_bytes
        header.mode = 0o644
        self._file.write(header.tobuf(tarfile.GNU_FORMAT))
        written = 0
        for piece in pieces:
            self._file.write(piece)
            written += len(piece)
        if written != size_bytes:
            raise ValueError(f"{name} has {written} bytes, not {size_bytes}")
        self._file.write(bytes(_padding(size_bytes)))

    def add_json(self, name: str, body: bytes) -> None:
        self.add(name, len(body), iter((body,)))

    def end(self) -> None:
        """What closes every tar file."""
        self._file.write(bytes(2 * _BLOCK_BYTES))


class BundleReader:
    """Reads members one after the other. Each is read or skipped before the next is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = 0
        self._position = 0

    @property
    def position(self) -> int:
        """Bytes of the file that are read or skipped so far."""
        return self._position

    def next(self) -> Member:
        """The next member.

        Raises:
            BadBundle: something else comes, or nothing.
        """
        self.skip()
        block = self._exactly(_BLOCK_BYTES)
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeError, ValueError):
            raise BadBundle("this is no bundle, or it is damaged") from None
        if header.type != tarfile.REGTYPE or header.size < 0:
            raise BadBundle("the bundle holds something that is no plain file")
        member = _member(header.name, header.size)
        self._left = header.size + _padding(header.size)
        return member

    def pieces(self, member: Member) -> Iterator[bytes]:
        """The bytes of the member that `next` gave last.

        Raises:
            BadBundle: the file ends early.
        """
        left = member.size_bytes
        while left:
            piece = self._exactly(min(left, _PIECE_BYTES))
            left -= len(piece)
            self._left -= len(piece)
            yield piece

    def json_bytes(self, member: Member) -> bytes:
        """The whole member, which is JSON, checked against its name.

        Raises:
            BadBundle: absurdly large, damaged, or the file ends early.
        """
        if member.size_bytes > _MAX_JSON_BYTES:
            raise BadBundle("the bundle holds a listing of absurd size")
        body = b"".join(self.pieces(member))
        if member.kind == "record" and hashlib.sha256(body).hexdigest() != member.name_hash:
            raise BadBundle("a listing in the bundle is damaged")
        return body

    def skip(self) -> None:
        """Pass over what is left of the current member."""
        if self._left and self._file.seekable():  # past the end, too: then the next read says so
            self._file.seek(self._left, os.SEEK_CUR)
            self._position += self._left
            self._left = 0
        while self._left:
            self._left -= len(self._exactly(min(self._left, _PIECE_BYTES)))

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        while len(data) < count and (more := self._file.read(count - len(data))):
            data += more
        if len(data) < count:
            raise BadBundle("the bundle ends early")
        self._position += count
        return data


def _member(name: str, size_bytes: int) -> Member:
    if name == MANIFEST:
        return Member("manifest", "", size_bytes)
    if name == END:
        return Member("end", "", size_bytes)
    for kind, pattern in _KINDS:
        if found := pattern.fullmatch(name):
            return Member(kind, found[1], size_bytes)
    raise BadBundle("the bundle holds a file that does not belong there")


def _padding(size_bytes: int) -> int:
    return -size_bytes % _BLOCK_BYTES
