from __future__ import annotations

import pytest

from moongate.cli import exits, times


def test_moments_are_utc_and_absent_ones_stay_absent() -> None:
    assert times.moment(0) == "1970-01-01T00:00:00Z"
    assert times.moment(None) is None


def test_ago_is_one_rough_word() -> None:
    assert times.ago(None) == "never"
    assert times.ago(100.0, now=100.0 + 7200) == "2 h ago"
    assert times.ago(200.0, now=100.0) == "0.0 s ago"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (59, "59 s"), (119, "119 s"), (180, "3 min"), (7200, "2 h"), (9 * 86400, "9 d")],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert times.duration(seconds) == words


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("2m", 120), ("12h", 43200), ("1w", 604800)])
def test_durations_are_read_as_typed(text: str, seconds: float) -> None:
    assert times.parse_duration(text, "--idle") == seconds


@pytest.mark.parametrize("text", ["", "12", "h", "1.5h", "-1d", "1 d"])
def test_what_is_no_duration_names_its_option(text: str) -> None:
    with pytest.raises(exits.CommandFailed, match="--idle") as caught:
        times.parse_duration(text, "--idle")
    assert caught.value.exit_code == exits.USAGE


def test_what_is_no_moment_is_told_every_way_to_write_one() -> None:
    with pytest.raises(exits.CommandFailed, match=r"2h or 30d.*2026-11-28T14:00") as caught:
        times.parse_moment("yesterday", "--since", 100.0)
    assert caught.value.exit_code == exits.USAGE
