"""`/-/audit`: who did, received or was refused what, found by what is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from moongate.app.pages.asking import mapping, number, text
from moongate.app.pages.security import Place, Places, content_href
from moongate.app.pages.visits import PageAnswer, Shown, Visit
from moongate.core.errors import BadName, BadRequest
from moongate.core.names import RepoId, parse_repo
from moongate.hub.audit import KINDS
from moongate.hub.audit_desk import AuditDesk, Search, wanted_of
from moongate.web.audit_views import AuditView, LineView
from moongate.wire.page_paths import page_href

AUDIT_PATH: Final = "/-/audit"
PLACE: Final[Place] = ("audit", "Audit", "list", AUDIT_PATH)
_PAGE = 50
_FIELDS = ("kind", "actor", "repo", "digest", "since", "until")
_BAD = ("deny", "refuse", "lose")
_WARNING = ("file.warn", "scan.detect", "recall.create")
_DAY_SECONDS = 86400.0


class AuditPages:
    """The search, for administrators."""

    def __init__(self, desk: AuditDesk, places: Places) -> None:
        self._desk = desk
        self._places = places

    async def show(self, visit: Visit) -> PageAnswer:
        asked = {name: visit.query.get(name, "").strip() for name in _FIELDS}
        wrong, before = "", _seq(visit.query.get("before", ""))
        lines: list[dict[str, Any]] = []
        try:
            lines = await asyncio.to_thread(self._desk.search, _wanted(asked), _PAGE + 1, before)
        except BadRequest as error:
            wrong = error.message
        kept = {name: value for name, value in asked.items() if value}
        more = len(lines) > _PAGE
        view = AuditView(
            asked=asked,
            kinds=list(KINDS.items()),
            lines=[_line(line) for line in lines[:_PAGE]],
            older=f"{AUDIT_PATH}?{urlencode({**kept, 'before': lines[_PAGE - 1]['seq']})}" if more else None,
            newest=f"{AUDIT_PATH}?{urlencode(kept)}" if before is not None else None,
            wrong=wrong,
        )
        values = {"view": view, "places": self._places(visit), "place": "audit"}
        return Shown("audit", "Audit", values, section="security", status=400 if wrong else 200)


def _wanted(asked: Mapping[str, str]) -> Search:
    until = _day(asked["until"])
    return wanted_of(
        asked["kind"] or None,
        asked["actor"] or None,
        asked["repo"] or None,
        asked["digest"] or None,
        _day(asked["since"]),
        None if until is None else until + _DAY_SECONDS,
    )


def _day(written: str) -> float | None:
    """The beginning of a day, in UTC."""
    if not written:
        return None
    try:
        return datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise BadRequest("A day is written 2026-11-28.") from None


def _seq(written: str) -> int | None:
    return int(written) if written.isascii() and written.isdecimal() and len(written) < 18 else None


def _line(told: Mapping[str, Any]) -> LineView:
    actor, kind, repo = mapping(told.get("actor")), text(told.get("kind")), _repo(text(told.get("repo")))
    path, digest = text(told.get("path")), text(told.get("digest"))
    where = f"{repo}/{path}" if repo and path else str(repo or "") or text(told.get("subject"))
    content = content_href(digest) if digest else ""
    return LineView(
        seq=number(told.get("seq")),
        at=text(told.get("at")),
        kind=kind,
        tone="bad" if kind.endswith(_BAD) else "warn" if kind in _WARNING else "",
        meaning=KINDS.get(kind, ""),
        actor=text(actor.get("name")),
        actor_kind=text(actor.get("kind")),
        address=text(actor.get("address")),
        where=where or (f"content {digest[:12]}" if digest else ""),
        where_href=_href(repo, told, path) or ("" if where else content),
        digest_href=content,
        why=text(told.get("reason")) or text(told.get("rule")),
        raw=orjson.dumps(told, option=orjson.OPT_INDENT_2).decode(),
    )


def _repo(key: str) -> RepoId | None:
    try:
        return parse_repo(key) if key else None
    except BadName:
        return None


def _href(repo: RepoId | None, told: Mapping[str, Any], path: str) -> str:
    if repo is None:
        return ""
    return page_href(repo, "blob", text(told.get("commit")) or "main", path) if path else page_href(repo)
