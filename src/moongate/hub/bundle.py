"""Carrying repositories across an air gap: one file, resumable on both sides, verified on both sides.

Export writes `<out>.part` and renames it when it is whole; broken off and repeated, it goes on where it was.
Import seals each content as soon as its hash is right, and tells of commits, facts and refs only after the
bundle's end was seen: broken off, it leaves content that counts next time, and nothing half known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from moongate.core.digests import Etag
from moongate.core.errors import Conflict, RepoAbsent, RevisionAbsent, StoreFull
from moongate.core.names import CommitHash, RepoId, Revision, is_commit_hash
from moongate.core.records import FileEntry
from moongate.hub import keys
from moongate.hub.bundle_file import BadBundle, BundleReader, Member
from moongate.hub.bundle_words import (
    Chunks,
    CommitRecord,
    Manifest,
    RefSaid,
    RepoSaid,
    read_manifest_json,
    read_record_json,
)
from moongate.hub.bundle_writing import BundleProgress, end_json, write_bundle
from moongate.hub.bundle_xet import XetIntake, plan_xet, proven_row
from moongate.hub.listings import RECURSIVE, Listings
from moongate.store.blobs import Blobs
from moongate.store.chunk_ranges import union
from moongate.store.index import Index, StoredAnswer
from moongate.store.segments import Segments
from moongate.wire.links import next_link

__all__ = ["BundleProgress", "ExportReport", "ImportReport", "export_bundle", "import_bundle"]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What a bundle holds: files as a whole, and Xet files as the chunks that are new to the receiver.

    `size_bytes` counts both. `missing` files are listed in it, and were not here to carry.
    """

    path: Path
    commits: tuple[tuple[RepoId, CommitHash], ...]
    blobs: int
    size_bytes: int
    missing: tuple[tuple[RepoId, FileEntry], ...]
    xet_files: int = 0
    xet_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import brought. `missing` is content that an earlier bundle should have brought, or chunks of.

    `added` and `added_bytes` count Xet files, too; those alone are in `added_xet_files`.
    """

    repos: tuple[RepoId, ...]
    added: int
    added_bytes: int
    present: int
    missing: tuple[Etag, ...]
    added_xet_files: int = 0


def export_bundle(
    out: Path,
    wanted: Sequence[tuple[RepoId, Revision]],
    index: Index,
    blobs: Blobs,
    segments: Segments,
    progress: BundleProgress,
    *,
    since: Path | None = None,
) -> ExportReport:
    """Write these revisions, as far as they are here, to one file; blocking.

    With `since`, an earlier bundle, what it brought or assumed is left out: files, and chunks of others.
    A file that is kept as chunks travels so, and not as a whole.

    Raises:
        RepoAbsent, RevisionAbsent: nothing is known of one of them here.
        VerificationFailed: a file here is not what its name says; run `verify`.
        BadBundle: `since` is no whole bundle.
        StoreFull: no room for the file.
    """
    before, chunks_before = _contents(since) if since is not None else ({}, {})
    commits = tuple(dict.fromkeys(_find(index, repo, revision) for repo, revision in wanted))
    records = [_record(index, repo, commit_hash) for repo, commit_hash in commits]
    entries = {entry.etag: entry for record in records for entry in record.files}
    found = {e.etag: proven_row(index, segments, e.etag, e.size_bytes) for e in entries.values()}
    in_xet = {etag: row for etag, row in sorted(found.items()) if row is not None}
    xet = plan_xet(index, in_xet.values(), before, chunks_before)
    here = {etag for etag, e in entries.items() if etag in in_xet or blobs.size_bytes(etag) == e.size_bytes}
    sizes = {etag: entries[etag].size_bytes for etag in sorted(here.difference(before, in_xet))}
    manifest = Manifest(
        repos=_repos_said(index, commits, [repo for repo, _ in wanted]),
        blobs=sizes,
        assumed={etag: size_bytes for etag, size_bytes in before.items() if etag in entries},
        records=len(records),
        xet=xet.files,
        assumed_chunks=xet.assumed_chunks,
    )
    progress.planned(manifest.files, manifest.size_bytes)
    part = out.with_name(out.name + ".part")
    try:
        write_bundle(part, manifest, records, index, blobs, segments, progress)
        part.replace(out)
    except OSError as error:
        raise StoreFull(
            f"cannot write {part}: {error.strerror}; what was written stays there for the next try"
        ) from error
    missing = tuple(
        (record.repo, entry)
        for record in records
        for entry in record.files
        if entry.etag not in here and entry.etag not in before
    )
    xet_bytes = sum(said.carried_bytes for said in xet.files)
    size_bytes = manifest.size_bytes
    return ExportReport(out, commits, len(sizes), size_bytes, missing, len(xet.files), xet_bytes)


def import_bundle(
    bundle: BinaryIO,
    index: Index,
    blobs: Blobs,
    segments: Segments,
    progress: BundleProgress,
    now: float,
    *,
    make_room: Callable[[int], None] | None = None,
    lives_here: Callable[[RepoId], bool] = lambda repo: False,
) -> ImportReport:
    """Take in a bundle, read once from its beginning to its end; blocking. May be repeated at any time.

    What is known here from a later word of upstream is left as it is. `lives_here`: which names are hosted
    repositories', which nothing that is carried here may take.

    Raises:
        Conflict: a repository in it has such a name.
        BadBundle: it is none, is damaged, or ends early; content verified before stays.
        VerificationFailed: some content is not what its name says; nothing of it is kept.
        StoreFull: no room.
    """
    reader = BundleReader(bundle)
    if (first := reader.next()).kind != "manifest":
        raise BadBundle("this is no bundle of Moongate")
    body = reader.json_bytes(first)
    manifest = read_manifest_json(body)
    for said in manifest.repos:
        if lives_here(said.repo):
            raise Conflict(f"{said.repo} would take the name of a namespace that is hosted here")
    progress.planned(manifest.files, manifest.size_bytes)
    added, added_bytes = _take_blobs(reader, manifest, index, blobs, progress, now, make_room)
    intake = XetIntake(reader, index, segments, now, make_room, progress.advanced)
    added_xet = _take_xet_files(intake, manifest, progress, added)
    # Content is in; listings count only once the end was seen.
    member, records = reader.next(), []
    while member.kind == "record":
        records.append(read_record_json(reader.json_bytes(member), frozenset(r.repo for r in manifest.repos)))
        member = reader.next()
    if member.kind != "end" or len(records) != manifest.records:
        raise BadBundle("the bundle's members are not in order")
    if reader.json_bytes(member) != end_json(body):
        raise BadBundle("the bundle's table of contents is damaged")
    for record in records:
        _learn_record(index, record)
    for said in manifest.repos:
        _learn_repo(index, said)
    missing = [
        etag
        for etag, size_bytes in manifest.assumed.items()
        if blobs.size_bytes(etag) != size_bytes and proven_row(index, segments, etag, size_bytes) is None
    ]
    count = added + added_xet
    return ImportReport(
        repos=tuple(said.repo for said in manifest.repos),
        added=count,
        added_bytes=added_bytes + intake.added_bytes,
        present=manifest.files - count - len(intake.waiting),
        missing=tuple(dict.fromkeys([*missing, *intake.waiting])),
        added_xet_files=added_xet,
    )


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


def _contents(bundle: Path) -> tuple[dict[Etag, int], Chunks]:
    """What the owner of a bundle has: what it holds, and what it assumes; whole files, and chunks."""
    try:
        with bundle.open("rb") as file:
            reader = BundleReader(file)
            first = reader.next()
            if first.kind != "manifest":
                raise BadBundle(f"{bundle.name} is no bundle of Moongate")
            manifest = read_manifest_json(reader.json_bytes(first))
    except OSError as error:
        raise BadBundle(f"cannot read {bundle.name}: {error.strerror}") from error
    files = {**manifest.assumed, **manifest.blobs}
    chunks = {xorb: list(ones) for xorb, ones in manifest.assumed_chunks.items()}
    for said in manifest.xet:
        files[said.etag] = said.size_bytes
        for xorb, one in said.chunks:
            chunks.setdefault(xorb, []).append(one)
    return files, {xorb: union(ones) for xorb, ones in chunks.items()}


# Import


def _take_blobs(
    reader: BundleReader,
    manifest: Manifest,
    index: Index,
    blobs: Blobs,
    progress: BundleProgress,
    now: float,
    make_room: Callable[[int], None] | None,
) -> tuple[int, int]:
    """How many were new, and their bytes."""
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
    return count, size_bytes


def _take_xet_files(intake: XetIntake, manifest: Manifest, progress: BundleProgress, before: int) -> int:
    count = 0
    for said in manifest.xet:
        try:
            added = intake.take(said)
        except BadBundle as error:
            raise _after(error, before + count, manifest) from None
        count += added
        progress.finished(said.etag, added)
    waiting = len(intake.waiting)
    intake.prove_waiting(manifest.xet)
    return count + waiting - len(intake.waiting)


def _after(error: BadBundle, count: int, manifest: Manifest) -> BadBundle:
    return BadBundle(
        f"{error.message}: {count} new files of {manifest.files} are verified and stay; "
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
