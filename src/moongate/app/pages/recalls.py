"""`/-/recalls`: what is served no more, who received it, and how to recall or give back something."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlencode

from moongate.app.pages.security import Place, Places, content_href, file_href
from moongate.app.pages.visits import PageAnswer, Sent, Shown, Visit, actor_of_visit
from moongate.core.errors import Absent, BadName, BadRequest
from moongate.core.names import parse_repo
from moongate.hub.recalling import Recall, Recalling, Target, target_of
from moongate.hub.recalls import SURE_SECONDS
from moongate.web.audit_views import RecallLine, RecallsView, ReceiverLine, TraceView
from moongate.wire.page_paths import page_href

RECALLS_PATH: Final = "/-/recalls"
TRACE_PATH: Final = "/-/recalls/trace"
PLACE: Final[Place] = ("recalls", "Recalls", "undo", RECALLS_PATH)
_MOST_RECEIVERS = 200
_MOST_PLACES = 30


class RecallPages:
    """For administrators: look who received it first, then recall."""

    def __init__(self, recalling: Recalling, places: Places) -> None:
        self._recalling = recalling
        self._places = places

    async def list(self, visit: Visit) -> PageAnswer:
        return await self._list(visit, visit.query.get("target", ""))

    async def trace(self, visit: Visit) -> PageAnswer:
        """Who received what is named, or what a recall is of."""
        recall_id, words = visit.query.get("id", ""), visit.query.get("target", "").strip()
        row = await asyncio.to_thread(self._recalling.show, recall_id) if recall_id else None
        try:
            target = await asyncio.to_thread(self._meant, row, words)
        except (BadRequest, Absent) as error:
            return await self._list(visit, words, visit.query.get("reason", ""), error.message)
        view = await asyncio.to_thread(self._traced, target, row, visit.query.get("reason", ""))
        return self._shown(visit, "trace", "Who received it", view)

    async def recall(self, visit: Visit) -> PageAnswer:
        """Recalls; answers once no process serves it any more."""
        words, reason = visit.form.get("target", "").strip(), visit.form.get("reason", "").strip()
        if not reason:
            return await self._list(visit, words, reason, "Say why: whoever is refused will read it.")
        try:
            target = await asyncio.to_thread(self._recalling.target, words)
        except (BadRequest, Absent) as error:
            return await self._list(visit, words, reason, error.message)
        row = await asyncio.to_thread(self._recalling.recall, target, reason, actor_of_visit(visit))
        await asyncio.sleep(SURE_SECONDS)
        return Sent(_href(row))

    async def undo(self, visit: Visit) -> PageAnswer:
        await asyncio.to_thread(self._recalling.undo, visit.form.get("id", ""), actor_of_visit(visit))
        return Sent(RECALLS_PATH)

    async def _list(self, visit: Visit, target: str = "", reason: str = "", wrong: str = "") -> Shown:
        rows = await asyncio.to_thread(self._recalling.recalls)
        ordered = sorted(rows, key=lambda row: (row.undone_at is not None, -row.made_at))
        view = RecallsView([_line(row) for row in ordered], target, reason, wrong)
        return self._shown(visit, "recalls", "Recalls", view, status=400 if wrong else 200)

    def _meant(self, row: Recall | None, words: str) -> Target:
        return target_of(row) if row is not None else self._recalling.target(words)

    def _traced(self, target: Target, row: Recall | None, reason: str) -> TraceView:
        trace = self._recalling.trace(target)
        receivers = [
            ReceiverLine(
                user=one.user,
                kind=one.kind,
                token=one.token,
                address=one.address,
                what=_place(one.repo, one.path),
                deliveries=one.deliveries,
                size_bytes=one.bytes,
                last_at=one.last_at,
            )
            for one in trace.receivers[:_MOST_RECEIVERS]
        ]
        return TraceView(
            target=target.words,
            what=_what(target.digest, str(target.repo or ""), target.commit_hash),
            recall=_line(row) if row is not None else None,
            receivers=receivers,
            users=len({(one.user, one.address) for one in trace.receivers}),
            places=[
                (f"{file.repo}/{file.entry.path}", file_href(file)) for file in trace.places[:_MOST_PLACES]
            ],
            deployments=[(one.name, one.where) for one in trace.deployments],
            reason=reason,
        )

    def _shown(self, visit: Visit, template: str, title: str, view: object, status: int = 200) -> Shown:
        values = {"view": view, "places": self._places(visit), "place": "recalls"}
        return Shown(template, title, values, section="security", status=status)


def _place(key: str, path: str) -> str:
    """What a line of the log is about, as people write it."""
    try:
        repo = str(parse_repo(key))
    except BadName:  # the log keeps what it was told
        repo = key
    return f"{repo}/{path}" if path else repo


def _what(digest: str | None, repo: str, commit: str | None) -> str:
    if digest is not None:
        return f"content {digest[:16]}…"
    return f"{repo}@{commit[:12]}" if commit else repo


def _href(row: Recall) -> str:
    return f"{TRACE_PATH}?{urlencode({'id': row.id})}"


def _line(row: Recall) -> RecallLine:
    return RecallLine(
        id=row.id,
        what=_what(row.digest, str(row.repo or ""), row.commit_hash),
        what_href=content_href(row.digest) if row.digest else page_href(row.repo) if row.repo else "",
        reason=row.reason,
        made_by=row.made_by,
        made_at=row.made_at,
        undone_by=row.undone_by or "",
        undone_at=row.undone_at,
    )
