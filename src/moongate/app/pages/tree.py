"""Folders and histories of a repository."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from moongate.app.pages.asking import ask, items, mapping, number, text
from moongate.app.pages.heads import Heads, Known
from moongate.app.pages.visits import Shown, Visit
from moongate.core.digests import Etag, is_sha256, parse_etag
from moongate.core.errors import BadName
from moongate.core.names import RepoId, RepoPath, Revision
from moongate.web.views import CommitsView, CommitView, Crumb, EntryView, TreeView, VerdictView
from moongate.wire import routes
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_COMMITS = 30

VerdictOf = Callable[[Etag], VerdictView | None]


class TreePages:
    """`…/tree/{revision}` and `…/commits/{revision}`."""

    def __init__(self, gateway: Gateway, heads: Heads, verdict_of: VerdictOf) -> None:
        self._gateway = gateway
        self._heads = heads
        self._verdict_of = verdict_of

    async def folder(self, visit: Visit, repo: RepoId, revision: Revision, path: RepoPath | None) -> Shown:
        known = await self._heads.of(visit, repo, revision)
        start = visit.query.get("cursor")
        pairs = [("cursor", start)] if start else []
        if known.hosted:
            pairs.append(("expand", "true"))  # upstream's would be asked anew each time
        told = await ask(self._gateway.repos, routes.Tree(repo, revision, path), visit.caller, pairs)
        entries = items(told.value)
        here = await asyncio.to_thread(self._here, entries) if not known.hosted else set()
        verdicts = await asyncio.to_thread(self._verdicts, entries)
        views = [_entry(repo, revision, entry, here, verdicts) for entry in entries]
        views.sort(key=lambda view: (not view.is_folder, view.name.lower()))
        here_href = page_href(repo, "tree", revision, path or "")
        cursor = dict(parse_qsl(told.next_query or "")).get("cursor")
        view = TreeView(
            revision=revision,
            crumbs=crumbs(repo, revision, path or ""),
            entries=views,
            total_bytes=None if cursor or start else sum(view.size_bytes for view in views),
            older=f"{here_href}?{urlencode({'cursor': cursor})}" if cursor else None,
            judges=bool(verdicts),
            shows_here=not known.hosted,
            shows_changes=known.hosted,
        )
        return _shown("tree", known, "files", f"{path or 'Files'} · {repo.repo_id}", view)

    async def history(self, visit: Visit, repo: RepoId, revision: Revision) -> Shown:
        known = await self._heads.of(visit, repo, revision)
        page = visit.query.get("p", "0")
        pairs = [("p", page), ("limit", str(_COMMITS))] if page != "0" else [("limit", str(_COMMITS))]
        told = await ask(self._gateway.repos, routes.Commits(repo, revision), visit.caller, pairs)
        following = dict(parse_qsl(told.next_query or "")).get("p")
        here = page_href(repo, "commits", revision)
        view = CommitsView(
            revision=revision,
            commits=[_commit(repo, one) for one in items(told.value)],
            newer=f"{here}?{urlencode({'p': int(page) - 1})}" if page.isdecimal() and page != "0" else None,
            older=f"{here}?{urlencode({'p': following})}" if following else None,
        )
        return _shown("commits", known, "history", f"History · {repo.repo_id}", view)

    def _verdicts(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, VerdictView]:
        """What is said of these files, by path."""
        etags = {text(entry.get("path")): _etag(entry) for entry in entries if entry.get("type") == "file"}
        found = {path: self._verdict_of(etag) for path, etag in etags.items() if etag is not None}
        return {path: verdict for path, verdict in found.items() if verdict is not None}

    def _here(self, entries: Sequence[Mapping[str, Any]]) -> set[str]:
        """The paths of those whose content is kept."""
        keeps, xets = self._gateway.fills.keeps, self._gateway.xets
        found = set()
        for entry in entries:
            etag = _etag(entry)
            if etag is not None and (keeps(etag) or (is_sha256(etag) and xets.is_here(etag))):
                found.add(text(entry.get("path")))
        return found


def crumbs(repo: RepoId, revision: str, path: str) -> list[Crumb]:
    """The way from the root to a path; its last part leads nowhere."""
    parts = path.split("/") if path else []
    way: list[Crumb] = [
        (repo.repo_id.rpartition("/")[2], page_href(repo, "tree", revision) if parts else None)
    ]
    for number_of, part in enumerate(parts, 1):
        last = number_of == len(parts)
        way.append((part, None if last else page_href(repo, "tree", revision, "/".join(parts[:number_of]))))
    return way


def download_href(repo: RepoId, revision: str, path: str) -> str:
    """Where a browser gets a file, signed in as it is."""
    return "/-/download" + page_href(
        RepoId("model", f"{repo.repo_type}s/{repo.repo_id}"), "blob", revision, path
    )


def _entry(
    repo: RepoId,
    revision: str,
    entry: Mapping[str, Any],
    here: set[str],
    verdicts: Mapping[str, VerdictView],
) -> EntryView:
    path, is_folder = text(entry.get("path")), entry.get("type") == "directory"
    large, last = mapping(entry.get("lfs")), mapping(entry.get("lastCommit"))
    return EntryView(
        name=path.rpartition("/")[2],
        href=page_href(repo, "tree" if is_folder else "blob", revision, path),
        is_folder=is_folder,
        size_bytes=0 if is_folder else number(large.get("size")) or number(entry.get("size")),
        here=path in here,
        download="" if is_folder else download_href(repo, revision, path),
        changed=text(last.get("date")) or None,
        change=text(last.get("title")),
        verdict=verdicts.get(path),
    )


def _etag(entry: Mapping[str, Any]) -> Etag | None:
    large = mapping(entry.get("lfs"))
    try:
        return parse_etag(text(large.get("oid")) or text(entry.get("oid")))
    except BadName:
        return None


def _commit(repo: RepoId, one: Mapping[str, Any]) -> CommitView:
    commit_hash = text(one.get("id"))
    authors = [text(author.get("user")) or text(author.get("name")) for author in items(one.get("authors"))]
    return CommitView(
        id=commit_hash,
        href=page_href(repo, "tree", commit_hash),
        title=text(one.get("title")) or "(no title)",
        message=text(one.get("message"))[:2000],
        authors=", ".join(filter(None, authors)) or "somebody",
        date=text(one.get("date")) or None,
    )


def _shown(template: str, known: Known, tab: str, title: str, view: object) -> Shown:
    values = {"repo": known.head, "view": view, "tab": tab}
    return Shown(template, title, values, section=f"{known.repo.repo_type}s")
