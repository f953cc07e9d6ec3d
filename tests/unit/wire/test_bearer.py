from __future__ import annotations

import base64

import pytest

from moongate.core.callers import Secret
from moongate.wire.bearer import basic, bearer, looks_like_ours, token_of

TOKEN = "hf_" + "aB3" * 16


def pair(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"Bearer {TOKEN}", TOKEN),
        (f"bearer  {TOKEN} ", TOKEN),
        (pair(f"user:{TOKEN}"), TOKEN),
        (pair(f"{TOKEN}:"), TOKEN),
        (pair(TOKEN), TOKEN),
        (pair("user:with:colon"), "with:colon"),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer a b", None),
        ("Bearer a\tb", None),
        ("Bearer \xa0a", None),
        ("Bearer " + "x" * 5000, None),
        ("Digest x", None),
        ("Basic !!!", None),
        ("Basic /w==", None),
        (pair(":"), None),
        ("Basic " + "A" * 20_000, None),
    ],
)
def test_the_token_in_a_header(header: str | None, token: str | None) -> None:
    assert token_of(header) == token


def test_what_we_send_reads_back() -> None:
    assert token_of(bearer(Secret(TOKEN))) == TOKEN
    assert token_of(basic(Secret(TOKEN))) == TOKEN


@pytest.mark.parametrize(
    ("token", "ours"),
    [
        (TOKEN, True),
        (TOKEN[:-1], False),
        (TOKEN + "x", False),
        ("hf_" + "a-" * 24, False),
        (TOKEN + "\n", False),
    ],
)
def test_the_shape_of_our_tokens(token: str, ours: bool) -> None:
    assert looks_like_ours(token) is ours
