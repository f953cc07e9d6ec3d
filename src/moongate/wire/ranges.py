"""The `Range` header: which bytes a client wants, and the frames of an answer with several parts.

Rules (RFC 9110, section 14): a header that cannot be understood, or that asks for more than 16 ranges, is as
good as none; ranges beyond the end fall away; when all fall away the request cannot be satisfied. Ranges that
overlap or touch are sent as one, so a client never gets a byte twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from moongate.core.digests import Etag
from moongate.core.spans import ByteSpan

MAX_RANGES = 16

_PLAIN = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})")
"""How nearly every client writes one range."""
_UNIT = re.compile(r"[ \t]*bytes[ \t]*=(.*)", re.IGNORECASE | re.DOTALL)
# Longer numbers than this mean nothing, and Python refuses to read the really long ones.
_SPEC = re.compile(r"([0-9]{0,40})-([0-9]{0,40})")
_MAX_HEADER_CHARS = 2048
_REST = re.compile(r"[ \t]*bytes[ \t]*=[ \t,]*0*[1-9][0-9]*-[ \t,]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """No asked-for range lies within the file: HTTP 416."""

    size_bytes: int

    @property
    def content_range(self) -> str:
        """The `Content-Range` that a 416 carries."""
        return f"bytes */{self.size_bytes}"


def parse_range(header: str | None, size_bytes: int) -> list[ByteSpan] | Unsatisfiable | None:
    """The spans a `Range` header asks of a file of that size, in the order asked; None for the whole file.

    A list has at least one span; no span is empty and no two overlap or touch.
    """
    plain = _PLAIN.fullmatch(header) if header else None
    if plain is not None and (first := int(plain[1])) <= (last := int(plain[2])) < size_bytes:
        return [ByteSpan(first, last + 1)]
    found = _UNIT.fullmatch(header) if header and len(header) <= _MAX_HEADER_CHARS else None
    if found is None:
        return None
    specs = [spec.strip(" \t") for spec in found[1].split(",")]
    specs = [spec for spec in specs if spec]
    if not specs or len(specs) > MAX_RANGES:
        return None
    spans: list[ByteSpan] = []
    for spec in specs:
        span = _parse_spec(spec, size_bytes)
        if span is None:
            return None
        if span:
            spans = _joined(spans, span)
    if not spans:
        # The last bytes of an empty file are no range, and no mistake either.
        return None if size_bytes == 0 and _asks_for_a_suffix(specs) else Unsatisfiable(size_bytes)
    return spans


def asks_for_the_rest(header: str) -> bool:
    """Whether a `Range` header is that of a client which has the beginning already: `bytes=N-`."""
    return len(header) <= _MAX_HEADER_CHARS and _REST.fullmatch(header) is not None


def if_range(header: str | None, etag: Etag) -> bool:
    """Whether `Range` counts under this `If-Range`: when the header is absent, or names our etag strongly.

    A date never matches, since we send none.
    """
    if header is None:
        return True
    return header.strip() in (f'"{etag}"', etag)


@dataclass(frozen=True, slots=True)
class MultipartFrame:
    """The framing of a `multipart/byteranges` answer: each head, then its span's bytes; after all, `tail`."""

    spans: tuple[ByteSpan, ...]
    heads: tuple[bytes, ...]
    tail: bytes
    content_type: str

    @property
    def length_bytes(self) -> int:
        """The `Content-Length` of the whole answer."""
        return sum(map(len, self.heads)) + sum(span.length for span in self.spans) + len(self.tail)


def multipart_frame(
    spans: Sequence[ByteSpan], size_bytes: int | None, content_type: str, boundary: str
) -> MultipartFrame:
    """The frame for these spans. `boundary` is the caller's: it must not occur in the content."""
    heads = tuple(
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: {span.content_range(size_bytes)}\r\n\r\n".encode("latin-1")
        for span in spans
    )
    tail = f"\r\n--{boundary}--\r\n".encode("latin-1")
    return MultipartFrame(tuple(spans), heads, tail, f"multipart/byteranges; boundary={boundary}")


def _parse_spec(spec: str, size_bytes: int) -> ByteSpan | None:
    """One range of the list, cut to the file; empty when beyond it; None when it is no range."""
    found = _SPEC.fullmatch(spec)
    if found is None or spec == "-":
        return None
    first, last = found.groups()
    if not first:
        return ByteSpan(size_bytes - min(int(last), size_bytes), size_bytes)
    start = int(first)
    if last and int(last) < start:
        return None
    end = min(int(last) + 1, size_bytes) if last else size_bytes
    return ByteSpan(start, end) if start < end else ByteSpan(0, 0)


def _joined(spans: list[ByteSpan], new: ByteSpan) -> list[ByteSpan]:
    """The spans with the new one; those it overlaps or touches melt into it, at the place of the first."""
    near = [span for span in spans if span.start <= new.end and new.start <= span.end]
    if not near:
        return [*spans, new]
    hull = ByteSpan(min(new.start, *(s.start for s in near)), max(new.end, *(s.end for s in near)))
    return [hull if span is near[0] else span for span in spans if span is near[0] or span not in near]


def _asks_for_a_suffix(specs: list[str]) -> bool:
    return any(spec.startswith("-") and spec.strip("-0") for spec in specs)
