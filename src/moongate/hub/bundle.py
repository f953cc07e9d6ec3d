"""Carrying repositories across an air gap: one file, resumable on both sides, verified on both sides.

Export writes `<out>.part` and renames it when it is whole; broken off and repeated, it goes on where it was.
Import seals each content as soon as its hash is right, and tells of commits, facts and refs only after the
bundle's end was seen: broken off, it leaves content that counts next time, and nothing half known.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import orjson

from moongate.core.digests import Etag, content_hasher
from moongate.core.errors import RepoAbsent, RevisionAbsent, StoreError, StoreFull, VerificationFailed
from moongate.core.names import CommitHash, RepoId, Revision, is_commit_hash
from moongate.core.records import FileEntry
from moongate.hub import keys
from moongate.hub.bundle_file import END, MANIFEST, BadBundle, BundleReader, BundleWriter, Member
from moongate.hub.bundle_words import (
    CommitRecord,
    Manifest,
    RefSaid,
    RepoSaid,
    read_manifest_json,
    read_record_json,
)
from moongate.hub.listings import RECURSIVE, Listings
from moongate.store.blobs import Blobs
from moongate.store.index import Index, StoredAnswer
from moongate.wire.links import next_link

_PIECE_BYTES = 1 << 20


class BundleProgress(Protocol):
    """Who watches an export or import. Calls are cheap."""

    def planned(self, files: int, size_bytes: int) -> None:
        """So much content is to be carried."""

    def advanced(self, size_bytes: int) -> None:
        """So many more bytes are carried."""

    def finished(self, etag: Etag, carried: bool) -> None:
        """This content is done; `carried` unless it was there before."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What a bundle holds. `missing` files are listed in it, and were not here to carry."""

    path: Path
    commits: tuple[tuple[RepoId, CommitHash], ...]
    blobs: int
    size_bytes: int
    missing: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import brought. `missing` is content that an earlier bundle should have brought."""

    repos: tuple[RepoId, ...]
    added: int
    added_bytes: int
    present: int
    missing: tuple[Etag, ...]


def export_bundle(
    out: Path,
    wanted: Sequence[tuple[RepoId, Revision]],
    index: Index,
    blobs: Blobs,
    progress: BundleProgress,
    *,
    since: Path | None = None,
) -> ExportReport:
    """Write these revisions, as far as they are here, to one file; blocking.

    With `since`, an earlier bundle, its content is left out.

    Raises:
        RepoAbsent, RevisionAbsent: nothing is known of one of them here.
        VerificationFailed: a file here is not what its name says; run `verify`.
        BadBundle: `since` is no whole bundle.
        StoreFull: no room for the file.
    """
    before = _contents(since) if since is not None else {}
    commits = tuple(dict.fromkeys(_find(index, repo, revision) for repo, revision in wanted))
    records = [_record(index, repo, commit_hash) for repo, commit_hash in commits]
    entries = {entry.etag: entry for record in records for entry in record.files}
    here = {etag: e for etag, e in entries.items() if blobs.size_bytes(etag) == e.size_bytes}
    sizes = {etag: e.size_bytes for etag, e in sorted(here.items()) if etag not in before}
    manifest = Manifest(
        repos=_repos_said(index, commits, [repo for repo, _ in wanted]),
        blobs=sizes,
        assumed={etag: size_bytes for etag, size_bytes in before.items() if etag in entries},
        records=len(records),
    )
    progress.planned(len(sizes), sum(sizes.values()))
    part = out.with_name(out.name + ".part")
    try:
        _write(part, manifest, records, blobs, progress)
        part.replace(out)
    except OSError as error:
        raise StoreFull(f"cannot write {part.name}: {error.strerror}") from error
    missing = tuple(e for etag, e in entries.items() if etag not in here and etag not in before)
    return ExportReport(out, commits, len(sizes), sum(sizes.values()), missing)


def import_bundle(
    bundle: BinaryIO,
    index: Index,
    blobs: Blobs,
    progress: BundleProgress,
    now: float,
    *,
    make_room: Callable[[int], None] | None = None,
) -> ImportReport:
    """Take in a bundle, read once from its beginning to its end; blocking. May be repeated at any time.

    What is known here from a later word of upstream is left as it is.

    Raises:
        BadBundle: it is none, is damaged, or ends early; content verified before stays.
        VerificationFailed: some content is not what its name says; nothing of it is kept.
        StoreFull: no room.
    """
    reader = BundleReader(bundle)
    if (first := reader.next()).kind != "manifest":
        raise BadBundle("this is no bundle of Moongate")
    body = reader.json_bytes(first)
    manifest = read_manifest_json(body)
    progress.planned(len(manifest.blobs), sum(manifest.blobs.values()))
    added = _take_blobs(reader, manifest, index, blobs, progress, now, make_room)
    # Content is in; listings count only once the end was seen.
    member, records = added.following, []
    while member.kind == "record":
        records.append(read_record_json(reader.json_bytes(member), frozenset(r.repo for r in manifest.repos)))
        member = reader.next()
    if member.kind != "end" or len(records) != manifest.records:
        raise BadBundle("the bundle's members are not in order")
    if reader.json_bytes(member) != _end_json(body):
        raise BadBundle("the bundle's table of contents is damaged")
    for record in records:
        _learn_record(index, record)
    for said in manifest.repos:
        _learn_repo(index, said)
    missing = tuple(e for e, size_bytes in manifest.assumed.items() if blobs.size_bytes(e) != size_bytes)
    repos = tuple(said.repo for said in manifest.repos)
    return ImportReport(repos, added.count, added.size_bytes, len(manifest.blobs) - added.count, missing)


# Export


def _present_name(index: Index, repo: RepoId) -> RepoId:
    new_id = index.get_rename(repo.repo_type, repo.repo_id)
    return repo if new_id is None else RepoId(repo.repo_type, new_id)


def _find(index: Index, repo: RepoId, revision: Revision) -> tuple[RepoId, CommitHash]:
    repo = _present_name(index, repo)
    if index.get_facts(repo) is None:
        raise RepoAbsent(f"{repo} is not known here; pull it first")
    row = index.get_ref(repo, revision)
    if row is None:
        raise RevisionAbsent(f"{repo} is not known here at {revision}; pull it first")
    return repo, row.commit_hash


def _record(index: Index, repo: RepoId, commit_hash: CommitHash) -> CommitRecord:
    complete = index.listing_complete(repo, commit_hash)
    files = tuple(index.files_of(repo, commit_hash))
    return CommitRecord(repo, commit_hash, complete, files, dict(_answers(index, repo, commit_hash)))


def _answers(index: Index, repo: RepoId, commit_hash: CommitHash) -> Iterator[tuple[str, StoredAnswer]]:
    """The answers that clients need when there is no upstream."""
    wanted = [keys.info(repo, commit_hash), keys.info(repo, commit_hash, (("blobs", "true"),))]
    wanted += [keys.of_repo("refs", repo, query) for query in ("", "?include_prs=1", "?include_prs=true")]
    for key in wanted:
        if (kept := index.get_answer(key)) is not None and kept.status == 200:
            yield key, kept
    pairs: Sequence[tuple[str, str]] = RECURSIVE
    for page in Listings(index).pages(repo, commit_hash) or ():
        yield keys.tree(repo, commit_hash, "", pairs), page
        pairs = keys.normal_query((next_link(page.headers) or "").partition("?")[2])


def _repos_said(
    index: Index, commits: Sequence[tuple[RepoId, CommitHash]], asked: Sequence[RepoId]
) -> tuple[RepoSaid, ...]:
    told = []
    for repo in dict.fromkeys(repo for repo, _ in commits):
        facts = index.get_facts(repo)
        assert facts is not None  # noqa: S101 - `_find` looked
        carried = {commit_hash for its, commit_hash in commits if its == repo}
        refs = tuple(
            RefSaid(revision, row.commit_hash, row.checked_at)
            for revision, row in index.refs_of(repo).items()
            if row.commit_hash in carried
        )
        old_ids = {old for old in asked if old != repo and _present_name(index, old) == repo}
        told.append(RepoSaid(facts, refs, tuple(sorted(old_ids))))
    return tuple(told)


def _write(
    part: Path, manifest: Manifest, records: Sequence[CommitRecord], blobs: Blobs, progress: BundleProgress
) -> None:
    head = manifest.as_json()
    kept_bytes, done = _resumable(part, head)
    with part.open("r+b" if kept_bytes else "wb") as file:
        file.truncate(kept_bytes)
        file.seek(kept_bytes)
        writer = BundleWriter(file)
        if not kept_bytes:
            writer.add_json(MANIFEST, head)
        for number, (etag, size_bytes) in enumerate(manifest.blobs.items()):
            if number < done:
                progress.advanced(size_bytes)
                progress.finished(etag, False)
                continue
            writer.add(f"blobs/{etag}", size_bytes, _verified_pieces(blobs, etag, size_bytes, progress))
            progress.finished(etag, True)
        for record in records:
            body = record.as_json()
            writer.add_json(f"records/{hashlib.sha256(body).hexdigest()}.json", body)
        writer.add_json(END, _end_json(head))
        writer.end()
        file.flush()
        os.fsync(file.fileno())


def _resumable(part: Path, head: bytes) -> tuple[int, int]:
    """How many bytes of an earlier attempt at the same bundle are good, and how many blobs that is.

    The last whole blob is written anew, since nobody knows how the attempt ended.
    """
    try:
        file = part.open("rb")
    except FileNotFoundError:
        return 0, 0
    with file:
        reader = BundleReader(file)
        ends: list[int] = []
        try:
            member = reader.next()
            if member.kind != "manifest" or reader.json_bytes(member) != head:
                return 0, 0
            reader.skip()
            ends.append(reader.position)
            while reader.next().kind == "blob":
                reader.skip()
                ends.append(reader.position)
        except BadBundle:
            pass  # that is where it was broken off
        if not ends:
            return 0, 0
        done = max(0, len(ends) - 2)
        return ends[done], done


def _verified_pieces(blobs: Blobs, etag: Etag, size_bytes: int, progress: BundleProgress) -> Iterator[bytes]:
    fd = blobs.open(etag)
    if fd is None:
        raise StoreError(f"{etag} was removed while it was exported; try again")
    with os.fdopen(fd, "rb") as file:
        hasher, left = content_hasher(etag, size_bytes), size_bytes
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            hasher.update(piece)
            left -= len(piece)
            progress.advanced(len(piece))
            yield piece
        if left or hasher.hexdigest() != etag:
            raise VerificationFailed(f"{etag} in the store is not what its name says; run `moongate verify`")


def _end_json(head: bytes) -> bytes:
    return orjson.dumps({"bundle_sha256": hashlib.sha256(head).hexdigest()})


def _contents(bundle: Path) -> dict[Etag, int]:
    """What the owner of a bundle has: what it holds, and what it assumes."""
    try:
        with bundle.open("rb") as file:
            reader = BundleReader(file)
            first = reader.next()
            if first.kind != "manifest":
                raise BadBundle(f"{bundle.name} is no bundle of Moongate")
            manifest = read_manifest_json(reader.json_bytes(first))
    except OSError as error:
        raise BadBundle(f"cannot read {bundle.name}: {error.strerror}") from error
    return {**manifest.assumed, **manifest.blobs}


# Import


@dataclass(frozen=True, slots=True)
class _Added:
    count: int
    size_bytes: int
    following: Member


def _take_blobs(
    reader: BundleReader,
    manifest: Manifest,
    index: Index,
    blobs: Blobs,
    progress: BundleProgress,
    now: float,
    make_room: Callable[[int], None] | None,
) -> _Added:
    count = size_bytes = 0
    for etag, size in manifest.blobs.items():
        try:
            member = reader.next()
        except BadBundle as error:
            raise _after(error, count, manifest) from None
        if member != Member("blob", etag, size):
            raise BadBundle("the bundle's members are not those of its table of contents")
        carried = blobs.size_bytes(etag) != size
        if carried:
            if make_room is not None:
                make_room(size)
            try:
                blobs.add(etag, size, _told(reader.pieces(member), progress))
            except BadBundle as error:
                raise _after(error, count, manifest) from None
            index.put_blob(etag, size, now)
            count, size_bytes = count + 1, size_bytes + size
        else:
            index.register_blob(etag, size, now)
            progress.advanced(size)
        progress.finished(etag, carried)
    return _Added(count, size_bytes, reader.next())


def _after(error: BadBundle, count: int, manifest: Manifest) -> BadBundle:
    return BadBundle(
        f"{error.message}: {count} new files of {len(manifest.blobs)} are verified and stay; "
        "repeat with a whole bundle"
    )


def _told(pieces: Iterator[bytes], progress: BundleProgress) -> Iterator[bytes]:
    for piece in pieces:
        progress.advanced(len(piece))
        yield piece


def _learn_record(index: Index, record: CommitRecord) -> None:
    for key, answer in record.answers.items():
        kept = index.get_answer(key)
        if kept is None or kept.fetched_at <= answer.fetched_at:
            index.put_answer(key, record.repo, answer)
    index.put_files(record.repo, record.commit_hash, record.files, record.complete)


def _learn_repo(index: Index, said: RepoSaid) -> None:
    for ref in said.refs:
        row = index.get_ref(said.repo, ref.revision)
        if row is None or row.checked_at <= ref.checked_at or is_commit_hash(ref.revision):
            index.put_ref(said.repo, ref.revision, ref.commit_hash, ref.checked_at)
    for old in said.old_ids:
        index.put_rename(old.repo_type, old.repo_id, said.repo.repo_id, said.facts.checked_at)
    known = index.get_facts(said.repo)
    if known is None or known.checked_at <= said.facts.checked_at:
        index.put_facts(said.facts)
