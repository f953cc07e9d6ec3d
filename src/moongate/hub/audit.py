"""What an auditor will want to know: who did, received or was refused what, as events.

    note      written soon, with many others; a crash may lose what waited (deliveries)
    record    written when it returns; call it before the answer goes out (denials, approvals, administration)
    recorded  as `record`, for an event loop

Whoever knows that something happened makes the `AuditEvent` and says so here; how lines are kept, chained and
signed is the log's business. No event holds a secret: a token is told by its id or fingerprint, an address
without its query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from moongate.core.callers import Caller
from moongate.core.names import CommitHash, RepoId, RepoPath

ActorKind: TypeAlias = Literal["anonymous", "local", "token", "upstream", "person", "service", "system"]
"""`local`: the user of this machine, at its command line or from loopback. `system`: the gateway itself."""

KINDS: Final[Mapping[str, str]] = {
    # what left, and what did not
    "file.deliver": "bytes of a file went to a client, by a plain read or by a Xet reconstruction",
    "git.fetch": "git objects of a hosted repository went to a client",
    "file.deny": "a file was refused by policy or by its verdict",
    "repo.deny": "a repository was refused by policy, or to somebody without access",
    "commit.deny": "a commit or a push was refused by policy or by the verdict of what it brought",
    "file.warn": "a file was let pass with a warning",
    "scan.detect": "a scan found content that is suspicious or dangerous",
    # what was decided
    "approval.request": "somebody, or a hold, asked for an approval",
    "approval.grant": "an approval was given",
    "approval.refuse": "an approval was refused",
    "approval.revoke": "an approval was taken back",
    "waiver.create": "a dated exception was made",
    "waiver.revoke": "a dated exception was taken back",
    "policy.change": "the rules changed",
    "feed.change": "threat intelligence was added, refreshed, approved, refused or removed",
    "recall.create": "content was recalled: it is served no more",
    "recall.undo": "a recall was taken back",
    "webhook.create": "events go to another address from here on",
    "webhook.delete": "events go to an address no more",
    # who came in
    "token.create": "a token was made",
    "token.revoke": "a token was revoked",
    "token.use": "a token was used, from an address it was not used from lately",
    "token.refuse": "a token was refused: unknown, revoked, expired, or not for this",
    "token.exchange": "an identity from elsewhere was exchanged for a token",
    "session.start": "somebody signed in",
    "session.refuse": "somebody could not sign in",
    "session.end": "somebody signed out",
    "session.lend": "somebody allowed a device to act as them, or denied it",
    "trust.create": "signed tokens of an issuer were trusted to stand for somebody",
    "trust.delete": "a trust was taken back",
    "account.create": "a service account was made",
    "account.change": "an account was disabled or enabled",
    # who may
    "access.grant": "a user was granted repositories, a role or a team",
    "access.revoke": "a grant, a role or a team was taken back",
    "namespace.create": "a namespace was made",
    "namespace.change": "a namespace's settings or quota changed",
    "namespace.delete": "a namespace was removed",
    # what is kept
    "repo.create": "a hosted repository was made",
    "repo.change": "a hosted repository's visibility or settings changed",
    "repo.move": "a hosted repository was renamed or moved",
    "repo.delete": "a hosted repository was deleted, or a proxied one removed from what is kept",
    "repo.commit": "a commit landed on a hosted repository, by the API or by a push",
    "repo.sign": "a repository or snapshot was signed",
    "repo.attest": "what happened to a commit here was stated and signed",
    "repo.discuss": "a discussion of a hosted repository was opened or changed",
    "ref.create": "a branch or tag was made",
    "ref.delete": "a branch or tag was deleted",
    "bundle.export": "repositories were written to a bundle",
    "bundle.import": "repositories were taken from a bundle",
    "content.pull": "an operator had files fetched",
    "content.verify": "an operator had everything hashed again",
    "content.evict": "an operator asked for room to be made",
    "content.collect": "an operator asked for what nothing needs to be removed",
    "pin.create": "a repository was pinned",
    "pin.delete": "a pin was removed",
    # the log itself
    "audit.start": "the log began, or a key signs its checkpoints from here on",
    "audit.lose": "lines were given up because they could not be written; `details.lines` of them",
    "audit.archive": "old lines were moved to an archive",
}
"""Every kind of event, as `scope.action`, and what it means. Whoever needs another adds a row."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it. `name` is a user, or the beginning of a fingerprint; never a token.

    address: the peer's, without a port; empty at a command line.
    """

    name: str
    kind: ActorKind
    token_id: str = ""
    address: str = ""
    agent: str = ""


SYSTEM: Final = Actor("moongate", "system")
"""The gateway by itself."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened.

    digest: an etag (git oid or sha256), or a xet hash, of the content concerned.
    effect, rule, reason: what was decided, by which rule, in words for whoever reads.
    subject: what it was done to, when that is no repository: a token's id, a user, a namespace, a rule.
    details: more facts, fit for JSON: texts, whole numbers, booleans, lists and mappings of them.
    at: seconds since the epoch; 0 means now.
    """

    kind: str
    actor: Actor
    repo: RepoId | None = None
    commit_hash: CommitHash | str = ""
    path: RepoPath | str = ""
    digest: str = ""
    effect: str = ""
    rule: str = ""
    reason: str = ""
    subject: str = ""
    request_id: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    at: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of event; see KINDS")


class Audit(Protocol):
    """Where events go. Every method may be called from any thread."""

    def note(self, event: AuditEvent) -> None:
        """Write it soon. Never waits, never raises; a crash may lose it until it is written."""

    def record(self, event: AuditEvent) -> None:
        """Write it; when this returns, no crash can lose it. Waits, so not for an event loop.

        Raises:
            StoreError: it could not be written. Whatever it is about must then not be answered as done.
        """

    async def recorded(self, event: AuditEvent) -> None:
        """As `record`, for an event loop."""

    def settled(self) -> Callable[[], bool]:
        """What says whether all that was noted up to this call is written. Never waits."""


class NoAudit:
    """Writes nothing down."""

    def note(self, event: AuditEvent) -> None: ...

    def record(self, event: AuditEvent) -> None: ...

    async def recorded(self, event: AuditEvent) -> None: ...

    def settled(self) -> Callable[[], bool]:
        return lambda: True


def actor_of(caller: Caller, address: str | None = None, agent: str | None = None) -> Actor:
    """A caller as an actor, with where they asked from and what their client calls itself."""
    kind: ActorKind = caller.kind
    if caller.kind == "anonymous" and caller.is_operator:
        kind = "local"
    elif caller.service:
        kind = "service"
    elif caller.method == "session":
        kind = "person"
    return Actor(caller.user, kind, caller.token_id, address or "", (agent or "")[:_MAX_AGENT_CHARS])


_MAX_AGENT_CHARS = 256
