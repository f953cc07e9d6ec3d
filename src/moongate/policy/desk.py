"""The desk: what was held waits here, approvers decide about it, and waivers come of it.

A hold opens a request, once. An approver grants it for a while, to somebody, for so much, or refuses it; with
`two_persons` a second approver has to agree to what the first one proposed, and nobody approves what they
asked for themselves. Everything is audited before it counts.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

from moongate.core.approvals import EVERYBODY, Request, RequestState, Terms, Waiver
from moongate.core.decisions import Action, Decision
from moongate.core.errors import Absent, BadRequest, Conflict, NotAllowed, StoreError
from moongate.core.names import parse_repo
from moongate.hub.audit import Actor, Audit, AuditEvent
from moongate.policy.facts import Facts
from moongate.policy.waivers import grave_findings, identity, repo_name

MAX_SECONDS: Final = 366 * 86400.0
"""A waiver is an exception with a date: a year at most."""

DEFAULT_SECONDS: Final = 30 * 86400.0
_MAX_COMMENT_CHARS = 2000
_REFUSED_HOLDS_SECONDS = 86400.0
_COUNTED_SECONDS = 60.0
_REMEMBERED = 10_000


class DeskShelf(Protocol):
    """What is needed of the index; see `store.index.approvals` and `store.index.waivers`."""

    def open_request(self, request: Request, asker: str) -> Request: ...
    def get_request(self, request_id: str) -> Request | None: ...
    def last_request(self, key: str) -> Request | None: ...
    def requests(self, state: RequestState | None = None) -> list[Request]: ...
    def propose(self, request_id: str, terms: Terms, who: str) -> bool: ...
    def decide_requests(
        self,
        request_ids: Sequence[str],
        state: RequestState,
        who: str,
        comment: str,
        now: float,
        waiver: Waiver | None = None,
    ) -> list[str]: ...
    def put_waiver(self, waiver: Waiver) -> None: ...
    def get_waiver(self, waiver_id: str) -> Waiver | None: ...
    def waivers(self, now: float | None = None) -> list[Waiver]: ...
    def revoke_waiver(self, waiver_id: str, who: str, now: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Granted:
    """What became of a grant: a waiver, or a proposal that a second approver has to agree to."""

    request: Request
    waiver: Waiver | None
    also: tuple[str, ...] = ()  # further requests that the waiver answers


@dataclass(frozen=True, slots=True)
class NewWaiver:
    """A waiver that nobody had to ask for. See `core.approvals.Waiver`."""

    terms: Terms
    lifts: Literal["hold", "deny"] = "hold"
    repo: str = ""
    commit_hash: str = ""
    path: str = ""
    digest: str = ""
    action: Action = "read"
    rules: tuple[str, ...] = ()


class Desk:
    """Requests and waivers. Blocks; for any thread."""

    def __init__(
        self,
        shelf: DeskShelf,
        audit: Audit,
        clock: Callable[[], float],
        *,
        two_persons: bool = False,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """changed: told after others may pass than before, so that other processes look at once."""
        self._shelf = shelf
        self._audit = audit
        self._clock = clock
        self._two_persons = two_persons
        self._changed = changed
        self._lately: dict[tuple[str, str], tuple[float, str]] = {}

    # What was held

    def held(self, facts: Facts, decision: Decision) -> str:
        """See `asking.Holds.held`."""
        key, now = _key(facts, decision), self._clock()
        lately = self._lately.get((key, facts.actor.name))
        if lately is not None and now < lately[0]:
            return lately[1]
        try:
            request_id = self._opened(key, facts, decision, now)
        except StoreError:
            return ""
        if len(self._lately) >= _REMEMBERED:
            self._lately.clear()
        self._lately[key, facts.actor.name] = (now + _COUNTED_SECONDS, request_id)
        return request_id

    def _opened(self, key: str, facts: Facts, decision: Decision, now: float) -> str:
        last = self._shelf.last_request(key)
        if (
            last is not None
            and last.state == "refused"
            and now - (last.decided_at or 0) < _REFUSED_HOLDS_SECONDS
        ):
            return last.id
        wanted = _request(key, facts, decision, now)
        opened = self._shelf.open_request(wanted, facts.actor.name)
        if opened.id == wanted.id:
            asker = Actor(facts.actor.name, "token" if facts.actor.kind == "token" else "anonymous")
            self._audit.record(_about(opened, "approval.request", asker, opened.reason))
        return opened.id

    def requests(self, state: RequestState | None = "open") -> list[Request]:
        """The newest first, at most a thousand; of every state for None."""
        return self._shelf.requests(state)

    def request(self, request_id: str) -> Request:
        """One of them.

        Raises:
            Absent: there is none with this id.
        """
        found = self._shelf.get_request(request_id)
        if found is None:
            raise Absent(f"there is no request {request_id[:60]!r}")
        return found

    # What approvers say

    def grant(self, request_id: str, terms: Terms | None, by: Actor) -> Granted:
        """Let pass what a request is about. Without terms: agree to those that were proposed.

        Raises:
            Absent, Conflict: there is no such request, or it is decided.
            NotAllowed: they asked for it, or proposed it, themselves.
            BadRequest: the terms make no sense for this request.
        """
        request = self._still_open(request_id)
        self._refuse_own(request, by)
        terms = _agreed(request, terms, by)
        _check_terms(terms, self._clock())
        waiver = self._waiver_for(request, terms, by)
        if self._two_persons and request.proposal is None:
            return self._proposed(request, terms, by)
        also = self._also_covered(request, waiver)
        event = _about(request, "approval.grant", by, terms.comment, _words(waiver))
        self._audit.record(event)
        decided = self._shelf.decide_requests(
            [request.id, *also], "granted", waiver.created_by, terms.comment, self._clock(), waiver
        )
        if request.id not in decided:
            raise Conflict(f"request {request.id} was decided by somebody else just now")
        self._changed()
        self._lately.clear()
        return Granted(self.request(request.id), waiver, tuple(id_ for id_ in decided if id_ != request.id))

    def refuse(self, request_id: str, comment: str, by: Actor) -> Request:
        """Say no; the same hold opens no new request for a day.

        Raises:
            Absent, Conflict: there is no such request, or it is decided.
        """
        request = self._still_open(request_id)
        _check_comment(comment)
        self._audit.record(_about(request, "approval.refuse", by, comment))
        if not self._shelf.decide_requests([request.id], "refused", by.name, comment, self._clock()):
            raise Conflict(f"request {request.id} was decided by somebody else just now")
        return self.request(request.id)

    # Waivers

    def waivers(self, *, ended: bool = False) -> list[Waiver]:
        """Those that hold now, the longest first; with `ended` all, the newest first."""
        return self._shelf.waivers(None if ended else self._clock())

    def waiver(self, waiver_id: str) -> Waiver:
        """One of them, whether it still holds or not.

        Raises:
            Absent: there is none with this id.
        """
        waiver = self._shelf.get_waiver(waiver_id)
        if waiver is None:
            raise Absent(f"there is no waiver {waiver_id[:60]!r}")
        return waiver

    def add_waiver(self, wanted: NewWaiver, by: Actor) -> Waiver:
        """Make an exception that nobody asked for.

        Raises:
            BadRequest: it makes no sense, or is about nothing.
            NotAllowed: exceptions need two persons here, and so a request.
        """
        if self._two_persons:
            raise NotAllowed("Exceptions need two persons here: let the hold open a request, and grant that.")
        _check_terms(wanted.terms, self._clock())
        terms = wanted.terms
        repo = _repo_key(wanted.repo)
        _refuse_shapeless(terms, repo, wanted)
        waiver = Waiver(
            _new_id("w"), terms.scope, terms.subject, wanted.lifts, terms.expires_at, self._clock(), by.name,
            terms.comment, repo, wanted.commit_hash, wanted.path, wanted.digest, terms.finding,
            wanted.action, wanted.rules,
        )  # fmt: skip
        self._audit.record(_about_waiver(waiver, "waiver.create", by))
        self._shelf.put_waiver(waiver)
        self._changed()
        return waiver

    def revoke_waiver(self, waiver_id: str, by: Actor) -> Waiver:
        """Take an exception back, at once.

        Raises:
            Absent: there is none with this id.
            Conflict: it was revoked before.
        """
        waiver = self.waiver(waiver_id)
        if waiver.revoked_at is not None:
            raise Conflict(f"waiver {waiver.id} was revoked before")
        self._audit.record(_about_waiver(waiver, "waiver.revoke", by))
        self._shelf.revoke_waiver(waiver.id, by.name, self._clock())
        self._changed()
        return replace(waiver, revoked_at=self._clock(), revoked_by=by.name)

    # Inside

    def _still_open(self, request_id: str) -> Request:
        request = self.request(request_id)
        if request.state != "open":
            raise Conflict(f"request {request.id} was {request.state} by {request.decided_by}")
        return request

    def _refuse_own(self, request: Request, by: Actor) -> None:
        if self._two_persons and by.name in request.askers:
            raise NotAllowed(f"{by.name} asked for it; somebody else has to approve it here.")

    def _proposed(self, request: Request, terms: Terms, by: Actor) -> Granted:
        event = _about(
            request, "approval.grant", by, terms.comment, {"step": "proposed, a second has to agree"}
        )
        self._audit.record(event)
        if not self._shelf.propose(request.id, terms, by.name):
            raise Conflict(f"somebody else proposed something for {request.id} just now; look again")
        return Granted(self.request(request.id), None)

    def _waiver_for(self, request: Request, terms: Terms, by: Actor) -> Waiver:
        if terms.scope in ("digest", "file", "finding") and not request.path:
            raise BadRequest("the request is about the repository as a whole: only the scope repo fits")
        if terms.scope == "finding":
            grave = set(request.evidence.get("grave") or ())  # type: ignore[call-overload]
            if terms.finding and terms.finding not in grave:
                raise BadRequest(f"the scan did not find {terms.finding[:60]!r} there")
            if len(grave) != 1:
                raise BadRequest("more or less than one thing was found there: approve the file instead")
            terms = replace(terms, finding=next(iter(grave)))
        names = [request.proposed_by, by.name] if request.proposed_by else [by.name]
        exact = terms.scope in ("digest", "file")
        return Waiver(
            _new_id("w"), terms.scope, terms.subject, "hold", terms.expires_at, self._clock(),
            " and ".join(names), terms.comment,
            repo="" if terms.scope == "digest" else request.repo,
            commit_hash=request.commit_hash if terms.scope == "file" else "",
            path=request.path if exact else "",
            digest=request.digest if exact else "",
            finding=terms.finding,
            action=request.action,
            rules=request.rules,
            request_id=request.id,
        )  # fmt: skip

    def _also_covered(self, request: Request, waiver: Waiver) -> list[str]:
        """Further open requests of the repository that the waiver answers."""
        if waiver.scope != "repo" or waiver.subject != EVERYBODY:
            return []
        return [
            other.id
            for other in self._shelf.requests("open")
            if other.id != request.id
            and (other.repo, other.action) == (request.repo, request.action)
            and set(other.rules) <= set(waiver.rules)
        ]


def _request(key: str, facts: Facts, decision: Decision, now: float) -> Request:
    content = facts.content
    evidence: dict[str, Any] = {"facts": facts.as_json(), "grave": sorted(grave_findings(facts))}
    return Request(
        id=_new_id("r"),
        key=key,
        action=facts.action,
        repo=repo_name(facts),
        commit_hash=facts.repo.commit_hash or "",
        path="" if content is None else content.path,
        digest=identity(facts),
        effect=decision.effect,
        rules=decision.rules,
        reason=decision.reason,
        evidence=evidence,
        opened_at=now,
        asked_at=now,
    )


def _key(facts: Facts, decision: Decision) -> str:
    """What makes two holds the same: what for, which content where, and by which rules."""
    content = facts.content
    what = identity(facts) if content is not None else facts.repo.commit_hash or ""
    parts = (facts.action, repo_name(facts), content.path if content else "", what, *decision.rules)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _agreed(request: Request, terms: Terms | None, by: Actor) -> Terms:
    if request.proposal is None:
        if terms is None:
            raise BadRequest("nobody proposed anything yet: say for what, for whom and until when")
        return terms
    if request.proposed_by == by.name:
        raise NotAllowed(f"{by.name} proposed it; somebody else has to agree.")
    if terms is not None and replace(terms, comment="", expires_at=0) != replace(
        request.proposal, comment="", expires_at=0
    ):
        raise Conflict(
            f"{request.proposed_by} proposed the scope {request.proposal.scope} for "
            f"{request.proposal.subject}: agree to that, or refuse the request"
        )
    return request.proposal


def _check_terms(terms: Terms, now: float) -> None:
    _check_comment(terms.comment)
    if not now < terms.expires_at <= now + MAX_SECONDS:
        raise BadRequest("an exception ends in the future, and within a year")
    kind, colon, name = terms.subject.partition(":")
    if terms.subject != EVERYBODY and (kind not in ("user", "team") or not colon or not name):
        raise BadRequest("it is for all, for user:NAME or for team:NAME")


def _check_comment(comment: str) -> None:
    if not comment.strip():
        raise BadRequest("say why, in a comment: whoever reads it later was not here")
    if len(comment) > _MAX_COMMENT_CHARS:
        raise BadRequest(f"a comment has at most {_MAX_COMMENT_CHARS} characters")


def _refuse_shapeless(terms: Terms, repo: str, wanted: NewWaiver) -> None:
    missing = {
        "digest": "" if wanted.digest else "the digest",
        "file": "" if repo and wanted.path and wanted.commit_hash else "a repository, a path and a commit",
        "repo": "" if repo else "the repository",
        "finding": "" if terms.finding else "the rule of the scan",
    }[terms.scope]
    if missing:
        raise BadRequest(f"the scope {terms.scope} needs {missing}")


def _repo_key(text: str) -> str:
    if not text:
        return ""
    repo = parse_repo(text)
    return f"{repo.repo_type}s/{repo.repo_id}"


def _new_id(letter: str) -> str:
    return f"{letter}-{secrets.token_hex(5)}"


def _about(
    request: Request, kind: str, by: Actor, comment: str, details: Mapping[str, object] | None = None
) -> AuditEvent:
    return AuditEvent(
        kind,
        by,
        parse_repo(request.repo),
        request.commit_hash,
        request.path,
        request.digest,
        effect=request.effect,
        rule=request.rules[0] if request.rules else "",
        reason=comment,
        subject=request.id,
        details={"action": request.action, "rules": list(request.rules), **(details or {})},
    )


def _about_waiver(waiver: Waiver, kind: str, by: Actor) -> AuditEvent:
    return AuditEvent(
        kind,
        by,
        parse_repo(waiver.repo) if waiver.repo else None,
        waiver.commit_hash,
        waiver.path,
        waiver.digest,
        reason=waiver.comment,
        subject=waiver.id,
        details=_words(waiver),
    )


def _words(waiver: Waiver) -> dict[str, object]:
    return {
        "waiver": waiver.id,
        "scope": waiver.scope,
        "for": waiver.subject,
        "lifts": waiver.lifts,
        "finding": waiver.finding,
        "rules": list(waiver.rules),
        "until": int(waiver.expires_at),
    }
