from __future__ import annotations

import pytest

from moongate.core.digests import Etag
from moongate.core.spans import ByteSpan
from moongate.wire.ranges import (
    Unsatisfiable,
    asks_for_the_rest,
    if_range,
    multipart_frame,
    parse_range,
)

ETAG = Etag("a" * 64)


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=5-", [(5, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-99", [(0, 10)]),
        ("bytes=8-99999999999999999999999999", [(8, 10)]),
        ("Bytes = 1-2 ,, 5-6", [(1, 3), (5, 7)]),
        ("bytes=5-6,1-2", [(5, 7), (1, 3)]),
        ("bytes=0-4,2-6", [(0, 7)]),
        ("bytes=8-9,0-1,2-7", [(0, 10)]),
        ("bytes=0-1,50-60", [(0, 2)]),
    ],
)
def test_a_range_that_can_be_served(header: str, spans: list[tuple[int, int]]) -> None:
    assert parse_range(header, 10) == [ByteSpan(*span) for span in spans]


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,-0"])
def test_a_range_beyond_the_end(header: str) -> None:
    found = parse_range(header, 10)
    assert found == Unsatisfiable(10)
    assert isinstance(found, Unsatisfiable)
    assert found.content_range == "bytes */10"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5-4",
        "bytes=1-2,5-4",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=٣-٤",
        "lines=0-1",
        "bytes=" + "9" * 5000 + "-",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2)),
    ],
)
def test_what_is_no_range_means_the_whole_file(header: str | None) -> None:
    assert parse_range(header, 100) is None


def test_ranges_of_an_empty_file() -> None:
    assert parse_range("bytes=0-0", 0) == Unsatisfiable(0)
    assert parse_range("bytes=-5", 0) is None


@pytest.mark.parametrize(
    ("header", "counts"),
    [
        (None, True),
        (f'"{ETAG}"', True),
        (ETAG, True),
        (f'W/"{ETAG}"', False),
        ('"other"', False),
        ("Wed, 21 Oct 2026 07:28:00 GMT", False),
    ],
)
def test_if_range(header: str | None, counts: bool) -> None:
    assert if_range(header, ETAG) is counts


def test_a_multipart_frame_says_how_long_it_is() -> None:
    content = bytes(range(100))
    spans = [ByteSpan(0, 2), ByteSpan(90, 100)]
    frame = multipart_frame(spans, len(content), "application/octet-stream", "edge")
    body = b"".join(
        head + content[span.start : span.end] for head, span in zip(frame.heads, frame.spans, strict=True)
    )
    body += frame.tail
    assert len(body) == frame.length_bytes
    assert frame.content_type == "multipart/byteranges; boundary=edge"
    assert body == (
        b"\r\n--edge\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/100\r\n\r\n"
        + content[:2]
        + b"\r\n--edge\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 90-99/100\r\n\r\n"
        + content[90:]
        + b"\r\n--edge--\r\n"
    )


@pytest.mark.parametrize(
    ("header", "is_so"),
    [
        ("bytes=1-", True),
        ("bytes=007-", True),
        (" BYTES = , 5- ,", True),
        ("bytes=0-", False),
        ("bytes=000-", False),
        ("bytes=-5", False),
        ("bytes=5-6", False),
        ("bytes=5-,7-", False),
        ("lines=5-", False),
        ("bytes=5-" + "," * 3000, False),
    ],
)
def test_the_rest_of_a_file(header: str, is_so: bool) -> None:
    assert asks_for_the_rest(header) is is_so
