from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moongate.core.errors import NotAllowed
from moongate.core.spans import ByteSpan
from moongate.wire.data_urls import SignedData, asked_spans, read_data_url, write_data_url

XORB, FILE = "a" * 64, "b" * 64
KEY = b"k" * 32
NOW = 1_800_000_000.0
DATA = SignedData(XORB, FILE, (ByteSpan(0, 701_639), ByteSpan(900_000, 950_001)), int(NOW) + 60)
spans = st.builds(
    lambda start, size: ByteSpan(start, start + size), st.integers(0, 1 << 30), st.integers(1, 1 << 27)
)


def query_of(data: SignedData, key: bytes = KEY) -> str:
    return urlsplit(write_data_url("http://h:8080/prefix", key, data)).query


def test_an_address_is_ours_and_absolute() -> None:
    url = urlsplit(write_data_url("https://hub.example/prefix", KEY, DATA))
    assert (url.scheme, url.netloc, url.path) == ("https", "hub.example", f"/prefix/cas/data/{XORB}/{FILE}")
    assert url.query.startswith("r=0-701638.900000-950000&x=1800000060&s=")


@given(st.lists(spans, min_size=1, max_size=16), st.integers(int(NOW) + 1, int(NOW) + 10**6))
def test_what_is_written_reads_back(ranges: list[ByteSpan], expires_seconds: int) -> None:
    data = SignedData(XORB, FILE, tuple(ranges), expires_seconds)
    assert read_data_url(KEY, XORB, FILE, query_of(data), NOW) == data


@given(st.integers(0, 200), st.characters(min_codepoint=33, max_codepoint=126))
def test_no_character_can_be_changed(at: int, other: str) -> None:
    query = query_of(DATA)
    changed = query[: at % len(query)] + other + query[at % len(query) + 1 :]
    if changed != query:
        with pytest.raises(NotAllowed):
            read_data_url(KEY, XORB, FILE, changed, NOW)


def test_it_is_for_one_xorb_one_file_one_key_and_a_while() -> None:
    query = query_of(DATA)
    for key, xorb, file_id, now in (
        (b"x" * 32, XORB, FILE, NOW),
        (KEY, FILE, FILE, NOW),
        (KEY, XORB, XORB, NOW),
        (KEY, XORB, FILE, NOW + 60),
    ):
        with pytest.raises(NotAllowed):
            read_data_url(key, xorb, file_id, query, now)
    assert read_data_url(KEY, XORB, FILE, query, NOW + 59).spans == DATA.spans


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("bytes=0-701638", [ByteSpan(0, 701_639)]),
        ("bytes=5-9", [ByteSpan(5, 10)]),
        ("bytes=0-9,10-19", [ByteSpan(0, 10), ByteSpan(10, 20)]),
        ("bytes=900000-950000, 0-0", [ByteSpan(900_000, 950_001), ByteSpan(0, 1)]),
    ],
)
def test_ranges_are_answered_one_by_one(header: str, asked: list[ByteSpan]) -> None:
    """Even where they touch: clients count the parts."""
    assert asked_spans(header, DATA.spans) == asked


@pytest.mark.parametrize(
    "header",
    [
        None, "", "bytes=", "bytes=0-", "bytes=-1", "bytes=9-5", "bytes=0-701639", "bytes=800000-800001",
        "bytes=0-9, 950000-950001", "chunks=0-9", "bytes=" + ",".join(["0-1"] * 17), "bytes=0-9;1-2",
    ],
)  # fmt: skip
def test_nothing_else_is_given(header: str | None) -> None:
    with pytest.raises(NotAllowed):
        asked_spans(header, DATA.spans)
