"""From a raw request to an answer: Host, caller, route, permission, handler, and the one place for errors.

Routes are told apart on the raw path, segment by segment (`wire.routes`); our own few addresses (health,
metrics, pages, the admin API) come first, by exact path or prefix. Every exchange, however it ends, is
counted and logged once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import structlog
from aiohttp import web

from moongate.app.auditing import Auditing
from moongate.app.door import Door
from moongate.app.exchange import Exchange, PageHandler, RouteHandler, begin
from moongate.app.metrics import Metrics
from moongate.app.permissions import CAS_ROUTES, ROUTES, UPLOADS, Page
from moongate.app.replies import JSON_TYPE, Reply, error_reply
from moongate.app.request_log import RequestLog, who
from moongate.app.sendfile import BrokenOff, ClientGone
from moongate.core.errors import MoongateError, NotAllowed, RepoMoved
from moongate.core.names import RepoId
from moongate.hub.audit import NoAudit
from moongate.wire import routes
from moongate.wire.cas_paths import CasRoute, parse_cas_path
from moongate.wire.errors import error_answer
from moongate.wire.lfs import UPLOADS_PREFIX
from moongate.wire.xet_words import CAS_PREFIX

_KNOWN_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ROUTES_KEPT = 4096
_ALLOW = (("Allow", ", ".join(_KNOWN_METHODS)),)
_LET_IN = (
    ("Access-Control-Allow-Methods", ", ".join(_KNOWN_METHODS)),
    (
        "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Range, If-None-Match, If-Range, X-Xet-Session-Id",
    ),
    ("Access-Control-Max-Age", "86400"),
)

_CAS = f"{CAS_PREFIX}/"

CasHandler = Callable[[Exchange, CasRoute], Awaitable[web.StreamResponse]]

log = structlog.get_logger("moongate.http")


@dataclass(frozen=True, slots=True)
class SignedAddresses:
    """What finds out by itself who asks: our CAS by tokens of its own, uploads by their address."""

    cas: CasHandler | None = None
    uploads: PageHandler | None = None


class Browser(Protocol):
    """What answers people at the Hub's own page addresses, and shows them why they get no page."""

    def page(self, exchange: Exchange) -> Page | None:
        """The page at an address of the Hub's, when a browser asks; never at one of the API or of files."""

    def refusal(self, exchange: Exchange, error: MoongateError) -> web.StreamResponse | None:
        """What a browser is shown in place of a page; None when it asked for none."""


class MethodAbsent(Exception):
    """This route has no such method; `allowed` says which it has."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(", ".join(allowed))
        self.allowed = tuple(allowed)


class Dispatcher:
    """The handler aiohttp's low-level server calls for every request."""

    def __init__(  # noqa: PLR0913 - it stands before every room
        self,
        door: Door,
        handlers: Mapping[type[object], RouteHandler],
        *,
        pages: Mapping[str, Page],
        below: Mapping[str, Page],
        browser: Browser | None = None,
        signed: SignedAddresses | None = None,
        metrics: Metrics,
        request_log: RequestLog,
        auditing: Auditing | None = None,
    ) -> None:
        """`pages`: our own exact paths; `below`: our own prefixes, such as the admin API's.

        `browser`: what answers people; `signed`: what finds out by itself who asks.
        """
        self._door = door
        self._browser = browser
        self.handlers = handlers
        self.pages = pages
        self.below = below
        self._signed = signed or SignedAddresses()
        self._metrics = metrics
        self._log = request_log
        self._auditing = auditing or Auditing(NoAudit())
        self._routes: dict[str, routes.Route] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = begin(request)
        self._metrics.running += 1
        try:
            response = await self._told(exchange)
        except MoongateError as error:
            response = self._refuse(exchange, error)
        except MethodAbsent as error:
            response = self._method_absent(exchange, error)
        except BrokenOff as error:
            exchange.error = f"{type(error.error).__name__}: {error.error.message}"
            self._finish(exchange)
            raise ConnectionResetError(exchange.error) from error
        except ClientGone:
            exchange.error = "client left"
            self._finish(exchange)
            raise ConnectionResetError(exchange.error) from None
        except (ConnectionError, asyncio.CancelledError):
            exchange.error = exchange.error or "client left"
            self._finish(exchange)
            raise
        except Exception as error:  # noqa: BLE001 - the edge: nothing may leave as a stack trace
            response = self._broken(exchange, error)
        if isinstance(response, Reply):
            exchange.status = response.status
            exchange.sent_bytes = 0 if exchange.method == "HEAD" else len(response.body)
        else:
            exchange.status = exchange.status or response.status
        self._finish(exchange)
        return response

    async def _told(self, exchange: Exchange) -> web.StreamResponse:
        """The answer, after what an auditor will want to know of it was written down."""
        try:
            response = await self._answer(exchange)
        except NotAllowed as error:
            await self._auditing.refused(exchange, error)
            raise
        finally:
            if exchange.happened:
                await self._auditing.told(exchange)
        if exchange.reconstructed:
            self._auditing.begins(exchange, *(file for file, _ in exchange.reconstructed), way="xet")
        return response

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        request, path = exchange.request, exchange.path
        page = self._page(path)
        if page is not None and page.any_host:
            return await self._answer_page(exchange, page)
        self._door.check_host(request)
        if exchange.method == "OPTIONS":
            exchange.route = "options"
            return self._preflight(exchange)
        if exchange.method not in _KNOWN_METHODS:
            raise MethodAbsent(_KNOWN_METHODS)
        if page is None and self._browser is not None:
            page = self._browser.page(exchange)
        if page is not None:
            return await self._answer_page(exchange, page)
        signed = await self._answer_signed(exchange)
        if signed is not None:
            return signed
        route = self.known_route(path) or self._parse(path)
        kind = type(route)
        exchange.route = kind.__name__
        exchange.repo = getattr(route, "repo", None)
        exchange.caller = await self._door.caller_of(request)
        needs = ROUTES.get(kind)
        self._door.require(needs.of(exchange.method) if needs is not None else None, exchange.caller, request)
        return await self.handlers[kind](exchange, route)

    def _page(self, path: str) -> Page | None:
        page = self.pages.get(path)
        if page is not None:
            return page
        return next((page for prefix, page in self.below.items() if path.startswith(prefix)), None)

    async def _answer_page(self, exchange: Exchange, page: Page) -> web.StreamResponse:
        request = exchange.request
        exchange.route = page.name
        permission = page.permission(exchange.method)
        if permission is None:
            raise MethodAbsent(("GET", "HEAD"))
        if permission == "public":
            return await page.answer(exchange)
        if permission != "watch" or not self._door.is_local(request):
            exchange.caller = await self._door.caller_of(request, cookies=page.cookies)
        self._door.require(permission, exchange.caller, request)
        return await page.answer(exchange)

    async def _answer_signed(self, exchange: Exchange) -> web.StreamResponse | None:
        path, signed = exchange.path, self._signed
        if signed.uploads is not None and path.startswith(UPLOADS_PREFIX):
            exchange.route = "LfsUpload"
            self._door.require(UPLOADS.of(exchange.method), exchange.caller, exchange.request)
            return await signed.uploads(exchange)
        asked = parse_cas_path(path) if signed.cas is not None and path.startswith(_CAS) else None
        if signed.cas is None or asked is None:
            return None
        exchange.route = f"Cas{type(asked).__name__}"
        needs = CAS_ROUTES.get(type(asked))
        self._door.require(
            None if needs is None else needs.of(exchange.method), exchange.caller, exchange.request
        )
        return await signed.cas(exchange, asked)

    def known_route(self, path: str) -> routes.Route | None:
        """The route of a raw path that was asked for before."""
        return self._routes.get(path)

    def _parse(self, path: str) -> routes.Route:
        route = routes.parse_route(path)
        if len(self._routes) >= _ROUTES_KEPT:
            self._routes.clear()
        self._routes[path] = route
        return route

    def _refuse(self, exchange: Exchange, error: MoongateError) -> web.StreamResponse:
        if isinstance(error, RepoMoved) and exchange.repo is not None:
            return self._redirect(exchange, exchange.repo, error)
        exchange.error = f"{type(error).__name__}: {error.message}"
        if exchange.request.writer.output_size:
            self._break_off(exchange)
        answer = error_answer(error)
        self._metrics.refused(error)
        shown = self._browser.refusal(exchange, error) if self._browser is not None else None
        if shown is not None:
            return shown
        headers = [JSON_TYPE, *answer.headers]
        if answer.status == 401 and exchange.route.startswith(("Git", "Lfs")):
            # git answers no other challenge
            headers.append(("WWW-Authenticate", 'Basic realm="moongate"'))
        shared = not self._is_ours(exchange.path)
        return Reply(answer.status, headers, answer.body, request_id=exchange.request_id, shared=shared)

    @staticmethod
    def _redirect(exchange: Exchange, repo: RepoId, error: RepoMoved) -> Reply:
        """To the same address below the repository's present name; old clients follow relative ones only."""
        head, _, tail = exchange.path_qs.partition(f"/{repo.repo_id}")
        headers = (("Location", f"{head}/{error.to}{tail}"), ("X-Moongate-Cache", "hit"))
        return Reply(307, headers, b"", request_id=exchange.request_id)

    def _method_absent(self, exchange: Exchange, error: MethodAbsent) -> Reply:
        exchange.error = "MethodAbsent"
        return error_reply(
            405,
            "MethodNotAllowed",
            f"{exchange.method[:20]} is not possible here",
            exchange.request_id,
            (("Allow", ", ".join(error.allowed)),),
            shared=not self._is_ours(exchange.path),
        )

    def _preflight(self, exchange: Exchange) -> Reply:
        if self._is_ours(exchange.path):
            return Reply(204, _ALLOW, b"", request_id=exchange.request_id, shared=False)
        return Reply(204, (*_ALLOW, *_LET_IN), b"", request_id=exchange.request_id)

    def _is_ours(self, path: str) -> bool:
        """Whether a path is our own (pages, admin API): other origins' pages may read the Hub's alone."""
        return self._page(path) is not None

    def _broken(self, exchange: Exchange, error: Exception) -> web.StreamResponse:
        exchange.error = type(error).__name__
        log.error(
            "request failed", id=exchange.request_id, path=exchange.path, who=who(exchange), exc_info=error
        )
        if exchange.request.writer.output_size:
            self._break_off(exchange)
        return error_reply(
            500,
            "InternalError",
            f"Something broke inside the gateway. Its log tells more under the id {exchange.request_id}.",
            exchange.request_id,
        )

    def _break_off(self, exchange: Exchange) -> NoReturn:
        """Cuts an answer that is on its way and cannot become an error, so that nobody takes it for whole."""
        transport = exchange.request.transport
        if transport is not None:
            transport.abort()
        self._finish(exchange)
        raise ConnectionResetError(exchange.error)

    def note(self, exchange: Exchange) -> None:
        """Counts and logs a request that was answered before it came here."""
        self._metrics.running += 1
        self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        self._metrics.running -= 1
        seconds = time.perf_counter() - exchange.started
        self._metrics.count(exchange, seconds)
        self._log.write(exchange, seconds)
        self._auditing.finished(exchange)


def allow(exchange: Exchange, *methods: str) -> None:
    """Lets only these methods through.

    Raises:
        MethodAbsent: it is another one.
    """
    if exchange.method not in methods:
        raise MethodAbsent((*methods, "OPTIONS"))
