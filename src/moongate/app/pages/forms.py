"""Forms: read within bounds, and believed only when a page of ours sent them.

Two proofs, both wanted. The browser says where the request comes from (`Origin`, or `Sec-Fetch-Site` where
there is none), and that has to be us. And the form holds a word that is made from a cookie of this browser,
which no other site can read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.sessions import set_cookie
from moongate.app.shared_secret import key_for
from moongate.core.errors import BadRequest, NotAllowed

COOKIE: Final = "moongate_visit"
MAX_FORM_BYTES: Final = 1 << 20

_MAX_FIELDS = 64
_YEAR_SECONDS = 365 * 86400
_TYPE = "application/x-www-form-urlencoded"
_VISIT = re.compile(r"[0-9a-f]{32}")


class Forms:
    """Makes and checks the word in every form."""

    def __init__(self, secret: bytes, base_url: Callable[[web.BaseRequest], str]) -> None:
        self._key = key_for(secret, "page forms")
        self._base_url = base_url

    def word_for(self, request: web.BaseRequest) -> tuple[str, Sequence[tuple[str, str]]]:
        """The word of this browser's forms, and the headers that make the browser known, if it is new."""
        visit = _visit_of(request)
        if visit is not None:
            return self._word(visit), ()
        visit = secrets.token_hex(16)
        secure = self._base_url(request).startswith("https:")
        return self._word(visit), (set_cookie(COOKIE, visit, _YEAR_SECONDS, secure=secure),)

    async def read(self, exchange: Exchange) -> dict[str, str]:
        """The fields of a form of ours.

        Raises:
            NotAllowed: it may be another site's.
            BadRequest: it is no form, or absurdly long.
        """
        request = exchange.request
        self._refuse_foreign(request)
        if request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower() != _TYPE:
            raise BadRequest("This is no form.")
        body = await read_body(exchange, MAX_FORM_BYTES)
        try:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
        except ValueError:
            raise BadRequest("This is no form.") from None
        visit, given = _visit_of(request), fields.pop("csrf", "").encode("utf-8", "replace")
        if visit is None or not hmac.compare_digest(given, self._word(visit).encode()):
            raise NotAllowed(
                "This form is out of date, or not ours. Go back, reload the page and send it again."
            )
        return fields

    def _word(self, visit: str) -> str:
        return hmac.digest(self._key, visit.encode(), hashlib.sha256).hex()[:40]

    def _refuse_foreign(self, request: web.BaseRequest) -> None:
        origin, site = request.headers.get(hdrs.ORIGIN), request.headers.get("Sec-Fetch-Site")
        if origin is None:
            is_ours = site == "same-origin"
        else:
            is_ours = origin == self._base_url(request) and site in (None, "same-origin")
        if not is_ours:
            raise NotAllowed("Pages of other sites may send nothing here.")


def _visit_of(request: web.BaseRequest) -> str | None:
    """What this browser is known by."""
    visit = request.cookies.get(COOKIE, "")
    return visit if _VISIT.fullmatch(visit) else None
