"""Whether more connections are of any use, from what those that are there bring."""

from __future__ import annotations

from moongate.hub.pace import Pace

MB = 1_000_000


def pace_of(*fetched: int, count: int = 1) -> tuple[Pace, float]:
    """A pace that looked every 0.1 s at what had come by then; and the moment after."""
    pace = Pace(0.0)
    for at, sum_bytes in enumerate(fetched):
        pace.look(count, sum_bytes, at / 10)
    return pace, len(fetched) / 10


def test_a_moment_is_given_to_the_first_connection_and_no_more() -> None:
    pace = Pace(10.0)
    assert pace.is_ample(10.01)
    pace.look(1, 0, 10.3)
    assert not pace.is_ample(10.3)


def test_a_connection_as_fast_as_this_machine_is_enough() -> None:
    pace, now = pace_of(MB, 61 * MB, 121 * MB)
    assert pace.is_ample(now)


def test_a_limited_connection_is_not_enough() -> None:
    pace, now = pace_of(MB, 6 * MB, 11 * MB)
    assert not pace.is_ample(now)


def test_what_many_bring_together_says_nothing_of_one() -> None:
    pace, now = pace_of(MB, 61 * MB, 121 * MB, count=8)
    assert not pace.is_ample(now)


def test_a_slow_moment_is_forgiven_and_slow_times_are_not() -> None:
    pace, now = pace_of(MB, 61 * MB, 62 * MB)
    assert pace.is_ample(now)
    for at in range(12):
        pace.look(1, 62 * MB + at, now + at / 10)
    assert not pace.is_ample(now + 1.2)
