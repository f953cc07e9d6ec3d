"""One tree of errors. Each carries the facts; one table at the HTTP edge turns them into statuses.

MoongateError
├─ BadRequest            the caller's mistake
│   └─ BadName           a repo id, revision, path, etag or hash that cannot be one
│       └─ BadPath           a path that a file is to have, and cannot
├─ NotAllowed            who asks may not have it
│   ├─ BadToken          a token that is unknown, revoked or expired
│   ├─ AuthRequired      nobody said who they are, and this gateway wants to know
│   ├─ GatedRepo         the repo is gated, and access was not confirmed
│   ├─ ScopeMissing      the token is good, and not for this
│   ├─ QuotaExceeded     a hosted namespace has no room for it
│   ├─ RefusedByPolicy   what it is, or where it comes from, is not let pass
│   ├─ HeldByPolicy      it waits for somebody to approve it, or for a verdict
│   └─ Recalled          it was recalled, and is served no more
├─ Absent                it is not there, and we are sure
│   ├─ RepoAbsent · RevisionAbsent · EntryAbsent
├─ RepoMoved             the repository has another name now
├─ Conflict              it is there already, or somebody else was faster
│   └─ RefMoved          a ref is not where the change was made for
├─ UpstreamError         the Hub we do not own
│   ├─ UpstreamUnreachable   silent, refused, or 5xx; nothing kept can answer instead
│   ├─ UpstreamTimeout       it took too long
│   ├─ UpstreamBusy          429; carries how long to wait
│   ├─ UpstreamRefused       a redirect or an address that policy forbids
│   └─ UpstreamBroken        an answer that makes no sense (bad JSON, lying sizes)
│       └─ AnswerTooLong     too long to be read whole; it can be passed through
├─ VerificationFailed    the bytes are not what their etag says; nothing was kept
└─ StoreError
    └─ StoreFull         no room, and nothing may be evicted
"""

from __future__ import annotations


class MoongateError(Exception):
    """Anything Moongate raises on purpose. `str(error)` is fit for a user; it holds no secret."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(MoongateError):
    """The caller asked for something that cannot be."""


class BadName(BadRequest):
    """A repo id, revision, path, etag or hash that cannot be one."""


class BadPath(BadName):
    """A path that somebody wants a file to have, and that cannot be one."""


class NotAllowed(MoongateError):
    """Who asks may not have it."""


class BadToken(NotAllowed):
    """The token is unknown, revoked or expired."""


class AuthRequired(NotAllowed):
    """Nobody said who they are, and this gateway wants to know."""


class GatedRepo(NotAllowed):
    """The repo is gated and access was not confirmed; `authenticated` tells 403 from 401."""

    def __init__(self, message: str, *, authenticated: bool) -> None:
        super().__init__(message)
        self.authenticated = authenticated


class ScopeMissing(NotAllowed):
    """The token is good, and not for this."""


class QuotaExceeded(NotAllowed):
    """A hosted namespace has no room for it."""


class RefusedByPolicy(NotAllowed):
    """What it is, or where it comes from, is not let pass. The message tells why."""


class HeldByPolicy(NotAllowed):
    """It waits for somebody to approve it, or for a verdict. The message tells why, and what to do."""


class Recalled(NotAllowed):
    """It was recalled, and is served no more; `recall_id` says by which; empty for one of upstream's."""

    def __init__(self, message: str, recall_id: str) -> None:
        super().__init__(message)
        self.recall_id = recall_id


class Absent(MoongateError):
    """It is not there, and we are sure."""


class RepoAbsent(Absent):
    """No such repository for this caller."""


class RevisionAbsent(Absent):
    """The repository is there; the revision is not."""


class EntryAbsent(Absent):
    """The revision is there; the path is not. Carries the commit so that clients can remember the absence."""

    def __init__(self, message: str, commit_hash: str | None = None) -> None:
        super().__init__(message)
        self.commit_hash = commit_hash


class RepoMoved(MoongateError):
    """A hosted repository has another name now; clients are sent there. `to` is a repository's id alone."""

    def __init__(self, message: str, to: str) -> None:
        super().__init__(message)
        self.to = to


class Conflict(MoongateError):
    """It is there already, or somebody else was faster."""


class RefMoved(Conflict):
    """A ref is not where the change was made for; nothing happened. `found`: where it is, None: nowhere."""

    def __init__(self, message: str, ref: str, found: str | None) -> None:
        super().__init__(message)
        self.ref = ref
        self.found = found


class UpstreamError(MoongateError):
    """The Hub we do not own did not do its part."""


class UpstreamUnreachable(UpstreamError):
    """Silent, refused or 5xx, and nothing kept can answer instead."""


class UpstreamTimeout(UpstreamError):
    """It took too long."""


class UpstreamBusy(UpstreamError):
    """It said 429."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamRefused(UpstreamError):
    """A redirect or an address that policy forbids."""


class UpstreamBroken(UpstreamError):
    """An answer that makes no sense: malformed JSON, lying sizes, a wrong range."""


class AnswerTooLong(UpstreamBroken):
    """An answer that is too long to be read whole. It can still be passed through as it comes."""


class VerificationFailed(MoongateError):
    """The bytes are not what their etag says; nothing was kept."""


class StoreError(MoongateError):
    """Bytes or facts could not be kept."""


class StoreFull(StoreError):
    """No room, and nothing may be evicted."""
