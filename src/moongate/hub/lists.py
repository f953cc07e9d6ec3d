"""Lists and searches over everything: what lives here first, then what upstream lists.

A page holds the hosted repositories that are left; where they fill no page, upstream's first page follows in
the same answer, and upstream's own links lead on from there. A question that names something that lives here
is never asked of upstream. When upstream cannot be asked, what is known here is all there is, and a header
says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

import orjson

from moongate.core.callers import Caller
from moongate.core.errors import UpstreamError
from moongate.core.names import DEFAULT_REVISION, RepoId, RepoType
from moongate.hub import keys
from moongate.hub.answers import Answer
from moongate.hub.hosted.lists import HostedLists
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.search import BEYOND, CURSOR, MAX_PAGE, ListQuestion, read_question
from moongate.hub.hosted.views import list_item
from moongate.hub.proxied import ProxiedRepos
from moongate.store.index import Index
from moongate.wire.links import next_header
from moongate.wire.routes import Listing

_JSON = ("Content-Type", "application/json; charset=utf-8")
_ALONE = ("X-HF-Warning", "upstream; upstream cannot be asked: this list holds only what is known here")
_MAX_QUERY_CHARS = 8192


class Lists:
    """Lists of models, datasets and Spaces, hosted and proxied."""

    def __init__(self, index: Index, places: Places, hosted: HostedLists, proxied: ProxiedRepos) -> None:
        self._index = index
        self._places = places
        self._hosted = hosted
        self._proxied = proxied

    async def answer(self, route: Listing, query: str, caller: Caller) -> Answer:
        """A page of a list.

        Raises:
            BadRequest: the question cannot be.
            UpstreamError: upstream cannot be asked, and nothing lives here at all.
        """
        if len(query) > _MAX_QUERY_CHARS or not await asyncio.to_thread(self._anything_lives_here):
            return await self._proxied.answer(route, query, caller)
        question = read_question(query, route.kind)
        page = await asyncio.to_thread(self._hosted.page, route.kind, question, caller)
        if page.next_start is not None:
            link = f"{_path(route)}?{_query(query, {CURSOR: str(page.next_start)})}"
            return _answer(page.items, link)
        if question.names(self._places.hosts_namespace):
            return _answer(page.items)
        room = None if question.limit is None else max(0, question.limit - len(page.items))
        if room == 0:
            return _answer(page.items, f"{_path(route)}?{_query(query, {CURSOR: BEYOND})}")
        more = {} if room is None or not page.items else {"limit": str(room)}
        return await self._with_upstream(route, page.items, question, _query(query, more), caller)

    def here(self, kind: RepoType, question: ListQuestion, caller: Caller) -> Sequence[dict[str, object]]:
        """What lives here or is kept here of upstream's, and fits, without asking anybody. Blocks.

        At most `MAX_PAGE` of each, hosted ones first.
        """
        hosted = self._hosted.page(kind, question, caller)
        seen = [repo for repo in self._index.repos() if self._shows(repo, kind, caller)]
        return [*hosted.items, *self._kept(seen, question, {"likes": 0, "downloads": 0})]

    async def _with_upstream(
        self,
        route: Listing,
        items: Sequence[dict[str, object]],
        question: ListQuestion,
        query: str,
        caller: Caller,
    ) -> Answer:
        try:
            theirs = await self._proxied.answer(route, query, caller)
        except UpstreamError:
            known = await asyncio.to_thread(self._index.repos)
            seen = [repo for repo in known if self._shows(repo, route.kind, caller)]
            kept = await asyncio.to_thread(self._kept, seen, question)
            answer = _answer([*items, *kept])
            return replace(answer, headers=(*answer.headers, _ALONE), outcome="stale")
        theirs = replace(theirs, headers=tuple(map(_beyond, theirs.headers)))
        if theirs.status != 200:
            return theirs
        body = await asyncio.to_thread(self._joined, items, theirs.body)
        return replace(theirs, body=body)

    def _joined(self, items: Sequence[dict[str, object]], theirs: bytes) -> bytes:
        """Ours and theirs, but for what of theirs is hidden by a namespace that lives here."""
        listed = orjson.loads(theirs)
        if not isinstance(listed, list):
            return theirs
        shown = [item for item in listed if not self._is_hidden(item)]
        return theirs if not items and len(shown) == len(listed) else orjson.dumps([*items, *shown])

    def _is_hidden(self, item: object) -> bool:
        name = item.get("id") if isinstance(item, dict) else None
        namespace = name.partition("/")[0] if isinstance(name, str) and "/" in name else ""
        return bool(namespace) and self._places.hosts_namespace(namespace)

    def _anything_lives_here(self) -> bool:
        return bool(self._places.namespaces())

    # What of upstream's is known here

    def _shows(self, repo: RepoId, repo_type: RepoType, caller: Caller) -> bool:
        return (
            repo.repo_type == repo_type
            and not self._places.hosts(repo)
            and self._proxied.access.sees(caller, repo)
        )

    def _kept(
        self, repos: Sequence[RepoId], question: ListQuestion, bare: Mapping[str, object] | None = None
    ) -> list[dict[str, object]]:
        """Those of upstream's that fit. bare: what is told of one that nobody asked about."""
        views = [view for repo in repos if (view := self._kept_view(repo, bare)) and question.fits(view)]
        views.sort(key=question.sort_key(), reverse=question.descending)
        views = views[: min(question.limit or MAX_PAGE, MAX_PAGE)]
        kind = repos[0].repo_type if repos else "model"
        return [list_item(view, kind, question.asked, question.expand) for view in views]

    def _kept_view(self, repo: RepoId, bare: Mapping[str, object] | None) -> Mapping[str, object] | None:
        ref = self._index.get_ref(repo, DEFAULT_REVISION)
        stored = self._index.get_answer(keys.info(repo, ref.commit_hash)) if ref is not None else None
        said = orjson.loads(stored.body) if stored is not None else None
        if isinstance(said, dict) and "id" in said:
            return said
        return None if bare is None else {"id": repo.repo_id, "author": repo.namespace, **bare}


def _answer(items: object, link: str | None = None) -> Answer:
    headers = (_JSON,) if link is None else (_JSON, ("Link", next_header(link)))
    return Answer(200, headers, orjson.dumps(items), "hit")


def _beyond(header: tuple[str, str]) -> tuple[str, str]:
    """A header; a link to upstream's next page so that what lives here does not come again on it."""
    name, value = header
    if name != "Link":
        return header
    url, _, rest = value.partition(">")
    return name, f"{url}{'&' if '?' in url else '?'}{CURSOR}={BEYOND}>{rest}"


def _path(route: Listing) -> str:
    return f"/api/{route.kind}s"


def _query(query: str, changed: Mapping[str, str]) -> str:
    """The query with these parts in place of its own, and without our cursor unless it is among them."""
    pairs = [pair for pair in parse_qsl(query) if pair[0] not in changed and pair[0] != CURSOR]
    return urlencode([*pairs, *changed.items()])
