"""A commit that is still coming in, line by line; its regular files are in the store as soon as they came."""

from __future__ import annotations

from typing import Final

from moongate.core.callers import Caller
from moongate.core.errors import BadRequest
from moongate.hub.hosted.uploads import Uploads
from moongate.store.index import HostedRow
from moongate.wire.commit_lines import CommitHeader, CommitRequest, Operation, PutBlob, PutFile

_MAX_OPERATIONS: Final = 50_000
_TOGETHER_BYTES: Final = 8 << 20
_TOGETHER_FILES: Final = 256


class Draft:
    """Collects a commit's lines."""

    def __init__(self, uploads: Uploads, row: HostedRow, caller: Caller) -> None:
        self._uploads = uploads
        self._row = row
        self._caller = caller
        self._header: CommitHeader | None = None
        self._operations: list[Operation] = []
        self._waiting: list[int] = []
        self._waiting_bytes = 0

    def take(self, value: CommitHeader | Operation) -> None:
        """Take what one line said.

        Raises:
            BadRequest: it is a second header, or one operation too many.
        """
        if isinstance(value, CommitHeader):
            if self._header is not None:
                raise BadRequest("a commit has one header")
            self._header = value
            return
        if len(self._operations) >= _MAX_OPERATIONS:
            raise BadRequest(f"a commit has up to {_MAX_OPERATIONS} operations; make several")
        if isinstance(value, PutFile):
            self._waiting.append(len(self._operations))
            self._waiting_bytes += len(value.content)
        self._operations.append(value)

    @property
    def is_heavy(self) -> bool:
        """Whether it is time to `bring` what came."""
        return self._waiting_bytes > _TOGETHER_BYTES or len(self._waiting) >= _TOGETHER_FILES

    def bring(self) -> None:
        """Put the files that came into the store. Blocks.

        Raises:
            StoreFull: there is no room for them.
        """
        files = [self._operations[place] for place in self._waiting]
        contents = [one.content for one in files if isinstance(one, PutFile)]
        oids = self._uploads.bring(self._row, self._caller.key, contents)
        for place, one, oid in zip(self._waiting, files, oids, strict=True):
            if isinstance(one, PutFile):
                self._operations[place] = PutBlob(one.path, oid, len(one.content), one.old_path)
        self._waiting, self._waiting_bytes = [], 0

    def request(self) -> CommitRequest:
        """The whole commit.

        Raises:
            BadRequest: it has no header.
        """
        if self._header is None:
            raise BadRequest("the commit has no header")
        return CommitRequest(self._header, self._operations)
