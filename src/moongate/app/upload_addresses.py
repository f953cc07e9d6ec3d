"""Addresses to send large files to: made here for some hours, and read back when they are used.

Clients send the bytes without any token, so the address itself says who may send what where. Nobody else can
make or change one, and any worker reads it. An address that was had by one of our tokens goes with it.

    base64url( JSON | HMAC 32 )
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final

import orjson

from moongate.app.shared_secret import key_for
from moongate.core.digests import Etag
from moongate.core.errors import NotAllowed
from moongate.hub.hosted.intake import Upload
from moongate.wire.lfs import UPLOADS_PREFIX

TTL_SECONDS: Final = 12 * 3600.0

_TAG_BYTES = 32
_MAX_CHARS = 4096


class UploadAddresses:
    """Signs and reads upload addresses; all processes with the same secret read each other's."""

    def __init__(
        self,
        secret: bytes,
        still_good: Callable[[str], None] = lambda sha256: None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """still_good: raises BadToken when the token of ours with this sha256 is good no longer."""
        self._key = key_for(secret, "lfs uploads")
        self._still_good = still_good
        self._now = now

    def write(self, upload: Upload, pass_sha256: str | None, base_url: str) -> str:
        """The absolute address of an upload; `/N` after it is that of part N."""
        said = orjson.dumps((
            int(self._now() + TTL_SECONDS),
            upload.number,
            upload.caller_key,
            upload.etag,
            upload.size_bytes,
            upload.part_bytes,
            pass_sha256,
        ))  # fmt: skip
        tag = hmac.digest(self._key, said, hashlib.sha256)
        return f"{base_url}{UPLOADS_PREFIX}{urlsafe_b64encode(said + tag).rstrip(b'=').decode()}"

    def read(self, text: str) -> Upload:
        """The upload of an address, given what follows the prefix (without a part's number).

        Raises:
            NotAllowed: it is not ours, was changed, or has expired.
            BadToken: the token that it was had by is good no longer.
        """
        refusal = NotAllowed("This upload address is unknown, or has expired.")
        if len(text) > _MAX_CHARS:
            raise refusal
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            raise refusal from None
        said, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(hmac.digest(self._key, said, hashlib.sha256), tag):
            raise refusal
        expires_seconds, number, caller_key, etag, size_bytes, part_bytes, pass_sha256 = orjson.loads(said)
        if expires_seconds <= self._now():
            raise refusal
        if pass_sha256 is not None:
            self._still_good(pass_sha256)
        return Upload(number, caller_key, Etag(etag), size_bytes, part_bytes)
