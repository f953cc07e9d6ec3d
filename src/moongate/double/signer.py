"""Signed URLs of the CDN: issued by the hub origin, checked and counted by the CDN origin."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from moongate.double.reply import Reply, text_reply


@dataclass(slots=True)
class _Issued:
    at: float
    uses: int = 0


class Signer:
    """Issues and checks URLs as the Hub's CDN does: `…?Expires=…&Policy=…&Signature=…&Key-Pair-Id=…`."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(16)
        self._numbers = itertools.count(1)
        self._issued: dict[str, _Issued] = {}

    def sign(self, path: str, ttl_seconds: int, extra: str = "", ranges: str = "") -> str:
        """The path with a query that lets it pass for so long; `extra` is query text put in front.

        `ranges`, as a Range header has them, are told in the query and cannot be changed there.
        """
        policy = f"{next(self._numbers):08x}"
        self._issued[policy] = _Issued(time.monotonic())
        expires = int(time.time()) + ttl_seconds
        signature = self._signature(path + ranges, policy, expires)
        if ranges:
            extra = f"X-Xet-Signed-Range={quote(ranges, safe='')}"
        query = f"Expires={expires}&Policy={policy}&Signature={quote(signature)}&Key-Pair-Id=DOUBLE"
        return f"{path}?{extra}&{query}" if extra else f"{path}?{query}"

    def _signature(self, path: str, policy: str, expires: int) -> str:
        text = f"{path}\n{policy}\n{expires}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest() + "~"

    def check(self, target: str) -> Reply | None:
        """None when a request target is signed and not expired, else the refusal; counts the use."""
        path, _, query = target.partition("?")
        values = {key: found[-1] for key, found in parse_qs(query).items()}
        policy, expires = values.get("Policy", ""), values.get("Expires", "")
        if not expires.isdigit() or policy not in self._issued:
            return _denied("MissingKey", "Missing Key-Pair-Id query parameter or cookie value")
        signed = path + values.get("X-Xet-Signed-Range", "")
        if not hmac.compare_digest(
            values.get("Signature", ""), self._signature(signed, policy, int(expires))
        ):
            return _denied("AccessDenied", "Access denied")
        if int(expires) <= time.time():
            return self.expired_reply()
        self._issued[policy].uses += 1
        return None

    def spent(self, target: str, after_seconds: float | None, after_uses: int | None) -> bool:
        """Whether the URL is older than `after_seconds` or was used `after_uses` times already."""
        policy = parse_qs(target.partition("?")[2]).get("Policy", [""])[-1]
        issued = self._issued.get(policy)
        if issued is None:
            return False
        old = after_seconds is not None and time.monotonic() - issued.at >= after_seconds
        return old or (after_uses is not None and issued.uses >= after_uses)

    @staticmethod
    def expired_reply() -> Reply:
        """What the CDN says to a signature whose time is over."""
        return _denied("AccessDenied", "Request has expired")


def _denied(code: str, message: str) -> Reply:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>{error}'
    return text_reply(body, 403, {"Content-Type": "text/xml"})


def token_refused() -> Reply:
    """What S3 says to a signed URL that also carries a token."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidArgument</Code>'
        "<Message>Only one auth mechanism allowed</Message></Error>"
    )
    return text_reply(body, 400, {"Content-Type": "application/xml"})
