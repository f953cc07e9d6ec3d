"""`GateFacts`: what is known of a question, from everybody who knows something of it, as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from moongate.core.callers import Caller
from moongate.core.decisions import Action
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileAt
from moongate.core.verdicts import Finding, Judged, Severity
from moongate.policy.facts import Actor, Content, Facts, Found, Repository, Signature

_UNSIGNED = Signature()


@dataclass(frozen=True, slots=True)
class GateFacts:
    """Whom to ask. All but `signature` are point reads at most, fit for an event loop.

    repository: a repository with all that is known of it. hits: what threat feeds say of a file and its
    repository. actor: who asks, with teams and roles. digest: the sha256 of content, where it is known.
    signature: of a file; may block. signature_at_hand: the same when it was looked up lately, else None.
    is_recalled: whether a content was taken back.
    """

    repository: Callable[[RepoId, CommitHash], Repository]
    hits: Callable[[FileAt], tuple[Finding, ...]] = lambda file: ()
    actor: Callable[[Caller], Actor] = lambda caller: Actor(
        caller.user, caller.kind, caller.teams, caller.roles
    )
    digest: Callable[[Etag], str | None] = lambda etag: etag if len(etag) == 64 else None
    signature: Callable[[FileAt], Signature] = lambda file: _UNSIGNED
    signature_at_hand: Callable[[FileAt], Signature | None] = lambda file: _UNSIGNED
    feed_age_seconds: Callable[[], float | None] = lambda: None
    is_recalled: Callable[[Etag], bool] = lambda etag: False

    def of_file(
        self,
        action: Action,
        file: FileAt,
        actor: Actor,
        judged: Judged | None,
        signature: Signature,
        at: float,
    ) -> Facts:
        """What the policy is told of a question about a file."""
        entry, hits = file.entry, self.hits(file)
        content = Content(
            str(entry.path),
            size_bytes=entry.size_bytes,
            digest=self.digest(entry.etag),
            etag=entry.etag,
        )
        if any(hit.severity >= Severity.HIGH for hit in hits):
            content = replace(content, verdict="dangerous", findings=_found(hits))
        if judged is not None:
            report = judged.report
            content = replace(
                content,
                formats=report.formats,
                verdict=content.verdict or report.verdict,
                findings=_found((*hits, *report.findings)),
                complete=judged.basis == "whole" and report.verdict not in ("failed", "unscanned"),
            )
        told = self.of_repo(action, file.repo, file.commit_hash, actor, at)
        return replace(told, content=content, signature=signature)

    def of_repo(
        self, action: Action, repo: RepoId, commit_hash: CommitHash, actor: Actor, at: float
    ) -> Facts:
        """What the policy is told of a question about a repository as a whole."""
        known = replace(
            self.repository(repo, commit_hash), commit_hash=commit_hash or None, pinned=bool(commit_hash)
        )
        return Facts(action, actor, known, at, feed_age_seconds=self.feed_age_seconds())


def _found(findings: Iterable[Finding]) -> tuple[Found, ...]:
    return tuple(Found(one.rule, one.severity.name.lower()) for one in findings)
