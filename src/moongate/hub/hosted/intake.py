"""Large files as git-lfs and the Hub's older clients bring them: in one go, or in parts.

    ask       which objects have to be sent at all, and in what way
    whole     one object's bytes come, are hashed on the way, and are kept if they are what they should be
    part      some of an object's bytes come, at their place
    complete  all parts are here: the whole is hashed, and kept if it is what it should be

An object that its sender could use anyway (brought before, or readable in some repository) is not sent again.
Parts that came stay for a while, so an upload that broke off goes on with those that are missing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from moongate.core.callers import Caller
from moongate.core.digests import Etag, Hasher
from moongate.core.errors import BadRequest, MoongateError, RepoAbsent
from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.quotas import Quotas
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.hosted.uploads import Uploads
from moongate.store.index import HostedRow, Index, UploadPart
from moongate.store.upload_files import UploadFile, UploadFiles
from moongate.wire.lfs import LfsPointed

_HASHES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Upload:
    """An object that somebody was told to send to a repository.

    part_bytes: how long its parts are; 0 when it comes in one go.
    """

    number: int
    caller_key: str
    etag: Etag
    size_bytes: int
    part_bytes: int = 0

    @property
    def name(self) -> str:
        """Under what its parts are kept: no two senders share one."""
        said = f"{self.number} {self.caller_key} {self.etag} {self.size_bytes} {self.part_bytes}"
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def part_count(self) -> int:
        return -(-self.size_bytes // self.part_bytes) if self.part_bytes else 1

    def part_size(self, number: int) -> int:
        """How long a part is to be; parts are counted from 1."""
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)


class Intake:
    """Receives large files."""

    def __init__(
        self,
        index: Index,
        files: UploadFiles,
        contents: Contents,
        uploads: Uploads,
        quotas: Quotas,
        rules: HostedRules,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._files = files
        self._contents = contents
        self._uploads = uploads
        self._quotas = quotas
        self._rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._running: OrderedDict[str, tuple[int, Hasher]] = OrderedDict()

    def ask(
        self, row: HostedRow, objects: Sequence[LfsPointed], caller: Caller, *, in_parts: bool
    ) -> list[tuple[LfsPointed, Upload | MoongateError | None]]:
        """For each object how it is to be sent; None: it need not be, the caller may commit it already.

        Raises:
            QuotaExceeded: the namespace has no room for them.
        """
        self._quotas.admit(row.repo.namespace, {one.oid: one.size_bytes for one in objects})
        return [(one, self._ask(row, one, caller, in_parts=in_parts)) for one in objects]

    def _ask(
        self, row: HostedRow, one: LfsPointed, caller: Caller, *, in_parts: bool
    ) -> Upload | MoongateError | None:
        known_bytes = self._uploads.may_commit(row, caller, one.oid)
        if known_bytes is not None and known_bytes != one.size_bytes:
            return BadRequest(f"this object has {known_bytes} bytes, not {one.size_bytes}")
        if known_bytes is not None and self._uploads.renew(row, caller.key, one.oid, one.size_bytes):
            return None
        part_bytes = self._rules.part_bytes if in_parts and one.size_bytes > self._rules.part_bytes else 0
        return Upload(row.number, caller.key, one.oid, one.size_bytes, part_bytes)

    @contextmanager
    def whole(self, upload: Upload) -> Iterator[UploadFile]:
        """Write an object's bytes to what this gives; when the block ends well, they are kept.

        Raises:
            BadRequest: they are not the object that was to come.
            StoreFull: there is no room for them; nothing is kept.
            RepoAbsent: the repository is gone.
        """
        row = self._row(upload)
        self._contents.make_room(upload.size_bytes)
        with self._files.whole() as file:
            yield file
            _check(upload, file.written_bytes, file.hasher.hexdigest())
            self._keep(row, upload, file.path)
            file.keep()

    @contextmanager
    def part(self, upload: Upload, number: int) -> Iterator[UploadFile]:
        """Write a part's bytes to what this gives; when the block ends well, the part is here.

        Raises:
            BadRequest: there is no such part, or it has another length.
            StoreFull: there is no room for it.
        """
        if not 1 <= number <= upload.part_count:
            raise BadRequest(f"this upload has {upload.part_count} parts")
        here = {part.number: part.size_bytes for part in self._index.parts(upload.name)}
        here.pop(number, None)
        self._contents.make_room(upload.size_bytes - sum(here.values()))
        offset = (number - 1) * upload.part_bytes
        with self._files.part(upload.name, offset) as file, self._hashed_along(upload, offset, file):
            yield file
            if file.written_bytes != upload.part_size(number):
                raise BadRequest(f"part {number} is to have {upload.part_size(number)} bytes")
            part = UploadPart(number, file.hasher.hexdigest(), file.written_bytes)
            self._index.put_part(upload.name, part, self._clock())

    def complete(self, upload: Upload) -> None:
        """Put the parts together and keep the object. Again is free once it worked.

        Raises:
            BadRequest: parts are missing, or together they are not the object that was to come.
            RepoAbsent: the repository is gone.
        """
        row = self._row(upload)
        if self._arrived(row, upload):
            return
        here = {part.number: part.size_bytes for part in self._index.parts(upload.name)}
        missing = [number for number in range(1, upload.part_count + 1) if number not in here]
        if missing:
            raise BadRequest(
                f"{len(missing)} of {upload.part_count} parts are not here, such as {missing[0]}"
            )
        try:
            _check(upload, upload.size_bytes, self._hash_of(upload))
        except BadRequest:
            self._drop(upload)
            raise
        self._keep(row, upload, self._files.path(upload.name))
        self._index.drop_parts(upload.name)

    def _arrived(self, row: HostedRow, upload: Upload) -> bool:
        leased = self._index.upload(row.number, upload.caller_key, upload.etag, self._clock())
        return leased is not None or bool(self._index.hosted_blobs_with(row.number, upload.etag))

    def _keep(self, row: HostedRow, upload: Upload, path: Path) -> None:
        with self._contents.claimed():
            self._contents.adopt(upload.etag, upload.size_bytes, path)
            self._uploads.uploaded(row, upload.caller_key, upload.etag, upload.size_bytes)

    def _drop(self, upload: Upload) -> None:
        self._index.drop_parts(upload.name)
        self._files.drop(upload.name)

    def _row(self, upload: Upload) -> HostedRow:
        row = self._index.get_hosted_number(upload.number)
        if row is None:
            raise RepoAbsent("Repository not found")
        return row

    # Hashing the whole while parts come in order

    @contextmanager
    def _hashed_along(self, upload: Upload, offset: int, file: UploadFile) -> Iterator[None]:
        with self._lock:
            position, hasher = self._running.pop(upload.name, (0, None))
        if hasher is None and offset == 0:
            hasher = hashlib.sha256()
        file.along = hasher if position == offset else None
        yield
        if file.along is not None:
            with self._lock:
                self._running[upload.name] = (offset + file.written_bytes, file.along)
                if len(self._running) > _HASHES_KEPT:
                    self._running.popitem(last=False)

    def _hash_of(self, upload: Upload) -> str:
        with self._lock:
            position, hasher = self._running.pop(upload.name, (0, None))
        if hasher is not None and position == upload.size_bytes:
            return hasher.hexdigest()
        return self._files.sha256(upload.name, upload.size_bytes)


def _check(upload: Upload, size_bytes: int, sha256: str) -> None:
    if size_bytes != upload.size_bytes:
        raise BadRequest(f"{size_bytes} bytes came for an object of {upload.size_bytes}")
    if sha256 != upload.etag:
        raise BadRequest(f"what came is not the object {upload.etag}; nothing was kept")
