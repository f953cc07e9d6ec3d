"""Addresses to which one xorb may be sent, and that carry their own permission: which, how long, until when.

    /cas/granted/{xorb}/{grant}?n=250032&c=1824959642959182823&x=1848535668&s=<signature>

Clients are asked what CRC-64/NVME the bytes will have before they get one. They send no token there, so the
signature covers all that stands before it, from the xorb on. A grant's id carries a mark of its own, which
says for whom it was given: the address is useless to somebody who only saw it.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

import orjson

from moongate.core.errors import BadRequest, NotAllowed
from moongate.wire.xet_words import cas_url

CHECKSUM_ALGORITHM = "crc64nvme"

_SIGNATURE_BYTES = 18
_QUERY = re.compile(r"n=([0-9]{1,12})&c=([0-9]{1,20})&x=([0-9]{1,12})&s=([A-Za-z0-9_-]{24})")
_MARK_CHARS = 24
_REFUSED = "This address is not signed by us for this, or has expired; ask for another grant."


@dataclass(frozen=True, slots=True)
class AskedGrant:
    """What a client says of the bytes it wants to send. `crc64` None: told by an algorithm not ours."""

    size_bytes: int
    crc64: int | None


@dataclass(frozen=True, slots=True)
class GrantedUpload:
    """What an address permits: to send a xorb with this length and checksum, until `expires_seconds`."""

    xorb: str
    grant: str
    size_bytes: int
    crc64: int
    expires_seconds: int


def read_grant_question(body: bytes) -> AskedGrant:
    """What the body of a request for a grant says.

    Raises:
        BadRequest: it makes no sense.
    """
    try:
        told = orjson.loads(body)
        length, checksum = told["length"], told["checksum"]
        algorithm, value = checksum["algo"], checksum["value"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise BadRequest("Expected a JSON object with a length and a checksum.") from None
    if type(length) is not int or length <= 0 or not isinstance(value, str):
        raise BadRequest("The length or the checksum of this request makes no sense.")
    if algorithm != CHECKSUM_ALGORITHM:
        return AskedGrant(length, None)
    if not re.fullmatch(r"[0-9]{1,20}", value) or int(value) >= 1 << 64:
        raise BadRequest("The checksum is a number of 64 bits, in decimal digits.")
    return AskedGrant(length, int(value))


def write_grant(base_url: str, key: bytes, upload: GrantedUpload) -> bytes:
    """The JSON of a grant, with the absolute address on our own base."""
    query = f"n={upload.size_bytes}&c={upload.crc64}&x={upload.expires_seconds}"
    path = f"{upload.xorb}/{upload.grant}?{query}"
    url = f"{cas_url(base_url)}/granted/{path}&s={_sign(key, path)}"
    headers = {"Content-Type": "application/octet-stream"}
    return orjson.dumps({"id": upload.grant, "method": "PUT", "url": url, "headers": headers})


def read_grant_url(key: bytes, xorb: str, grant: str, query: str, now: float) -> GrantedUpload:
    """What the address permits.

    Raises:
        NotAllowed: it is not ours, was changed, or has expired.
    """
    found = _QUERY.fullmatch(query)
    if found is None:
        raise NotAllowed(_REFUSED)
    right = hmac.compare_digest(_sign(key, f"{xorb}/{grant}?{query.rpartition('&')[0]}"), found[4])
    upload = GrantedUpload(xorb, grant, int(found[1]), int(found[2]), int(found[3]))
    if not right or upload.expires_seconds <= now:
        raise NotAllowed(_REFUSED)
    return upload


def grant_id(key: bytes, word: str, xorb: str, holder: str) -> str:
    """The id of a grant: a word that is used once, and a mark that says for whom."""
    return word + _sign(key, f"{word} {xorb} {holder}")


def is_grant_of(key: bytes, grant: str, xorb: str, holder: str) -> bool:
    """Whether a grant was given to this holder, for this xorb."""
    word = grant[:-_MARK_CHARS]
    return bool(word) and hmac.compare_digest(grant_id(key, word, xorb, holder), grant)


def _sign(key: bytes, text: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")[:_SIGNATURE_BYTES]).decode()
