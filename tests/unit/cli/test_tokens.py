from __future__ import annotations

from datetime import UTC, datetime

import pytest

from moongate.cli import exits
from moongate.cli.tokens import parse_expiry

NOW = datetime(2027, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("never", None),
        ("45s", 45.0),
        ("12h", 43_200.0),
        ("30d", 2_592_000.0),
        ("1y", 31_536_000.0),
        ("2027-01-02", 86_400.0),
        ("2027-01-01T01:00:00+00:00", 3_600.0),
    ],
)
def test_when_a_token_ends(text: str | None, seconds: float | None) -> None:
    assert parse_expiry(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0d", "-3d", "12", "2026-12-31", "99999999999d"])
def test_an_end_that_makes_no_sense_is_wrong_usage(text: str) -> None:
    with pytest.raises(exits.CommandFailed) as caught:
        parse_expiry(text, NOW)
    assert caught.value.exit_code == exits.USAGE
