"""Addresses of xorb data that carry their own permission: which file's ranges of which xorb, until when.

    /cas/data/{xorb}/{file}?r=0-701638.900000-950000&x=1848535668&s=<signature>

Whoever holds one may read these bytes (ends inclusive, as in a `Range` header) until it expires, and needs
no token. The signature covers all that stands before it, from the xorb on, so a prefix that something in
front of us adds or takes away does no harm.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from moongate.core.errors import NotAllowed
from moongate.core.spans import ByteSpan
from moongate.wire.xet_words import cas_url

MAX_SIGNED_RANGES = 16
"""More ranges of one xorb take several addresses: a client sends all of one in a single header."""

_SIGNATURE_BYTES = 18
_QUERY = re.compile(r"r=([0-9][0-9.-]{2,600})&x=([0-9]{1,12})(?:&v=([a-z]{1,12}))?&s=([A-Za-z0-9_-]{24})")
_SPAN = re.compile(r"([0-9]{1,12})-([0-9]{1,12})")
_RANGES = re.compile(
    r"\s*bytes\s*=\s*([0-9]{1,12}-[0-9]{1,12}(?:\s*,\s*[0-9]{1,12}-[0-9]{1,12})*)\s*", re.IGNORECASE
)
_REFUSED = "This address is not signed by us for this, or has expired; ask the reconstruction again."


@dataclass(frozen=True, slots=True)
class SignedData:
    """What an address permits: these spans of a xorb, for one file, until `expires_seconds`."""

    xorb: str
    file_id: str
    spans: tuple[ByteSpan, ...]
    expires_seconds: int
    verdict: str = ""
    """What was said of the file when its reader was let pass; empty: nothing yet."""


def write_data_url(base_url: str, key: bytes, data: SignedData) -> str:
    """The absolute address of signed data on our own base."""
    ranges = ".".join(f"{span.start}-{span.end - 1}" for span in data.spans)
    query = f"r={ranges}&x={data.expires_seconds}" + (f"&v={data.verdict}" if data.verdict else "")
    return f"{cas_url(base_url)}/data/{data.xorb}/{data.file_id}?{query}&s={_sign(key, data, query)}"


def read_data_url(key: bytes, xorb: str, file_id: str, query: str, now: float) -> SignedData:
    """What the address permits.

    Raises:
        NotAllowed: it is not ours, was changed, or has expired.
    """
    found = _QUERY.fullmatch(query)
    if found is None:
        raise NotAllowed(_REFUSED)
    data = SignedData(xorb, file_id, (), int(found[2]))
    right = hmac.compare_digest(_sign(key, data, query.rpartition("&")[0]), found[4])
    if not right or data.expires_seconds <= now:
        raise NotAllowed(_REFUSED)
    spans = tuple(_spans(found[1].split(".")))
    return SignedData(xorb, file_id, spans, data.expires_seconds, found[3] or "")


def asked_spans(header: str | None, signed: Sequence[ByteSpan]) -> list[ByteSpan]:
    """The spans that a `Range` header asks of signed ones, one by one in its order, none joined.

    Raises:
        NotAllowed: there is no such header, it is not understood, or asks for more than was signed.
    """
    found = _RANGES.fullmatch(header) if header is not None and len(header) < 1024 else None
    spans = list(_spans(found[1].split(","))) if found is not None else []
    if not spans or len(spans) > MAX_SIGNED_RANGES:
        raise NotAllowed("Data is read by ranges, at most as many as its address was signed for.")
    for span in spans:
        if not any(one.start <= span.start and span.end <= one.end for one in signed):
            raise NotAllowed("This address is not signed for that range.")
    return spans


def _sign(key: bytes, data: SignedData, query: str) -> str:
    text = f"{data.xorb}/{data.file_id}?{query}".encode()
    return urlsafe_b64encode(hmac.digest(key, text, "sha256")[:_SIGNATURE_BYTES]).decode()


def _spans(texts: Sequence[str]) -> list[ByteSpan]:
    """The spans of `first-last` texts.

    Raises:
        NotAllowed: one is none.
    """
    spans = []
    for text in texts:
        found = _SPAN.fullmatch(text.strip())
        if found is None or int(found[1]) > int(found[2]):
            raise NotAllowed("A range of this request makes no sense.")
        spans.append(ByteSpan(int(found[1]), int(found[2]) + 1))
    return spans
