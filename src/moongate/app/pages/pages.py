"""Which page answers an address, and for whom: one table of our own, and the Hub's page addresses.

Our own pages lie below `/-/`, where no repository can be. Each row of the table says what it needs (see
`app.permissions`); the dispatcher holds everybody to it, by a token in the header, by a session, or as the
user of this machine. The pages of repositories and lists are for whom the door lets in, and show each what
the API would answer them. Where the door is closed to a browser, it is led to the sign-in form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, cast
from urllib.parse import parse_qsl, urlencode

from aiohttp import hdrs, web

from moongate.app.dispatch import MethodAbsent
from moongate.app.door import Door
from moongate.app.exchange import Exchange, PageHandler
from moongate.app.pages.blob import BlobPages
from moongate.app.pages.browse import BrowsePages
from moongate.app.pages.forms import Forms
from moongate.app.pages.repo import RepoPages
from moongate.app.pages.tree import TreePages
from moongate.app.pages.visits import THEME_COOKIE, PageAnswer, Sent, Shown, Visit
from moongate.app.permissions import Page, Permission
from moongate.app.replies import Reply
from moongate.core.errors import (
    Absent,
    AuthRequired,
    BadRequest,
    BadToken,
    MoongateError,
    NotAllowed,
    RepoMoved,
    UpstreamError,
)
from moongate.core.names import RepoId
from moongate.web import assets
from moongate.web.frame import SECTIONS, SECURITY_HEADERS, SECURITY_SECTION, Frame, Section, Theme, Visitor
from moongate.web.templating import render
from moongate.web.views import ErrorView
from moongate.wire.errors import error_answer
from moongate.wire.page_paths import (
    BlobPage,
    CommitsPage,
    ListPage,
    NamespacePage,
    PagePath,
    RepoPage,
    TreePage,
    page_href,
    parse_page_path,
)

_NAME = "page"
_FRAMED = (_NAME, "login", "login_callback", "logout", "device")
"""Those whose refusals are pages, too."""

_OURS, _DOWNLOADS, _IMAGES, _LIVE = "/-/", "/-/download/", "/-/images/", "/-/live"
_SIGN_IN = "/-/sign-in"
_MAX_FIELDS = 64

Handler = Callable[[Visit], Awaitable[PageAnswer]]


@dataclass(frozen=True, slots=True)
class PageRow:
    """One address of our own and a method: what it needs, and what answers."""

    method: Literal["GET", "POST"]
    path: str
    needs: Permission
    answer: Handler


@dataclass(frozen=True, slots=True)
class HubPages:
    """The pages at the Hub's own addresses."""

    browse: BrowsePages
    repo: RepoPages
    tree: TreePages
    blob: BlobPages


class Pages:
    """Answers people; see `dispatch.Browser`."""

    def __init__(
        self,
        door: Door,
        forms: Forms,
        rows: Sequence[PageRow],
        hub: HubPages,
        live: PageHandler,
        *,
        judges: bool = False,
    ) -> None:
        """`judges`: whether what passes is judged, so that there are security pages to lead to."""
        self._door = door
        self._forms = forms
        self._rows = {(row.path, row.method): row for row in rows}
        self._hub = hub
        self._live = live
        self._judges = judges
        self._hub_page = Page(_NAME, self._answer_hub, "read")

    @property
    def exact(self) -> Mapping[str, Page]:
        """Every address of our own, with what it needs. An address for forms alone is no secret."""
        pages = {}
        for path, _ in self._rows:
            shown, sent = self._rows.get((path, "GET")), self._rows.get((path, "POST"))
            pages[path] = Page(
                _NAME,
                self._answer_row,
                shown.needs if shown is not None else "public",
                sent.needs if sent is not None else None,
            )
        return {**pages, _LIVE: Page(_NAME, self._live, "admin")}

    @property
    def below(self) -> Mapping[str, Page]:
        """Our own prefixes, the last of them for what is nowhere."""
        return {
            assets.PREFIX: Page("asset", _asset, "public"),
            _DOWNLOADS: Page(_NAME, self._answer_file, "read"),
            _IMAGES: Page(_NAME, self._answer_file, "read"),
            _OURS: Page(_NAME, _nothing, "public"),
        }

    def page(self, exchange: Exchange) -> Page | None:
        """See `dispatch.Browser`."""
        asked = exchange.is_read and _wants_html(exchange) and parse_page_path(exchange.path) is not None
        return self._hub_page if asked else None

    def refusal(self, exchange: Exchange, error: MoongateError) -> web.StreamResponse | None:
        """See `dispatch.Browser`. The status is the API's; who has to sign in first is sent to the form."""
        if exchange.route not in _FRAMED or not _wants_html(exchange):
            return None
        here = f"{_SIGN_IN}?{urlencode({'next': exchange.path_qs if exchange.is_read else '/'})}"
        if isinstance(error, AuthRequired | BadToken) and exchange.is_read and exchange.path != _SIGN_IN:
            return self._reply(exchange, Sent(here))
        status = error_answer(error).status
        may_help = exchange.caller.kind == "anonymous" and isinstance(error, NotAllowed | Absent)
        view = ErrorView(status, error.message, here if may_help else "", exchange.request_id)
        return self._page(exchange, Shown("error", _title(error), {"view": view}, status=status))

    def show(self, exchange: Exchange, shown: Shown, *headers: tuple[str, str]) -> Reply:
        """A page of somebody else's in our frame, with headers of its own."""
        return self._page(exchange, shown, *headers)

    # What answers

    async def _answer_row(self, exchange: Exchange) -> web.StreamResponse:
        row = self._rows.get((exchange.path, "GET" if exchange.is_read else "POST"))
        if row is None or (row.method == "POST" and exchange.method != "POST"):
            raise MethodAbsent([method for path, method in self._rows if path == exchange.path])
        if row.needs == "public":
            with suppress(NotAllowed):  # who is turned away may still come in by this page
                exchange.caller = await self._door.caller_of(exchange.request, cookies=True)
        visit = self._visit(exchange)
        if row.method == "POST":
            visit = replace(visit, form=await self._forms.read(exchange))
        return self._reply(exchange, await row.answer(visit))

    async def _answer_hub(self, exchange: Exchange) -> web.StreamResponse:
        page = parse_page_path(exchange.path)
        if page is None:
            raise Absent("There is no page at this address.")
        return self._reply(exchange, await self._of_hub(self._visit(exchange), page))

    async def _of_hub(self, visit: Visit, page: PagePath) -> PageAnswer:
        hub = self._hub
        try:
            match page:
                case ListPage():
                    return await hub.browse.list(visit, page.kind)
                case NamespacePage():
                    found = await hub.browse.namespace(visit, page.name)
                    return found or await hub.repo.show(visit, RepoId("model", page.name))
                case RepoPage():
                    return await hub.repo.show(visit, page.repo)
                case TreePage():
                    return await hub.tree.folder(visit, page.repo, page.revision, page.path)
                case CommitsPage():
                    return await hub.tree.history(visit, page.repo, page.revision)
                case BlobPage():
                    return await hub.blob.show(visit, page)
        except RepoMoved as error:
            if isinstance(page, ListPage | NamespacePage):
                raise
            return Sent(page_href(RepoId(page.repo.repo_type, error.to)))

    async def _answer_file(self, exchange: Exchange) -> web.StreamResponse:
        """A file's bytes, by its page's address: as a download, or as a picture."""
        is_picture = exchange.path.startswith(_IMAGES)
        page = parse_page_path("/" + exchange.path.removeprefix(_IMAGES if is_picture else _DOWNLOADS))
        if not isinstance(page, BlobPage):
            raise Absent("There is no file at this address.")
        if is_picture:
            return self._reply(exchange, await self._hub.blob.picture(self._visit(exchange), page))
        return await self._hub.blob.download(exchange, page)

    # Who asks

    def _visit(self, exchange: Exchange) -> Visit:
        return Visit(exchange, exchange.caller, self._is_admin(exchange), _query(exchange))

    def _is_admin(self, exchange: Exchange) -> bool:
        """Whether they administrate; what another site has the browser ask does not."""
        local = exchange.caller.is_operator and self._door.is_local(exchange.request)
        try:
            self._door.require_admin(exchange.caller, local=local)
        except NotAllowed:
            return False
        return True

    def _visitor(self, exchange: Exchange) -> Visitor:
        caller = exchange.caller
        if caller.kind == "anonymous":
            at_home = self._is_admin(exchange)
            return Visitor("This machine" if at_home else "Visitor", caller.scope, at_home, signed_in=False)
        return Visitor(caller.user, caller.scope, is_local=False, signed_in=caller.method == "session")

    def _sections(self, exchange: Exchange) -> Sequence[Section]:
        approves = exchange.caller.may_approve and not exchange.caller.is_operator
        decides = self._judges and (approves or self._is_admin(exchange))
        return (*SECTIONS, SECURITY_SECTION) if decides else SECTIONS

    # What is sent

    def _reply(self, exchange: Exchange, answer: PageAnswer) -> Reply:
        if isinstance(answer, Shown):
            return self._page(exchange, answer)
        if isinstance(answer, Sent):
            headers = [("Location", answer.href), ("Cache-Control", "no-store"), *answer.cookies]
            return Reply(303, headers, b"", request_id=exchange.request_id, shared=False)
        return Reply(answer.status, answer.headers, answer.body, request_id=exchange.request_id, shared=False)

    def _page(self, exchange: Exchange, shown: Shown, *more: tuple[str, str]) -> Reply:
        request = exchange.request
        word, cookies = self._forms.word_for(request)
        theme = request.cookies.get(THEME_COOKIE, "")
        frame = Frame(
            visitor=self._visitor(exchange),
            theme=cast(Theme, theme if theme in ("light", "dark") else ""),
            csrf=word,
            path=exchange.path_qs if exchange.is_read else exchange.path,
            sections=self._sections(exchange),
            section=shown.section,
        )
        headers = (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
            *SECURITY_HEADERS,
            *cookies,
            *more,
        )
        body = render(shown.template, frame, shown.title, **shown.values)
        return Reply(shown.status, headers, body, request_id=exchange.request_id, shared=False)


def _wants_html(exchange: Exchange) -> bool:
    """Whether a browser asks for something to look at."""
    return "text/html" in exchange.request.headers.get(hdrs.ACCEPT, "")


async def _nothing(exchange: Exchange) -> web.StreamResponse:
    raise Absent("There is no page at this address.")


async def _asset(exchange: Exchange) -> web.StreamResponse:
    found = assets.find(exchange.path)
    if found is None:
        raise Absent("Nothing is served at this address.")
    headers = (
        ("Content-Type", found.kind),
        ("Cache-Control", "public, max-age=31536000, immutable"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Content-Security-Policy", "default-src 'none'"),
    )
    return Reply(200, headers, found.body, request_id=exchange.request_id, shared=False)


def _query(exchange: Exchange) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(exchange.query, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise BadRequest("the query has absurdly many parts") from None


def _title(error: MoongateError) -> str:
    if isinstance(error, Absent):
        return "Nothing here"
    if isinstance(error, NotAllowed):
        return "Not for you"
    if isinstance(error, UpstreamError):
        return "Upstream cannot be asked"
    return "That cannot be" if isinstance(error, BadRequest) else "Something is wrong"
