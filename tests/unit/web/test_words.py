"""How sizes, times, counts and moments are written."""

from __future__ import annotations

import time

from moongate.web.words import (
    ago_words,
    count_words,
    exact_words,
    iso_words,
    moment_words,
    seconds_of,
    since_words,
    size_words,
)


def test_words_for_sizes_and_times() -> None:
    assert [size_words(n) for n in (0, 999, 1500, 123_456_789, 5e15)] == [
        "0 B", "999 B", "1.5 kB", "123 MB", "5000 TB",
    ]  # fmt: skip
    assert [ago_words(n) for n in (None, 5, 600, 7200, 864_000, 9e6)] == [
        "never", "5 s ago", "10 min ago", "2 h ago", "10 days ago", "3 months ago",
    ]  # fmt: skip


def test_words_for_counts() -> None:
    assert [count_words(n) for n in (7, 1234, 22_700_000, 7.6e9, 1.2e12)] == [
        "7", "1.2 k", "22.7 M", "7.6 B", "1.2 T",
    ]  # fmt: skip


def test_moments_by_number_and_by_name() -> None:
    assert seconds_of("1970-01-01T00:01:00.000Z") == 60
    assert seconds_of("yesterday") is None
    assert moment_words("2026-01-02T03:04:05.000Z") == "2026-01-02 03:04 UTC"
    assert exact_words("2026-01-02T03:04:05.000Z") == "2026-01-02 03:04:05 UTC"
    assert iso_words(1767323045.9) == "2026-01-02T03:04:05Z"
    assert since_words(None) == "never"
    assert since_words(time.time() + 10 * 86400 + 60) == "in 10 days"
