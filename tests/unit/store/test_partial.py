"""A partial file: what is here, what may be given out, and what survives a process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import UpstreamBroken
from moongate.store.layout import Layout
from moongate.store.partial import BLOCK_BYTES, Partial, State

SIZE = 3 * BLOCK_BYTES + 100
CONTENT = os.urandom(SIZE)
ETAG = Etag(hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.prepare()
    return layout


@pytest.fixture
def partial(layout: Layout) -> Iterator[Partial]:
    partial = opened(layout)
    yield partial
    partial.close()


def opened(layout: Layout) -> Partial:
    partial = Partial.open(layout, ETAG, SIZE)
    assert partial is not None
    return partial


def write(partial: Partial, start: int, end: int) -> None:
    partial.write(start, memoryview(CONTENT)[start:end])


def test_bytes_become_visible_to_another_opener_as_they_are_written(layout: Layout, partial: Partial) -> None:
    other = opened(layout)
    write(partial, 0, 1000)
    assert other.present_end(0, SIZE) == 1000
    assert other.release(0, SIZE, may_move_hold=False) == 1000
    assert os.pread(other.data_fd, 1000, 0) == CONTENT[:1000]
    other.close()


def test_the_last_block_is_held_until_verified(partial: Partial) -> None:
    write(partial, 0, SIZE)
    assert partial.complete
    assert partial.release(0, SIZE, may_move_hold=False) == 3 * BLOCK_BYTES
    partial.set_state(State.VERIFIED)
    assert partial.release(0, SIZE, may_move_hold=False) == SIZE


def test_a_small_range_of_the_tail_moves_the_hold_to_a_block_that_nobody_has(partial: Partial) -> None:
    write(partial, 0, SIZE)
    tail = 3 * BLOCK_BYTES
    assert partial.release(tail, SIZE, may_move_hold=True) == SIZE
    assert partial.hold == 2
    assert partial.release(0, SIZE, may_move_hold=False) == 2 * BLOCK_BYTES


def test_the_last_block_that_nobody_has_is_never_given_out(partial: Partial) -> None:
    write(partial, 0, SIZE)
    given = []
    for block in (3, 2, 1, 0):
        start = block * BLOCK_BYTES
        end = min(SIZE, start + BLOCK_BYTES)
        if partial.release(start, end, may_move_hold=True) == end:
            given.append(block)
    assert given == [3, 2, 1]
    assert partial.hold == 0


def test_bytes_before_a_gap_are_not_bytes_after_it(partial: Partial) -> None:
    write(partial, 0, 500)
    write(partial, BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert partial.present_end(0, SIZE) == 500
    assert partial.present_end(BLOCK_BYTES, SIZE) == 2 * BLOCK_BYTES
    assert partial.present_bytes() == 500 + BLOCK_BYTES


def test_wanted_blocks_are_found_in_order_until_they_are_here(partial: Partial) -> None:
    partial.want(2 * BLOCK_BYTES + 5, 2 * BLOCK_BYTES + 10)
    assert partial.next_wanted() == 2
    write(partial, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES)
    assert partial.next_wanted() == -1


def test_progress_outlives_the_opener_and_only_one_leads(layout: Layout, partial: Partial) -> None:
    assert partial.try_lead()
    write(partial, 0, 1234)
    other = opened(layout)
    assert not other.try_lead()
    partial.close()
    assert other.try_lead()
    assert other.present_end(0, SIZE) == 1234
    other.close()


def test_seal_moves_the_bytes_and_leaves_nothing_behind(layout: Layout, partial: Partial) -> None:
    assert partial.try_lead()
    write(partial, 0, SIZE)
    partial.set_state(State.VERIFIED)
    partial.seal()
    assert layout.blob(ETAG).read_bytes() == CONTENT
    assert list(layout.partial_dir.iterdir()) == []
    assert Partial.open(layout, ETAG, SIZE) is None
    assert partial.release(0, SIZE, may_move_hold=False) == SIZE


def test_a_leader_that_died_after_the_hash_is_not_believed(layout: Layout, partial: Partial) -> None:
    assert partial.try_lead()
    write(partial, 0, SIZE)
    partial.set_state(State.VERIFIED)
    partial.close()
    other = opened(layout)
    assert other.try_lead()
    assert other.state == State.FILLING
    assert other.release(0, SIZE, may_move_hold=False) == 3 * BLOCK_BYTES
    other.close()


def test_discard_tells_other_openers_and_the_next_one_starts_afresh(layout: Layout, partial: Partial) -> None:
    other = opened(layout)
    assert partial.try_lead()
    write(partial, 0, SIZE)
    partial.report_trouble(6, "not that content")
    partial.discard()
    partial.discard()
    assert other.state == State.DISCARDED
    assert other.trouble.text == "not that content"
    fresh = opened(layout)
    assert fresh.present_bytes() == 0
    fresh.close()
    other.close()


def test_a_map_of_another_size_is_thrown_away(layout: Layout, partial: Partial) -> None:
    write(partial, 0, 10)
    other = Partial.open(layout, ETAG, SIZE + 1)
    assert other is not None
    assert other.present_bytes() == 0
    other.close()


def test_a_liar_about_the_length_cannot_disturb_a_running_fill(layout: Layout, partial: Partial) -> None:
    assert partial.try_lead()
    write(partial, 0, 10)
    with pytest.raises(UpstreamBroken):
        Partial.open(layout, ETAG, SIZE + 1)
    assert opened(layout).present_bytes() == 10


def test_damaged_maps_are_thrown_away(layout: Layout, partial: Partial) -> None:
    write(partial, 0, 10)
    layout.partial_map(ETAG).write_bytes(b"nonsense")
    other = opened(layout)
    assert other.present_bytes() == 0
    other.close()
