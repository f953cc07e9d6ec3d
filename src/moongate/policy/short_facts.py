"""Facts as people write them, in tests beside rules and in files for `moongate policy explain`.

Flat and short: `{repo: acme/tiny, actor: ada, path: model.bin, verdict: dangerous}`. What is left out is not
known, except that nobody named asks, to read, for a repository that is not hosted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moongate.core.decisions import Action
from moongate.core.errors import BadName, BadRequest
from moongate.core.names import RepoId, is_commit_hash, parse_repo
from moongate.core.verdicts import Verdict
from moongate.policy.facts import Actor, Content, Facts, Found, Repository, Signature
from moongate.policy.fields import SEVERITIES
from moongate.policy.wanted import nearest

_DAY_SECONDS: Final = 86400.0


_OF_REPO: Final = {
    name: name
    for name in (
        "hosted",
        "commit_hash",
        "private",
        "gated",
        "licence",
        "tags",
        "downloads",
        "likes",
        "base_models",
    )
} | {
    "age_days": "created_at",
    "modified_days": "modified_at",
    "repo_size": "size_bytes",
}
_OF_CONTENT: Final = {name: name for name in ("formats", "digest", "verdict", "findings", "complete")} | {
    "file_size": "size_bytes"
}
_OF_SIGNATURE: Final = {"signed": "signed", "signature_valid": "valid", "signer": "signer"}
"""Where each short name stands in the facts."""


class ShortFacts(BaseModel):
    """One question, in short."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str = Field(description="`acme/tiny`, `datasets/acme/squad`, `spaces/acme/app`.")
    action: Action = "read"
    actor: str = "anonymous"
    actor_kind: str = "token"
    teams: list[str] = []
    roles: list[str] = []
    hosted: bool = False
    revision: str | None = None
    commit_hash: str | None = None
    private: bool | None = None
    gated: bool | None = None
    licence: str | None = None
    tags: list[str] | None = None
    base_models: list[str] | None = None
    age_days: float | None = None
    modified_days: float | None = None
    downloads: int | None = None
    likes: int | None = None
    repo_size: int | None = None
    path: str | None = Field(default=None, description="A file; without it the repository is asked for.")
    formats: list[str] | None = None
    file_size: int | None = None
    digest: str | None = None
    verdict: Verdict | None = None
    findings: list[str] | None = Field(
        default=None, description="`rule` or `rule:severity`; medium when left out."
    )
    complete: bool | None = None
    signed: bool | None = None
    signature_valid: bool | None = None
    signer: str | None = None
    feed_age_days: float | None = None


Known: TypeAlias = Callable[[Action, RepoId, str | None, str | None, Actor], Facts]
"""What is known of a question: action, repository, revision, path, and who asks."""


def facts_from(told: Mapping[str, Any], now: float, known: Known | None = None) -> Facts:
    """The facts that a short form means, asked at `now`; known: of what it leaves out.

    Raises:
        BadRequest: it is malformed, in words for whoever wrote it.
    """
    try:
        short = ShortFacts.model_validate(dict(told))
        repo = parse_repo(short.repo)
    except ValidationError as error:
        raise BadRequest("; ".join(_problem(detail) for detail in error.errors())) from None
    except BadName as error:
        raise BadRequest(error.message) from None
    typed = _typed(short, repo, now)
    if known is None:
        return typed
    found = known(short.action, repo, short.revision, short.path, typed.actor)
    return _over(found, typed, short.model_fields_set)


def _typed(short: ShortFacts, repo: RepoId, now: float) -> Facts:
    revision = short.revision
    return Facts(
        short.action,
        Actor(short.actor, short.actor_kind, tuple(short.teams), tuple(short.roles)),
        Repository(
            repo.repo_type,
            repo.repo_id,
            hosted=short.hosted,
            revision=revision,
            commit_hash=short.commit_hash,
            pinned=revision is not None and is_commit_hash(revision),
            private=short.private,
            gated=short.gated,
            licence=short.licence,
            tags=_texts(short.tags),
            created_at=_since(now, short.age_days),
            modified_at=_since(now, short.modified_days),
            downloads=short.downloads,
            likes=short.likes,
            size_bytes=short.repo_size,
            base_models=_texts(short.base_models),
        ),
        at=now,
        content=_content(short),
        signature=Signature(short.signed, short.signature_valid, short.signer),
        feed_age_seconds=None if short.feed_age_days is None else short.feed_age_days * _DAY_SECONDS,
    )


def _over(known: Facts, typed: Facts, names: set[str]) -> Facts:
    """What is known, but for what somebody typed."""
    content = known.content
    if content is not None and typed.content is not None:
        content = replace(content, **_chosen(typed.content, _OF_CONTENT, names))
    feed_age = typed.feed_age_seconds if "feed_age_days" in names else known.feed_age_seconds
    repo = replace(known.repo, **_chosen(typed.repo, _OF_REPO, names))
    signature = replace(known.signature, **_chosen(typed.signature, _OF_SIGNATURE, names))
    return replace(
        known, at=typed.at, repo=repo, content=content, signature=signature, feed_age_seconds=feed_age
    )


def _chosen(typed: object, fields: Mapping[str, str], names: set[str]) -> dict[str, Any]:
    return {field: getattr(typed, field) for name, field in fields.items() if name in names}


def _content(short: ShortFacts) -> Content | None:
    if short.path is None:
        for name in ("formats", "file_size", "digest", "verdict", "findings", "complete"):
            if getattr(short, name) is not None:
                raise BadRequest(f"{name!r} is about a file: name its path")
        return None
    findings = None if short.findings is None else tuple(_found(word) for word in short.findings)
    return Content(
        short.path,
        _texts(short.formats),
        short.file_size,
        short.digest,
        None,
        short.verdict,
        findings,
        short.complete,
    )


def _found(word: str) -> Found:
    rule, _, severity = word.partition(":")
    if severity and severity not in SEVERITIES:
        raise BadRequest(
            f"{severity[:60]!r} is none of {', '.join(SEVERITIES)}{nearest(severity, SEVERITIES)}"
        )
    return Found(rule, severity or "medium")


def _texts(told: list[str] | None) -> tuple[str, ...] | None:
    return None if told is None else tuple(told)


def _since(now: float, days: float | None) -> float | None:
    return None if days is None else now - days * _DAY_SECONDS


def _problem(detail: Mapping[str, Any]) -> str:
    name = str(detail["loc"][0]) if detail["loc"] else "facts"
    if detail["type"] == "extra_forbidden":
        return f"unknown fact {name[:60]!r}{nearest(name, list(ShortFacts.model_fields))}"
    words = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {words[:1].lower()}{words[1:]}"
