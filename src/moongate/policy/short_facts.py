"""Facts as people write them, in tests beside rules and in files for `moongate policy explain`.

Flat and short: `{repo: acme/tiny, actor: ada, path: model.bin, verdict: dangerous}`. What is left out is not
known, except that nobody named asks, to read, for a repository that is not hosted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moongate.core.decisions import Action
from moongate.core.errors import BadName, BadRequest
from moongate.core.names import is_commit_hash, parse_repo
from moongate.core.verdicts import Verdict
from moongate.policy.facts import Actor, Content, Facts, Found, Repository, Signature
from moongate.policy.fields import SEVERITIES
from moongate.policy.wanted import nearest

_DAY_SECONDS: Final = 86400.0


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


def facts_from(told: Mapping[str, Any], now: float) -> Facts:
    """The facts that a short form means, asked at `now`.

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
