"""The Hub's JSON routes: what `hub.ProxiedRepos` answers, as the Hub writes it; writes pass through."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import hdrs, web

from moongate.app.card_routes import validate_yaml
from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.passing import Passing, accept_body, body_pieces
from moongate.app.replies import Reply, freshness, json_reply
from moongate.core.callers import Caller
from moongate.core.errors import Absent, AnswerTooLong, AuthRequired, BadRequest
from moongate.hub.answers import Answer
from moongate.wire import routes

_VALIDATE_YAML = routes.ApiOther("/api/validate-yaml")

MAX_QUESTION_BYTES = 8 << 20
"""A paths-info request names at most some thousand paths."""


class Answers(Protocol):
    """What this room needs of `hub.ProxiedRepos`."""

    async def answer(
        self,
        route: routes.Route,
        query: str,
        caller: Caller,
        post_body: bytes | None = None,
        content_type: str = "",
    ) -> Answer: ...


class HubRoutes:
    """Info, listings, refs, commits, search, and everything else under `/api/`."""

    def __init__(
        self,
        answers: Answers,
        passing: Passing,
        base_url: Callable[[web.BaseRequest], str],
        orgs_of: Callable[[Caller], Sequence[tuple[str, str]]] = lambda caller: (),
    ) -> None:
        """`orgs_of`: the namespaces in which a caller may create repositories, and as what."""
        self._orgs_of = orgs_of
        self._answers = answers
        self._passing = passing
        self._base_url = base_url

    async def read(self, exchange: Exchange, route: routes.Route) -> web.StreamResponse:
        """GET and HEAD from what is kept or can be asked; any other method is upstream's business.

        But cards are checked here: upstream is not to see what may belong to a hosted repository.
        """
        if not exchange.is_read:
            if route == _VALIDATE_YAML:
                return await validate_yaml(exchange, await read_body(exchange, MAX_QUESTION_BYTES))
            return await self._passing.pass_through(exchange)
        try:
            answer = await self._answers.answer(route, exchange.query, exchange.caller)
        except AnswerTooLong:
            return await self._passing.pass_through(exchange)
        return self._reply(exchange, answer)

    async def pass_on(self, exchange: Exchange, body: bytes) -> web.StreamResponse:
        """A write that is upstream's business, whose body was read already."""
        return await self._passing.pass_through(exchange, body=body)

    async def repo_other(self, exchange: Exchange, route: routes.RepoOther) -> web.StreamResponse:
        """As `read`, but that upstream's Xet tokens are not passed on: clients would go past us with them."""
        if exchange.is_read and route.rest.startswith("xet-read-token"):
            raise Absent("A Xet token is for a revision; this address names none.")
        return await self.read(exchange, route)

    async def paths_info(self, exchange: Exchange, route: routes.PathsInfo) -> web.StreamResponse:
        """A question that is a POST, as a form or as JSON."""
        allow(exchange, "POST")
        body = await read_body(exchange, MAX_QUESTION_BYTES)
        content_type = exchange.request.headers.get(hdrs.CONTENT_TYPE, "")
        answer = await self._answers.answer(
            route, exchange.query, exchange.caller, post_body=body, content_type=content_type
        )
        return self._reply(exchange, answer)

    async def whoami(self, exchange: Exchange, route: routes.Whoami) -> web.StreamResponse:
        """Our own users are told their name here; a Hub token is upstream's to name."""
        allow(exchange, "GET", "HEAD")
        caller = exchange.caller
        if caller.kind == "anonymous":
            raise AuthRequired("Invalid username or password.")
        if caller.kind == "token":
            return json_reply(200, _own_user(caller, self._orgs_of(caller)), exchange.request_id)
        return await self.read(exchange, route)

    def _reply(self, exchange: Exchange, answer: Answer) -> Reply:
        exchange.outcome = answer.outcome
        headers = [*freshness(answer.outcome, answer.age_seconds)]
        headers += answer.headers_for(self._base_url(exchange.request))
        return Reply(answer.status, headers, answer.body, request_id=exchange.request_id)


async def read_body(exchange: Exchange, max_bytes: int) -> bytes:
    """The request's body, decompressed if it came compressed.

    Raises:
        BadRequest: it is longer than `max_bytes`, or is not what its Content-Encoding says.
    """
    request = exchange.request
    too_long = BadRequest(f"The body is longer than {max_bytes} bytes.")
    if (request.content_length or 0) > max_bytes:
        raise too_long
    await accept_body(request)
    body = bytearray()
    async for chunk in body_pieces(request):
        body += chunk
        if len(body) > max_bytes:
            raise too_long
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
    if coding == "identity":
        return bytes(body)
    if coding not in ("gzip", "deflate"):
        raise BadRequest(f"This gateway does not know the Content-Encoding {coding[:20]!r}.")
    unpacker = zlib.decompressobj(wbits=47)
    try:
        plain = unpacker.decompress(bytes(body), max_bytes)
    except zlib.error:
        raise BadRequest("The body is not what its Content-Encoding says.") from None
    if unpacker.unconsumed_tail:
        raise too_long
    return plain


def _own_user(caller: Caller, orgs: Sequence[tuple[str, str]]) -> dict[str, object]:
    return {
        "type": "user",
        "id": caller.user,
        "name": caller.user,
        "fullname": caller.user,
        "email": None,
        "emailVerified": False,
        "canPay": False,
        "isPro": False,
        "periodEnd": None,
        "orgs": [
            {
                "type": "org",
                "id": name,
                "name": name,
                "fullname": name,
                "roleInOrg": role,
                "isEnterprise": False,
            }
            for name, role in orgs
        ],
        "teams": list(caller.teams),
        "roles": list(caller.roles),
        "auth": {
            "type": "access_token",
            "accessToken": {
                "displayName": "moongate",
                "role": caller.scope,
                "createdAt": "1970-01-01T00:00:00.000Z",
            },
        },
    }
