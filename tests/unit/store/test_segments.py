"""Segments grow, never overlap, are fetched once, and survive the death of whoever fetches."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from moongate.core.errors import StoreFull, UpstreamBroken
from moongate.core.spans import ByteSpan
from moongate.store.layout import Layout
from moongate.store.segments import ChunkRange, Segment, Segments
from support.xorbs import Xorb, make_xorb

XORB = make_xorb(1, chunks=20)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.prepare()
    return layout


@pytest.fixture
def segments(layout: Layout) -> Segments:
    return Segments(layout)


def missing(segments: Segments, first: int, end: int, xorb: Xorb = XORB) -> list[Segment]:
    return segments.missing(xorb.hash, first, end, xorb.span(first, end))


def fetch(segments: Segments, first: int, end: int, xorb: Xorb = XORB) -> None:
    for segment in missing(segments, first, end, xorb):
        lead = segments.try_lead(segment)
        assert lead is not None
        lead.append(xorb.data[segment.span.start + lead.position : segment.span.end])
        lead.close()


def runs(found: Iterator[Segment] | list[Segment] | tuple[Segment, ...]) -> list[tuple[int, int]]:
    return [(segment.first, segment.end) for segment in found]


def needs(*ranges: tuple[int, int]) -> list[ChunkRange]:
    return [ChunkRange(first, end, XORB.span(first, end)) for first, end in ranges]


def files(layout: Layout) -> list[Path]:
    return sorted(path for path in layout.xorbs_dir.rglob("*") if path.is_file())


class TestFetching:
    def test_a_segment_is_that_span_of_the_xorb_under_a_name_that_says_so(
        self, layout: Layout, segments: Segments
    ) -> None:
        fetch(segments, 3, 9)
        span = XORB.span(3, 9)
        (path,) = files(layout)
        assert path.name == f"3-9_{span.start}-{span.end}"
        assert path.read_bytes() == XORB.bytes_of(3, 9)
        assert segments.has(XORB.hash, 3, 9)
        assert segments.has(XORB.hash, 4, 5)
        assert not segments.has(XORB.hash, 2, 9)
        assert not segments.has(XORB.hash, 3, 10)
        assert segments.stored_bytes() == span.length

    def test_only_what_is_not_there_is_missing_and_neighbours_tell_the_bytes(
        self, segments: Segments
    ) -> None:
        fetch(segments, 3, 6)
        fetch(segments, 10, 12)
        gaps = missing(segments, 0, 20)
        assert runs(gaps) == [(0, 3), (6, 10), (12, 20)]
        assert [gap.span for gap in gaps] == [XORB.span(0, 3), XORB.span(6, 10), XORB.span(12, 20)]
        assert runs(missing(segments, 4, 11)) == [(6, 10)]
        assert missing(segments, 4, 6) == []
        fetch(segments, 0, 20)
        assert runs(segments.of(XORB.hash)) == [(0, 3), (3, 6), (6, 10), (10, 12), (12, 20)]
        assert segments.has(XORB.hash, 0, 20)
        assert runs(segments.cover(XORB.hash, 5, 11)) == [(3, 6), (6, 10), (10, 12)]

    def test_one_leads_and_what_is_being_fetched_is_not_missing(self, segments: Segments) -> None:
        (segment,) = missing(segments, 0, 10)
        lead = segments.try_lead(segment)
        assert lead is not None
        assert segments.try_lead(segment) is None
        assert runs(missing(segments, 5, 15)) == [(10, 15)]
        assert missing(segments, 0, 10) == []
        lead.append(XORB.data[:100])
        assert (segments.progress(segment), lead.remaining) == (100, segment.length - 100)
        assert not segments.is_complete(segment)
        lead.append(XORB.data[100 : segment.span.end])
        lead.close()
        lead.close()
        assert segments.is_complete(segment)
        assert segments.try_lead(segment) is None

    def test_of_many_threads_one_leads(self, segments: Segments) -> None:
        (segment,) = missing(segments, 0, 10)
        with ThreadPoolExecutor(8) as pool:
            leads = [lead for lead in pool.map(segments.try_lead, [segment] * 8) if lead is not None]
        assert len(leads) == 1
        leads[0].close()

    def test_a_plan_that_would_overlap_by_now_cannot_be_led(self, segments: Segments) -> None:
        (mine,) = missing(segments, 0, 10)
        (other,) = missing(segments, 5, 15)
        lead = segments.try_lead(other)
        assert lead is not None
        assert segments.try_lead(mine) is None
        assert runs(missing(segments, 0, 10)) == [(0, 5)]
        lead.close()

    def test_a_lead_without_bytes_leaves_nothing(self, layout: Layout, segments: Segments) -> None:
        (segment,) = missing(segments, 0, 10)
        lead = segments.try_lead(segment)
        assert lead is not None
        lead.close()
        assert files(layout) == []
        assert list(segments.xorbs()) == []
        assert segments.of(XORB.hash) == ()

    def test_discarded_bytes_are_gone_at_once(self, layout: Layout, segments: Segments) -> None:
        (segment,) = missing(segments, 0, 10)
        lead = segments.try_lead(segment)
        assert lead is not None
        lead.append(b"wrong")
        lead.discard()
        lead.close()
        assert files(layout) == []
        assert missing(segments, 0, 10) == [segment]

    def test_more_bytes_than_the_segment_has_are_refused(self, segments: Segments) -> None:
        (segment,) = missing(segments, 0, 1)
        lead = segments.try_lead(segment)
        assert lead is not None
        with pytest.raises(ValueError, match="of a segment"):
            lead.append(bytes(segment.length + 1))
        assert lead.position == 0
        lead.close()

    def test_a_full_disk_loses_nothing_that_was_kept(
        self, segments: Segments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (segment,) = missing(segments, 0, 10)
        lead = segments.try_lead(segment)
        assert lead is not None
        lead.append(XORB.data[:100])

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(StoreFull, match="No space left"):
                lead.append(XORB.data[100:200])
        lead.close()
        assert segments.progress(segment) == 100
        fetch(segments, 0, 10)
        assert segments.has(XORB.hash, 0, 10)

    @pytest.mark.parametrize(
        ("first", "end", "span"),
        [
            (5, 5, ByteSpan(0, 10)),
            (6, 5, ByteSpan(0, 10)),
            (-1, 5, ByteSpan(0, 10)),
            (0, 5, ByteSpan(10, 10)),
            (0, 5, ByteSpan(0, 1 << 33)),
        ],
    )
    def test_impossible_ranges_are_refused(
        self, segments: Segments, first: int, end: int, span: ByteSpan
    ) -> None:
        with pytest.raises(UpstreamBroken):
            segments.missing(XORB.hash, first, end, span)

    @pytest.mark.parametrize(("first", "end", "start", "stop"), [(3, 8, 1, 0), (0, 6, 0, 1), (0, 8, 0, -600)])
    def test_two_stories_about_one_xorb_are_refused(
        self, segments: Segments, first: int, end: int, start: int, stop: int
    ) -> None:
        fetch(segments, 3, 6)
        span = XORB.span(first, end)
        with pytest.raises(UpstreamBroken, match="in two ways"):
            segments.missing(XORB.hash, first, end, ByteSpan(span.start + start, span.end + stop))


class TestAbandoned:
    def begin(self, segments: Segments, first: int, end: int, length: int) -> Segment:
        (segment,) = missing(segments, first, end)
        lead = segments.try_lead(segment)
        assert lead is not None
        start = segment.span.start
        lead.append(XORB.data[start : start + length])
        lead.close()
        return segment

    def test_it_is_gone_on_with_behind_what_came(self, segments: Segments) -> None:
        segment = self.begin(segments, 2, 10, 333)
        assert missing(segments, 0, 12)[1] == segment
        lead = segments.try_lead(segment)
        assert lead is not None
        assert lead.position == 333
        lead.close()
        fetch(segments, 0, 12)
        assert runs(segments.of(XORB.hash)) == [(0, 2), (2, 10), (10, 12)]
        assert segments.has(XORB.hash, 0, 12)

    @pytest.mark.parametrize("beyond", [0, 1, 7, 8, 9])
    def test_whoever_needs_less_keeps_its_whole_chunks(self, segments: Segments, beyond: int) -> None:
        self.begin(segments, 2, 20, XORB.span(2, 7).length + beyond)
        gaps = missing(segments, 5, 12)
        assert runs(gaps) == [(7, 12)]
        assert gaps[0].span == XORB.span(7, 12)
        assert runs(segments.of(XORB.hash)) == [(2, 7)]
        assert segments.has(XORB.hash, 2, 7)

    def test_what_has_no_whole_chunk_is_dropped(self, layout: Layout, segments: Segments) -> None:
        self.begin(segments, 2, 20, 5)
        assert runs(missing(segments, 5, 12)) == [(5, 12)]
        assert files(layout) == []

    def test_bytes_that_are_no_chunks_are_not_kept(self, layout: Layout, segments: Segments) -> None:
        segment = self.begin(segments, 2, 20, 400)
        Path(segment.path).write_bytes(b"\xff" * 400)
        assert runs(missing(segments, 5, 12)) == [(5, 12)]
        assert files(layout) == []

    def test_a_process_that_is_killed_leaves_what_it_wrote_and_no_lead(
        self, layout: Layout, segments: Segments
    ) -> None:
        program = (
            "import sys; from pathlib import Path; from moongate.core.spans import ByteSpan\n"
            "from moongate.store.layout import Layout; from moongate.store.segments import Segments\n"
            "segments = Segments(Layout(Path(sys.argv[1])))\n"
            "xorb, end, length = bytes.fromhex(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])\n"
            "lead = segments.try_lead(segments.missing(xorb, 0, end, ByteSpan(0, length))[0])\n"
            "while data := sys.stdin.buffer.read(50): lead.append(data); print(lead.position, flush=True)\n"
        )
        length = len(XORB.data)
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(layout.home), XORB.hash.hex(), "20", str(length)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(XORB.data[:500])
        process.stdin.flush()
        for _ in range(10):
            process.stdout.readline()
        assert missing(segments, 0, 20) == []
        (segment,) = segments.of(XORB.hash)
        assert segments.try_lead(segment) is None
        process.kill()
        process.communicate()
        assert segments.progress(segment) == 500
        assert missing(segments, 0, 20) == [segment]
        fetch(segments, 0, 20)
        assert Path(segment.path).read_bytes() == XORB.data


class TestLooking:
    def test_changes_of_others_are_seen_at_once(self, layout: Layout, segments: Segments) -> None:
        other = Segments(layout)
        for first in range(10):
            assert runs(segments.of(XORB.hash)) == [(chunk, chunk + 1) for chunk in range(first)]
            fetch(other, first, first + 1)
        for segment in other.of(XORB.hash):
            assert other.remove(segment) == segment.length
            assert segment not in segments.of(XORB.hash)
        assert segments.of(XORB.hash) == ()

    def test_a_folder_that_did_not_change_is_not_read_again(
        self, layout: Layout, segments: Segments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch(segments, 0, 5)
        folder = files(layout)[0].parent
        os.utime(folder, (1.0, 1.0))  # long ago, so that no change can hide in one tick of the clock
        before = segments.of(XORB.hash)
        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", None)
            assert segments.of(XORB.hash) is before
        fetch(segments, 5, 6)
        assert runs(segments.of(XORB.hash)) == [(0, 5), (5, 6)]

    def test_strangers_are_no_segments_and_are_tidied_away(self, layout: Layout, segments: Segments) -> None:
        fetch(segments, 0, 5)
        folder = files(layout)[0].parent
        length = XORB.span(0, 5).length
        for name in ("README", "5-3_0-10", "07-9_0-10", "7-9_0-10.cut", f"0-5_0-{length}.lead", "9-10_5-5"):
            (folder / name).write_bytes(b"12345")
        (folder / f"12-14_{length}-{length + 3}").write_bytes(b"12345")
        (layout.xorbs_dir / "zz").mkdir()
        (layout.xorbs_dir / "zz" / "nonsense").mkdir()
        assert runs(segments.of(XORB.hash)) == [(0, 5), (12, 14)]
        assert list(segments.xorbs()) == [XORB.hash]
        assert segments.tidy(older_than=0.0) == (3, 15)  # what a crash explains, and the one that is too long
        assert segments.tidy(older_than=float("inf")) == (4, 20)
        assert files(layout) == [folder / f"0-5_0-{length}"]

    def test_a_segment_longer_than_its_span_is_begun_anew(self, segments: Segments) -> None:
        (segment,) = missing(segments, 0, 5)
        fetch(segments, 0, 5)
        with Path(segment.path).open("ab") as file:
            file.write(b"more")
        assert not segments.has(XORB.hash, 0, 5)
        fetch(segments, 0, 5)
        assert Path(segment.path).read_bytes() == XORB.bytes_of(0, 5)


class TestFreeing:
    def test_readers_and_leaders_are_passed_over(self, segments: Segments) -> None:
        fetch(segments, 0, 5)
        (segment,) = segments.of(XORB.hash)
        fd = segments.open(segment)
        assert fd is not None
        assert segments.is_busy(segment)
        assert segments.remove(segment) == 0
        kept = segments.keep_only(XORB.hash, list)
        assert (kept.freed_bytes, kept.busy) == (0, 1)
        assert segments.remove(segment, force=True) == segment.length
        assert os.pread(fd, 1 << 20, 0) == XORB.bytes_of(0, 5)
        os.close(fd)
        assert segments.open(segment) is None
        (growing,) = missing(segments, 0, 9)
        lead = segments.try_lead(growing)
        assert lead is not None
        lead.append(b"x")
        assert segments.is_busy(growing)
        assert segments.remove(growing, force=True) == 0
        assert segments.keep_only(XORB.hash, list, force=True).busy == 1
        lead.close()
        assert not segments.is_busy(growing)
        assert segments.remove(growing) == 1

    def test_exactly_the_needed_chunks_stay(self, layout: Layout, segments: Segments) -> None:
        fetch(segments, 0, 12)
        fetch(segments, 12, 20)
        ranges = needs((1, 3), (5, 6), (11, 14))
        freed = segments.keep_only(XORB.hash, lambda: ranges).freed_bytes
        assert runs(segments.of(XORB.hash)) == [(1, 3), (5, 6), (11, 12), (12, 14)]
        for segment in segments.of(XORB.hash):
            assert Path(segment.path).read_bytes() == XORB.bytes_of(segment.first, segment.end)
        assert freed == len(XORB.data) - segments.stored_bytes()
        assert segments.keep_only(XORB.hash, lambda: ranges).freed_bytes == 0
        assert segments.keep_only(XORB.hash, list).freed_bytes == len(XORB.data) - freed
        assert files(layout) == []
        assert list(segments.xorbs()) == []

    def test_of_an_abandoned_segment_the_needed_whole_chunks_stay(self, segments: Segments) -> None:
        (segment,) = missing(segments, 0, 20)
        lead = segments.try_lead(segment)
        assert lead is not None
        length = XORB.span(0, 8).length + 3
        lead.append(XORB.data[:length])
        lead.close()
        freed = segments.keep_only(XORB.hash, lambda: needs((2, 4), (7, 12))).freed_bytes
        assert runs(segments.of(XORB.hash)) == [(2, 4), (7, 8)]
        assert freed == length - segments.stored_bytes()

    def test_what_changed_lately_stays(self, segments: Segments) -> None:
        fetch(segments, 0, 5)
        (segment,) = segments.of(XORB.hash)
        os.utime(segment.path, (100.0, 100.0))
        assert segments.keep_only(XORB.hash, list, idle_since=100.0).freed_bytes == 0
        assert segments.keep_only(XORB.hash, list, idle_since=101.0).freed_bytes == segment.length

    def test_without_room_for_the_copy_it_stays_whole(
        self, layout: Layout, segments: Segments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch(segments, 0, 20)

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "sendfile", full)
            kept = segments.keep_only(XORB.hash, lambda: needs((1, 3)))
        assert (kept.freed_bytes, kept.busy) == (0, 1)
        assert [path.name for path in files(layout)] == [f"0-20_0-{len(XORB.data)}"]

    @pytest.mark.parametrize("crash_at", range(12))
    def test_a_crash_while_cutting_loses_no_needed_chunk(
        self, layout: Layout, segments: Segments, monkeypatch: pytest.MonkeyPatch, crash_at: int
    ) -> None:
        """Dies at each call that changes the folder in turn; the next one finishes."""

        class Killed(BaseException):
            pass

        steps = iter(range(100))

        def mortal(name: str) -> None:
            real = getattr(os, name)

            def call(*args: object, **named: object) -> object:
                if next(steps) == crash_at:
                    raise Killed
                return real(*args, **named)

            monkeypatch.setattr(os, name, call)

        fetch(segments, 0, 20)
        ranges = needs((1, 3), (5, 6), (11, 14))
        for name in ("sendfile", "rename", "unlink", "fsync"):
            mortal(name)
        try:
            segments.keep_only(XORB.hash, lambda: ranges)
            died = False
        except Killed:
            died = True
        monkeypatch.undo()
        assert died == (crash_at < 10)  # three pieces copied, synced and renamed, and the old one unlinked
        after = Segments(layout)
        found = after.of(XORB.hash)
        assert all(one.end <= other.first for one, other in pairwise(found))
        for one in ranges:
            assert after.has(XORB.hash, one.first, one.end)
            assert missing(after, one.first, one.end) == []
        after.keep_only(XORB.hash, lambda: ranges)
        after.tidy(older_than=float("inf"))
        assert runs(after.of(XORB.hash)) == [(1, 3), (5, 6), (11, 14)]
        assert len(files(layout)) == 3

    def test_quarantine_keeps_a_note_and_the_chunks_that_are_right(
        self, layout: Layout, segments: Segments
    ) -> None:
        fetch(segments, 0, 20)
        (segment,) = segments.of(XORB.hash)
        moved = segments.quarantine(segment, needs((4, 6)), "why not")
        assert moved is not None
        assert moved.read_bytes() == XORB.data
        assert "why not" in Path(f"{moved}.json").read_text()
        assert runs(segments.of(XORB.hash)) == [(4, 6)]
        assert segments.quarantine(segment, [], "again") is None


class TestAdopting:
    @staticmethod
    def sent(layout: Layout) -> str:
        path = layout.temporary("sent")
        path.write_bytes(XORB.data)
        return str(path)

    def test_a_file_is_moved_in(self, layout: Layout, segments: Segments) -> None:
        assert segments.adopt(XORB.hash, needs((0, 20))[0], self.sent(layout))
        (path,) = files(layout)
        assert path.read_bytes() == XORB.data
        assert segments.has(XORB.hash, 0, 20)
        assert not layout.temporary("sent").exists()

    def test_what_is_here_stays(self, layout: Layout, segments: Segments) -> None:
        fetch(segments, 0, 11)
        fetch(segments, 11, 20)
        assert not segments.adopt(XORB.hash, needs((0, 20))[0], self.sent(layout))
        assert runs(segments.of(XORB.hash)) == [(0, 11), (11, 20)]
        assert layout.temporary("sent").exists()

    def test_pieces_give_way_and_their_readers_read_on(self, layout: Layout, segments: Segments) -> None:
        fetch(segments, 3, 9)
        fetch(segments, 12, 14)
        (first, _) = segments.of(XORB.hash)
        fd = segments.open(first)
        assert fd is not None
        assert segments.adopt(XORB.hash, needs((0, 20))[0], self.sent(layout))
        assert runs(segments.of(XORB.hash)) == [(0, 20)]
        assert len(files(layout)) == 1
        assert os.read(fd, first.length) == XORB.bytes_of(3, 9)
        os.close(fd)

    def test_a_full_disk_leaves_it_where_it_is(self, layout: Layout, segments: Segments) -> None:
        path = self.sent(layout)
        layout.xorbs_dir.rmdir()
        layout.xorbs_dir.write_text("in the way")
        with pytest.raises(StoreFull):
            segments.adopt(XORB.hash, needs((0, 20))[0], path)
        assert Path(path).exists()
