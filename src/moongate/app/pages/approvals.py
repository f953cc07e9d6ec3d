"""What was held: the queue, one request with its evidence, and the decision. Exceptions that hold now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from moongate.app.pages.asking import items, mapping, start_of, text
from moongate.app.pages.security import Place, Places, content_href
from moongate.app.pages.visits import PageAnswer, Sent, Shown, Visit, actor_of_visit
from moongate.core.approvals import MOST_REQUESTS, SCOPES, Request, Scope, Terms, Waiver
from moongate.core.digests import Etag, parse_etag
from moongate.core.errors import BadName, BadRequest, Conflict, MoongateError, NotAllowed
from moongate.core.names import parse_repo
from moongate.policy.desk import Desk
from moongate.web.approval_views import ApprovalsView, RequestLine, RequestView, WaiverLine
from moongate.web.security_views import EvidenceView, HoldLine
from moongate.wire.page_paths import page_href

APPROVALS_PATH: Final = "/-/approvals"
REQUEST_PATH: Final = "/-/approvals/request"
PLACE: Final[Place] = ("approvals", "Approvals", "check", APPROVALS_PATH)
_SPANS: Final = (
    ("1", "a day"),
    ("7", "a week"),
    ("30", "a month"),
    ("90", "a quarter"),
    ("365", "a year"),
)
_SCOPE_WORDS: Final[Mapping[Scope, str]] = {
    "file": "this file at this commit",
    "digest": "these bytes, wherever they are",
    "repo": "everything in the repository",
    "finding": "files of the repository with only this finding",
}
_MOST_DECIDED = 30
_PAGE = 50
_MAX_SEARCH_CHARS = 200


Evidence = Callable[[Etag], EvidenceView | None]
"""All that is said of a content."""


class ApprovalPages:
    """The desk, for approvers: each sees and decides what is theirs."""

    def __init__(self, desk: Desk, places: Places, evidence: Evidence) -> None:
        self._desk = desk
        self._places = places
        self._evidence = evidence

    def holds(self, visit: Visit) -> Sequence[HoldLine]:
        """What waits for this approver, the newest first. Blocks."""
        return [
            HoldLine(_name(request), _href(request), request.reason, request.asked_at, request.asked_count)
            for request in self._desk.requests("open")
            if _is_theirs(visit, request)
        ]

    async def queue(self, visit: Visit) -> PageAnswer:
        view = await asyncio.to_thread(self._queue, visit)
        values = {"view": view, "places": self._places(visit), "place": "approvals"}
        return Shown("approvals", "Approvals", values, section="security")

    async def request(self, visit: Visit) -> PageAnswer:
        return await self._shown(visit, visit.query.get("id", ""))

    async def decide(self, visit: Visit) -> PageAnswer:
        """Grants, agrees or refuses, as the button says."""
        request_id = visit.form.get("id", "")
        request = await asyncio.to_thread(self._theirs, visit, request_id)
        try:
            await asyncio.to_thread(self._decide, visit, request)
        except (BadRequest, Conflict, NotAllowed) as error:
            return await self._shown(visit, request_id, error)
        return Sent(f"{REQUEST_PATH}?{urlencode({'id': request_id})}")

    async def revoke(self, visit: Visit) -> PageAnswer:
        """Takes an exception back."""
        waiver_id = visit.form.get("id", "")
        await asyncio.to_thread(self._revoke, visit, waiver_id)
        return Sent(APPROVALS_PATH)

    def _queue(self, visit: Visit) -> ApprovalsView:
        search = visit.query.get("search", "")[:_MAX_SEARCH_CHARS].strip()
        every = self._desk.requests("open")
        waiting = [
            request
            for request in every
            if _is_theirs(visit, request) and search.lower() in _name(request).lower()
        ]
        decided = [
            _line(request)
            for request in self._desk.requests(None)
            if request.state != "open" and _is_theirs(visit, request)
        ]
        start = start_of(visit.query.get("from", "0"))
        return ApprovalsView(
            waiting=[_line(request) for request in waiting[start : start + _PAGE]],
            total=f"{len(waiting):,}" + ("+" if len(every) >= MOST_REQUESTS else ""),
            search=search,
            newer=_queue_href(search, max(0, start - _PAGE)) if start else None,
            older=_queue_href(search, start + _PAGE) if start + _PAGE < len(waiting) else None,
            decided=decided[:_MOST_DECIDED],
            waivers=[_waiver(waiver) for waiver in self._desk.waivers() if _may_revoke(visit, waiver)],
        )

    async def _shown(self, visit: Visit, request_id: str, wrong: MoongateError | None = None) -> Shown:
        request = await asyncio.to_thread(self._theirs, visit, request_id)
        found = await asyncio.to_thread(self._found, request)
        view = _view(request, visit, found, wrong.message if wrong is not None else "")
        values = {"view": view, "places": self._places(visit), "place": "approvals"}
        status = 200 if wrong is None else 409 if isinstance(wrong, Conflict) else 400
        return Shown("request", view.name, values, section="security", status=status)

    def _found(self, request: Request) -> EvidenceView | None:
        """What is said of the content now; that may be more than it was held by."""
        etag = request.digest or text(_content(request).get("etag"))
        try:
            return self._evidence(parse_etag(etag)) if etag else None
        except BadName:
            return None

    def _theirs(self, visit: Visit, request_id: str) -> Request:
        request = self._desk.request(request_id)
        if not _is_theirs(visit, request):
            raise NotAllowed("This is for the approvers of its namespace.")
        return request

    def _decide(self, visit: Visit, request: Request) -> None:
        form, by = visit.form, actor_of_visit(visit)
        if form.get("decision") == "refuse":
            self._desk.refuse(request.id, form.get("comment", ""), by)
            return
        if form.get("decision") != "grant":
            raise BadRequest("Grant it, or refuse it.")
        if request.proposal is not None:
            self._desk.grant(request.id, None, by)
            return
        scope, days = form.get("scope", ""), form.get("days", "")
        if scope not in SCOPES or days not in dict(_SPANS):
            raise BadRequest("Say for what, and until when.")
        ends = time.time() + int(days) * 86400
        terms = Terms(scope, form.get("subject", "") or "all", ends, form.get("comment", ""))
        self._desk.grant(request.id, terms, by)

    def _revoke(self, visit: Visit, waiver_id: str) -> None:
        waiver = next((one for one in self._desk.waivers() if one.id == waiver_id), None)
        if waiver is None or not _may_revoke(visit, waiver):
            raise NotAllowed("There is no such exception, or it is not yours to take back.")
        self._desk.revoke_waiver(waiver.id, actor_of_visit(visit))


def _is_theirs(visit: Visit, request: Request) -> bool:
    return visit.is_admin or visit.caller.approves(parse_repo(request.repo).namespace)


def _may_revoke(visit: Visit, waiver: Waiver) -> bool:
    if visit.is_admin or not waiver.repo:
        return visit.is_admin or "approver" in visit.caller.roles
    return visit.caller.approves(parse_repo(waiver.repo).namespace)


def _name(request: Request) -> str:
    repo = str(parse_repo(request.repo))
    return f"{repo}/{request.path}" if request.path else repo


def _queue_href(search: str, start: int) -> str:
    asked = {"search": search} if search else {}
    return f"{APPROVALS_PATH}?{urlencode({**asked, 'from': start})}"


def _href(request: Request) -> str:
    return f"{REQUEST_PATH}?{urlencode({'id': request.id})}"


def _line(request: Request) -> RequestLine:
    return RequestLine(
        name=_name(request),
        href=_href(request),
        reason=request.reason,
        state=request.state,
        asked_at=request.asked_at,
        asked_count=request.asked_count,
        decided_by=request.decided_by,
        decided_at=request.decided_at,
        is_proposed=request.proposal is not None,
    )


def _waiver(waiver: Waiver) -> WaiverLine:
    repo = str(parse_repo(waiver.repo)) if waiver.repo else "anywhere"
    return WaiverLine(
        id=waiver.id,
        name=f"{repo}/{waiver.path}" if waiver.path else repo,
        scope=_SCOPE_WORDS[waiver.scope],
        subject=waiver.subject,
        created_by=waiver.created_by,
        expires_at=waiver.expires_at,
        comment=waiver.comment,
    )


def _view(request: Request, visit: Visit, found: EvidenceView | None, wrong: str) -> RequestView:
    repo = parse_repo(request.repo)
    file_href = page_href(repo, "blob", request.commit_hash or "main", request.path) if request.path else ""
    scopes = [
        (scope, words)
        for scope, words in _SCOPE_WORDS.items()
        if (scope == "repo" or request.path) and (scope != "finding" or len(_grave(request)) == 1)
    ]
    return RequestView(
        id=request.id,
        name=_name(request),
        repo=str(repo),
        repo_href=page_href(repo),
        file_href=file_href,
        evidence_href=content_href(request.digest) if request.digest else "",
        action=request.action,
        effect=request.effect,
        reason=request.reason,
        rules=request.rules,
        commit=request.commit_hash,
        digest=request.digest,
        findings=_findings(request),
        evidence=found,
        askers=request.askers,
        opened_at=request.opened_at,
        asked_at=request.asked_at,
        asked_count=request.asked_count,
        state=request.state,
        decided_by=request.decided_by,
        decided_at=request.decided_at,
        comment=request.comment,
        scopes=scopes,
        spans=_SPANS,
        proposal=_proposal(request),
        own_proposal=request.proposed_by == visit.caller.user and request.proposal is not None,
        wrong=wrong,
        said=visit.form.get("comment", ""),
    )


def _proposal(request: Request) -> str:
    terms = request.proposal
    if terms is None:
        return ""
    return (
        f"{request.proposed_by} would allow {_SCOPE_WORDS[terms.scope]}, for {terms.subject}: {terms.comment}"
    )


def _grave(request: Request) -> Sequence[str]:
    told = request.evidence.get("grave")
    return [str(one) for one in told] if isinstance(told, list | tuple) else []


def _content(request: Request) -> Mapping[str, Any]:
    """What was known of the content when it was held."""
    facts = mapping(request.evidence.get("facts"))
    return mapping(facts.get("content") or facts.get("file"))


def _findings(request: Request) -> list[tuple[str, str]]:
    """The findings among the facts that it was held by: each a rule and a severity."""
    return [
        (text(one.get("rule")), text(one.get("severity"))) for one in items(_content(request).get("findings"))
    ]
