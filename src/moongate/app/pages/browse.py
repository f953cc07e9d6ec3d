"""Lists of what is here, of everything upstream has when that is asked for, and of one namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from moongate.app.pages.asking import ask, items, number, start_of, text
from moongate.app.pages.shelf import Held, Shelves
from moongate.app.pages.visits import Shown, Visit
from moongate.core.errors import BadName, UpstreamError
from moongate.core.names import REPO_TYPES, RepoId, RepoType, parse_repo_id
from moongate.hub.hosted.search import read_question
from moongate.web.views import BrowseView, RepoCard
from moongate.wire import routes
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_PAGE = 48
_MAX_SEARCH_CHARS = 200


class BrowsePages:
    """`/models`, `/datasets`, `/spaces` and `/{namespace}`."""

    def __init__(self, gateway: Gateway, shelves: Shelves) -> None:
        self._gateway = gateway
        self._shelves = shelves

    async def list(self, visit: Visit, kind: RepoType) -> Shown:
        search, author = (
            visit.query.get("search", "")[:_MAX_SEARCH_CHARS].strip(),
            visit.query.get("author", ""),
        )
        everywhere = visit.query.get("where") == "everywhere" and not self._gateway.settings.offline
        href = f"/{kind}s"
        asked = {name: value for name, value in (("search", search), ("author", author)) if value}
        found: Sequence[Mapping[str, Any]] = ()
        newer = older = None
        trouble = ""
        if everywhere:
            try:
                found, more = await self._everywhere(visit, kind, asked)
                older = (
                    f"{href}?{urlencode({**asked, 'where': 'everywhere', 'next': more})}" if more else None
                )
            except UpstreamError as error:
                trouble = f"{self._upstream} cannot be asked: {error.message}"
        if not everywhere or trouble:
            start = start_of(visit.query.get("from", "0"))
            every = await asyncio.to_thread(self._here, visit, kind, asked)
            found = every[start : start + _PAGE]
            if start:
                newer = f"{href}?{urlencode({**asked, 'from': max(0, start - _PAGE)})}"
            if start + _PAGE < len(every):
                older = f"{href}?{urlencode({**asked, 'from': start + _PAGE})}"
        view = BrowseView(
            plural=f"{kind}s",
            href=href,
            search=search,
            author=author,
            everywhere=everywhere,
            upstream="" if self._gateway.settings.offline else self._upstream,
            here_href=f"{href}?{urlencode(asked)}",
            everywhere_href=f"{href}?{urlencode({**asked, 'where': 'everywhere'})}",
            items=await self._cards(kind, found),
            newer=newer,
            older=older,
            trouble=trouble,
        )
        return Shown("browse", f"{kind.capitalize()}s", {"view": view}, section=f"{kind}s")

    async def namespace(self, visit: Visit, name: str) -> Shown | None:
        """What a namespace has here; None when that is nothing."""
        cards: list[RepoCard] = []
        total, more = 0, []
        for kind in REPO_TYPES:
            found = await asyncio.to_thread(self._here, visit, kind, {"author": name})
            cards += await self._cards(kind, found[:_PAGE])
            total += len(found)
            if len(found) > _PAGE:
                more.append((f"/{kind}s?{urlencode({'author': name})}", f"All {len(found):,} {kind}s"))
        hosted = self._gateway.repos.hosted.places.hosts_namespace(name)
        if not cards and not hosted:
            return None
        return Shown(
            "namespace", name, {"items": cards, "hosted": hosted, "name": name, "total": total, "more": more}
        )

    @property
    def _upstream(self) -> str:
        return urlsplit(self._gateway.settings.upstream).netloc

    async def _everywhere(
        self, visit: Visit, kind: RepoType, asked: Mapping[str, str]
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        more = visit.query.get("next", "")
        pairs = parse_qsl(more) if more else [*asked.items(), ("limit", str(_PAGE))]
        told = await ask(self._gateway.repos, routes.Listing(kind), visit.caller, pairs)
        return items(told.value), told.next_query

    def _here(self, visit: Visit, kind: RepoType, asked: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        return self._gateway.repos.here(kind, read_question(urlencode(asked), kind), visit.caller)

    async def _cards(self, kind: RepoType, found: Sequence[Mapping[str, Any]]) -> Sequence[RepoCard]:
        held = (await self._shelves.now()).repos
        return [card for item in found if (card := self._card(kind, item, held)) is not None]

    def _card(self, kind: RepoType, item: Mapping[str, Any], held: Mapping[RepoId, Held]) -> RepoCard | None:
        try:
            repo = parse_repo_id(kind, text(item.get("id")))
        except BadName:
            return None
        here = held.get(repo)
        return RepoCard(
            href=page_href(repo),
            kind=kind,
            namespace=repo.namespace,
            name=repo.repo_id.rpartition("/")[2],
            hosted=self._gateway.repos.is_hosted(repo),
            private=item.get("private") is True,
            gated=bool(item.get("gated")),
            words=[
                word for name in ("pipeline_tag", "library_name", "sdk") if (word := text(item.get(name)))
            ],
            changed=text(item.get("lastModified")) or None,
            downloads=number(item.get("downloads")),
            here_bytes=here.stored_bytes if here is not None else 0,
        )
