"""Removal by order: a repository, or one revision of it, with the bytes that nobody else lists.

Blobs go first and listings last, so that a removal that was cut short is finished by asking again; chunks of
Xet files that were cut short wait for `collect`. Readers do not hold it up; they end on what they have open.
"""

from __future__ import annotations

from dataclasses import dataclass

from moongate.core.errors import RepoAbsent, RevisionAbsent, StoreError
from moongate.core.names import CommitHash, RepoId, Revision, shown
from moongate.store.blobs import Blobs
from moongate.store.chunk_ranges import difference, total_bytes, union
from moongate.store.claims import Claims
from moongate.store.index import BlobRow, Index, XetFileRow
from moongate.store.keeping.evict import drop_blob
from moongate.store.keeping.partials import drop_partial
from moongate.store.layout import Layout
from moongate.store.release import Needs, release
from moongate.store.segments import Segments

_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did. `kept_bytes` stay because a listing, or a Xet file, that stays has them, too.

    `filling` counts partial files and segments that are being filled or read at this moment; they go when
    idle. `blobs` and `xet_files` may count the same content.
    """

    freed_bytes: int = 0
    kept_bytes: int = 0
    blobs: int = 0
    kept_blobs: int = 0
    filling: int = 0
    xet_files: int = 0
    kept_xet_files: int = 0


def remove(
    layout: Layout,
    blobs: Blobs,
    segments: Segments,
    index: Index,
    repo: RepoId,
    revision: Revision | None = None,
) -> Removed:
    """Free what only this repository, or this revision, lists, and forget it.

    Raises:
        RepoAbsent, RevisionAbsent: nothing of it is known here.
        StoreError: it is pinned.
    """
    commit_hash = _commit(index, repo, revision)
    _refuse_pinned(index, repo, revision, commit_hash)
    freed_bytes = kept_bytes = removed = kept = filling = 0
    gone: list[XetFileRow] = []
    shared: list[XetFileRow] = []
    after = ""
    claims = Claims(layout)
    while page := index.contents_of(repo, commit_hash, after, _PAGE):
        for content in page:
            size_bytes = blobs.size_bytes(content.etag)
            (shared if content.shared else gone).extend(index.xet_files_of(content.etag))
            if content.shared:
                kept += size_bytes is not None
                kept_bytes += size_bytes or 0
                continue
            if size_bytes is not None:
                row = index.blob(content.etag) or BlobRow(content.etag, size_bytes, 0.0, 0.0, 0.0)
                with claims.freeing():
                    if index.is_hosted(content.etag):  # since the page was read
                        continue
                    freed_bytes += drop_blob(blobs, index, row, force=True) or 0
                removed += 1
            elif layout.partial_data(content.etag).exists():
                dropped = drop_partial(layout, content.etag)
                filling += dropped is None
                freed_bytes += dropped or 0
        after = page[-1].etag
    needs = _needs(index, [*gone, *shared])
    with claims.freeing():
        gone = [file for file in gone if not index.is_hosted(file.etag)]
        released = release(segments, index, gone, force=True)
    if commit_hash is None:
        index.drop_repo(repo)
    else:
        index.drop_commit(repo, commit_hash)
    return Removed(
        freed_bytes + released.freed_bytes,
        kept_bytes + _needed_still(index, needs),
        removed,
        kept,
        filling + released.busy,
        xet_files=len(gone),
        kept_xet_files=len(shared),
    )


def would_free(blobs: Blobs, index: Index, repo: RepoId, revision: Revision | None = None) -> int:
    """How many bytes `remove` would free of blobs and chunks, changing nothing.

    Raises:
        RepoAbsent, RevisionAbsent: nothing of it is known here.
    """
    commit_hash = _commit(index, repo, revision)
    freed_bytes, after = 0, ""
    gone: list[XetFileRow] = []
    while page := index.contents_of(repo, commit_hash, after, _PAGE):
        after = page[-1].etag
        own = [content.etag for content in page if not content.shared]
        freed_bytes += sum(blobs.size_bytes(etag) or 0 for etag in own)
        gone += [file for etag in own for file in index.xet_files_of(etag)]
    without = [file.file_id for file in gone if file.verified_at is not None]
    return freed_bytes + sum(
        total_bytes(difference(ranges, index.needed(xorb, without=without)))
        for xorb, ranges in _needs(index, gone).items()
    )


def _needs(index: Index, files: list[XetFileRow]) -> Needs:
    """The chunks of those files that are here whole."""
    needs: Needs = {}
    for file in files:
        if file.verified_at is not None:
            for xorb, ranges in index.ranges_of(file.file_id).items():
                needs.setdefault(xorb, []).extend(ranges)
    return needs


def _needed_still(index: Index, needs: Needs) -> int:
    """How many bytes of these chunks stay because a file needs them."""
    return sum(
        total_bytes(union(ranges)) - total_bytes(difference(ranges, index.needed(xorb)))
        for xorb, ranges in needs.items()
    )


def _commit(index: Index, repo: RepoId, revision: Revision | None) -> CommitHash | None:
    """The commit to remove; None for the whole repository."""
    if index.get_hosted(repo) is not None:
        raise StoreError(f"{repo} is hosted here, and nowhere else: who may administer it can delete it")
    commits = index.commits_of(repo)
    refs = index.refs_of(repo)
    if not (commits or refs or index.get_facts(repo)):
        raise RepoAbsent(f"{repo} is not kept here")
    if revision is None:
        return None
    if revision in refs:
        return refs[revision].commit_hash
    commit_hash = CommitHash(revision)
    if commit_hash in commits:
        return commit_hash
    raise RevisionAbsent(f"{repo} is kept here, but not its revision {shown(revision)}")


def _refuse_pinned(
    index: Index, repo: RepoId, revision: Revision | None, commit_hash: CommitHash | None
) -> None:
    refs = index.refs_of(repo)
    for pin in index.pins():
        if pin.repo != repo:
            continue
        pointed = refs[pin.revision].commit_hash if pin.revision in refs else pin.revision
        if revision is None or pin.revision is None or pointed == commit_hash:
            name = f"{repo}" if pin.revision is None else f"{repo} at {pin.revision}"
            raise StoreError(f"{name} is pinned: unpin it first")
