"""What came before a commit: the commits of a revision, newest first, and what two of them differ in."""

from __future__ import annotations

import difflib
import heapq
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from moongate.core.names import CommitHash
from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.listings import HostedListings, Listed, commit_title, moment
from moongate.hub.hosted.objects import GitObjects
from moongate.store.index import HostedRow, Index
from moongate.wire.git_objects import CommitObject
from moongate.wire.lfs import pointer_text

_HISTORIES_KEPT: Final = 32
_MOST_COMPARED_BYTES: Final = 1 << 20


class History:
    """Commits before commits."""

    def __init__(
        self, index: Index, objects: GitObjects, listings: HostedListings, contents: Contents
    ) -> None:
        self._index = index
        self._objects = objects
        self._listings = listings
        self._contents = contents
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, str], Sequence[CommitHash]] = OrderedDict()

    def hashes(self, row: HostedRow, commit_hash: CommitHash) -> Sequence[CommitHash]:
        """A commit and all before it: newest first, no commit before one that was made from it."""
        key = (row.number, str(commit_hash))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        found = list(self._walk(row, commit_hash))
        with self._lock:
            self._kept[key] = found
            if len(self._kept) > _HISTORIES_KEPT:
                self._kept.popitem(last=False)
        return found

    def told(
        self, row: HostedRow, commits: Sequence[CommitHash], *, formatted: bool
    ) -> list[dict[str, object]]:
        """These commits as the API shows them."""
        return [
            _told(commit_hash, self._objects.commit(row, commit_hash), formatted=formatted)
            for commit_hash in commits
        ]

    def compare(self, row: HostedRow, old: CommitHash, new: CommitHash) -> str:
        """What changed from one commit to another, as a unified diff; large files by their pointers."""
        gone, put = self._listings.compare(row, old, new)
        before = self._objects.commit(row, old).tree
        lines: list[str] = []
        now = {one.path: one for one in put}
        for path in sorted({*gone, *now}):
            item = self._objects.item_at(row, before, path)
            was = Listed(path, item) if item is not None and not item.is_folder else None
            lines.append(f"diff --git a/{path} b/{path}\n")
            lines += difflib.unified_diff(
                self._lines(row, was), self._lines(row, now.get(path)), f"a/{path}", f"b/{path}"
            )
        return "".join(lines)

    def _lines(self, row: HostedRow, one: Listed | None) -> list[str]:
        blob = None if one is None else self._index.hosted_blob(row.number, one.item.oid)
        if blob is None:
            return []
        if blob.is_lfs:
            data = pointer_text(blob.etag, blob.size_bytes)
        elif blob.size_bytes > _MOST_COMPARED_BYTES:
            data = f"({blob.size_bytes} bytes)\n".encode()
        else:
            data = self._contents.read(blob.oid) or b""
        text = data.decode("utf-8", "replace")
        return [line if line.endswith("\n") else f"{line}\n" for line in text.splitlines(keepends=True)]

    def _walk(self, row: HostedRow, start: CommitHash) -> Iterator[CommitHash]:
        """By time, the latest first; a line of commits that was walked before is not walked again."""
        waiting = [self._entry(row, start, 0)]
        seen, count = {str(start)}, 1
        while waiting:
            here = heapq.heappop(waiting)[2]
            if not waiting and here != start:
                with self._lock:
                    known = self._kept.get((row.number, here))
                if known is not None and seen.isdisjoint(known[1:]):
                    yield from known
                    return
            yield CommitHash(here)
            for parent in self._objects.commit(row, here).parents:
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(waiting, self._entry(row, parent, count))
                    count += 1

    def _entry(self, row: HostedRow, commit_hash: str, count: int) -> tuple[int, int, str]:
        return -self._objects.commit(row, commit_hash).committer.at, count, str(commit_hash)


def _told(commit_hash: CommitHash, commit: CommitObject, *, formatted: bool) -> dict[str, object]:
    title = commit_title(commit.message)
    message = commit.message.strip("\n").partition("\n")[2].strip()
    told: dict[str, object] = {
        "id": commit_hash,
        "title": title,
        "message": message,
        "authors": [{"user": commit.author.name, "avatar": ""}],
        "date": moment(commit.committer.at),
    }
    return told | ({"formatted": {"title": title, "message": message}} if formatted else {})
