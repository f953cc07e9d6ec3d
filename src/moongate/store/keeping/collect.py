"""Collection: disk and index are brought together again, and what serves nobody goes.

Files are believed before rows: a sealed file without a row is registered (so a lost index costs tokens and
pins, not bytes), a row without a file is dropped. Chunks mean nothing without a reconstruction: those that no
file needs go after a while, in which upstream may tell again whose they are. Every step may be stopped and
run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moongate.store.bare.sweeping import sweep
from moongate.store.blobs import Blobs
from moongate.store.claims import Claims
from moongate.store.index import Index
from moongate.store.keeping.partials import drop_partial, partial_files, temporary_files
from moongate.store.layout import Layout
from moongate.store.release import free, is_complete, release
from moongate.store.segments import Segments

_PAGE = 500
_BLOCK_BYTES = 512  # st_blocks counts these
_HOUR, _DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Ages:
    """How long what is of no use may stay, in seconds."""

    partial_idle_seconds: float = 7 * _DAY
    temporary_seconds: float = _HOUR
    answer_unread_seconds: float = 30 * _DAY
    access_seconds: float = 7 * _DAY
    quarantine_seconds: float = 30 * _DAY
    unneeded_seconds: float = _DAY
    upload_seconds: float = 2 * _DAY


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did.

    doubted: Xet files that miss chunks, and have to be fetched and proven again. unproven: Xet files that
    nobody continued, forgotten. leftovers: files among the segments that meant nothing.
    released: large files of old revisions that a retention rule had let go before it.
    orphans: contents that were brought here, and that no hosted repository has (any more).
    """

    registered: int = 0
    rows_dropped: int = 0
    partials: int = 0
    temporaries: int = 0
    quarantined: int = 0
    answers: int = 0
    freed_bytes: int = 0
    doubted: int = 0
    unproven: int = 0
    leftovers: int = 0
    orphans: int = 0
    released: int = 0


def collect(
    layout: Layout,
    blobs: Blobs,
    segments: Segments,
    index: Index,
    ages: Ages,
    *,
    clock: Callable[[], float],
    stop: Callable[[], bool] = lambda: False,
) -> Collected:
    """Register, drop and remove, in this order; returns early, with what it did, when told to stop."""
    now = clock()
    rows_dropped = _drop_rows_without_files(blobs, index, stop)
    registered = register_sealed(blobs, index, stop)
    partials, partial_bytes = _drop_idle_partials(layout, blobs, now - ages.partial_idle_seconds, stop)
    temporaries, temporary_bytes = _unlink_temporaries(layout, now - ages.temporary_seconds)
    quarantined, quarantine_bytes = _unlink_quarantined(layout, now - ages.quarantine_seconds)
    orphans, orphan_bytes = _free_orphans(layout, blobs, segments, index, now, stop)
    upload_bytes = _unlink_uploads(layout, index, now - ages.upload_seconds)
    doubted = _doubt_incomplete(segments, index, stop)
    unproven, unproven_bytes = _drop_unproven(segments, index, now - ages.partial_idle_seconds, stop)
    index.prune_xorb_leases(now)
    unneeded_bytes = _free_unneeded(segments, index, now, ages.unneeded_seconds, stop)
    _forget_chunks(segments, index, stop)
    sweep(layout, index)
    leftovers, leftover_bytes = segments.tidy(now - ages.temporary_seconds)
    index.flush_reads(now)
    answers = index.prune_answers(now - ages.answer_unread_seconds)
    index.prune_access(now - ages.access_seconds)
    index.prune_leases(now - _DAY)
    return Collected(
        registered=registered,
        rows_dropped=rows_dropped,
        partials=partials,
        temporaries=temporaries,
        quarantined=quarantined,
        answers=answers,
        freed_bytes=partial_bytes
        + orphan_bytes
        + upload_bytes
        + temporary_bytes
        + quarantine_bytes
        + unproven_bytes
        + unneeded_bytes
        + leftover_bytes,
        doubted=doubted,
        unproven=unproven,
        leftovers=leftovers,
        orphans=orphans,
    )


def register_sealed(blobs: Blobs, index: Index, stop: Callable[[], bool] = lambda: False) -> int:
    """Give every sealed file on disk its row; how many had none, or one with another length."""
    registered = 0
    for etag, size_bytes, changed_at in blobs.iterate():
        if stop():
            break
        row = index.blob(etag)
        if row is None or row.size_bytes != size_bytes:
            index.register_blob(etag, size_bytes, changed_at)
            registered += 1
    return registered


def _drop_rows_without_files(blobs: Blobs, index: Index, stop: Callable[[], bool]) -> int:
    dropped, after = 0, ""
    while not stop() and (page := index.blobs_after(after, _PAGE)):
        for row in page:
            if blobs.size_bytes(row.etag) is None:
                dropped += index.drop_blob(row)
        after = page[-1].etag
    return dropped


def _drop_idle_partials(
    layout: Layout, blobs: Blobs, idle_since: float, stop: Callable[[], bool]
) -> tuple[int, int]:
    """Partials that nobody continued, and remains of those whose file is sealed."""
    count = freed_bytes = 0
    for partial in partial_files(layout):
        if stop():
            break
        if partial.changed_at > idle_since and blobs.size_bytes(partial.etag) is None:
            continue
        freed = drop_partial(layout, partial.etag)
        count += freed is not None
        freed_bytes += freed or 0
    return count, freed_bytes


def _free_orphans(
    layout: Layout, blobs: Blobs, segments: Segments, index: Index, now: float, stop: Callable[[], bool]
) -> tuple[int, int]:
    """What was brought here and has no holder left: no lease, no hosted repository, no listing."""
    index.prune_uploads(now)
    claims = Claims(layout)
    count, freed_bytes, after = 0, 0, ""
    while not stop() and (page := index.orphans_after(after, _PAGE)):
        for etag in page:
            with claims.freeing():
                if index.is_orphan(etag):
                    freed_bytes += blobs.remove(etag, force=True)
                    index.drop_blob(etag)
                    freed_bytes += release(segments, index, index.xet_files_of(etag)).freed_bytes
                    count += 1
                index.drop_orphan(etag)
        after = page[-1]
    return count, freed_bytes


def _unlink_uploads(layout: Layout, index: Index, older_than: float) -> int:
    """Uploads that nobody continued."""
    freed_bytes = 0
    for path in layout.uploads_dir.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:  # it became whole, or was given up
            continue
        if status.st_mtime < older_than:
            path.unlink(missing_ok=True)
            freed_bytes += status.st_blocks * _BLOCK_BYTES
    index.prune_parts(older_than)
    return freed_bytes


def _doubt_incomplete(segments: Segments, index: Index, stop: Callable[[], bool]) -> int:
    """Verified files whose chunks are not all here are not."""
    doubted, after = 0, ""
    while not stop() and (page := index.xet_files_after(after, _PAGE)):
        for row in page:
            if not is_complete(segments, index, row.file_id):
                doubted += index.mark_unverified(row.file_id)
        after = page[-1].file_id
    return doubted


def _drop_unproven(
    segments: Segments, index: Index, idle_since: float, stop: Callable[[], bool]
) -> tuple[int, int]:
    count, freed_bytes, after = 0, 0, ""
    while not stop() and (page := index.unproven_after(after, _PAGE, idle_since)):
        freed_bytes += release(segments, index, page).freed_bytes
        count, after = count + len(page), page[-1].file_id
    return count, freed_bytes


def _free_unneeded(
    segments: Segments, index: Index, now: float, seconds: float, stop: Callable[[], bool]
) -> int:
    """Chunks that no file needs. With a new index, nobody was asked yet: their time begins now."""
    if index.was_created:
        for xorb in index.unreferenced(segments.xorbs()):
            segments.touch(xorb, now)
        return 0
    return free(segments, index, segments.xorbs(), idle_since=now - seconds, stop=stop).freed_bytes


def _forget_chunks(segments: Segments, index: Index, stop: Callable[[], bool]) -> None:
    """Which chunks a xorb has is of no use once nothing of it is here. A lease comes before the bytes."""
    after = b""
    while not stop() and (page := index.xorbs_after(after, _PAGE)):
        for xorb in index.unreferenced(page):
            if not segments.of(xorb):
                index.drop_chunks(xorb)
        after = page[-1]


def _unlink_temporaries(layout: Layout, older_than: float) -> tuple[int, int]:
    count = freed_bytes = 0
    for path, status in temporary_files(layout):
        if status.st_mtime < older_than:
            path.unlink(missing_ok=True)
            count += 1
            freed_bytes += status.st_size
    return count, freed_bytes


def _unlink_quarantined(layout: Layout, older_than: float) -> tuple[int, int]:
    """A quarantined file's age is its note's: the bytes keep the time at which they were written."""
    count = freed_bytes = 0
    for note in layout.quarantine_dir.glob("*.json"):
        if note.stat().st_mtime < older_than:
            data = note.with_suffix("")
            freed_bytes += data.stat().st_size if data.exists() else 0
            data.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
            count += 1
    return count, freed_bytes
