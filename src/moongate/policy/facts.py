"""What rules may look at when somebody wants to do something.

Whoever asks fills in what is known. `None` says that a fact is not known, which is not the same as an empty
answer: a repository without tags has `tags=()`. A condition on an unknown fact is neither true nor false:
no rule that lets something pass is ever moved by it, and a rule that stops something is, unless it says
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from moongate.core.decisions import Action
from moongate.core.names import RepoType
from moongate.core.verdicts import Verdict
from moongate.policy.licences import LicenceGroup, licence_group

_DAY_SECONDS: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. kind: as `core.callers.Caller.kind`, or a newer kind of identity."""

    name: str = "anonymous"
    kind: str = "anonymous"
    teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository as it is asked for.

    revision: what was asked; commit_hash: what it resolved to. pinned: a commit hash was asked, so that what
    comes cannot change.
    licence: the first one that the card names, in its own words; an empty text: the card names none.
    created_at, modified_at: seconds since the epoch, by upstream's word, or ours for what is hosted.
    downloads, likes: by upstream's word. They can be bought; let them raise suspicion, never lower it.
    base_models: what the card names, the nearest first.
    """

    repo_type: RepoType
    repo_id: str
    hosted: bool = False
    revision: str | None = None
    commit_hash: str | None = None
    pinned: bool = False
    private: bool | None = None
    gated: bool | None = None
    licence: str | None = None
    tags: tuple[str, ...] | None = None
    created_at: float | None = None
    modified_at: float | None = None
    downloads: int | None = None
    likes: int | None = None
    size_bytes: int | None = None
    base_models: tuple[str, ...] | None = None

    @property
    def organisation(self) -> str:
        """The namespace; empty for a bare legacy id such as `gpt2`."""
        return self.repo_id.partition("/")[0] if "/" in self.repo_id else ""

    @property
    def licence_group(self) -> LicenceGroup | None:
        """The group of the licence; None when the licence is not known."""
        return None if self.licence is None else licence_group(self.licence)


@dataclass(frozen=True, slots=True)
class Found:
    """One kind of thing that a scan found in the file."""

    rule: str
    severity: str


@dataclass(frozen=True, slots=True)
class Content:
    """The file that is asked for.

    formats: by content, as the scan names them (`pickle`, `safetensors`, …), the file's own first and then
    those of its members.
    digest: sha256; etag: the content's identity on the Hub.
    complete: the scan looked at everything there is.
    verdict: None only when nothing here has ever judged; *unscanned* and *failed* are verdicts.
    """

    path: str
    formats: tuple[str, ...] | None = None
    size_bytes: int | None = None
    digest: str | None = None
    etag: str | None = None
    verdict: Verdict | None = None
    findings: tuple[Found, ...] | None = None
    complete: bool | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """Who vouches for the file. Signed says who, never that it is safe.

    valid: the signature is right, its signer's certificate was in force, and it covers this file.
    signer: an address or a key's name, as it was verified; never taken from an invalid signature.
    """

    signed: bool | None = None
    valid: bool | None = None
    signer: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """One question to the policy.

    content: None when the question is about the repository as a whole.
    feed_age_seconds: the age of the oldest threat feed that was asked; None: there are none, or not known.
    at: when it is asked, in seconds since the epoch; ages are counted from here.
    """

    action: Action
    actor: Actor
    repo: Repository
    at: float
    content: Content | None = None
    signature: Signature = field(default_factory=Signature)
    feed_age_seconds: float | None = None

    @property
    def age_days(self) -> float | None:
        """How long ago the repository was created."""
        return _days(self.at, self.repo.created_at)

    @property
    def modified_days(self) -> float | None:
        """How long ago the repository was last changed."""
        return _days(self.at, self.repo.modified_at)

    @property
    def feed_age_days(self) -> float | None:
        return None if self.feed_age_seconds is None else self.feed_age_seconds / _DAY_SECONDS

    def as_json(self) -> dict[str, Any]:
        """Plain values, the unknown ones as null: fit for a record."""
        told: dict[str, Any] = orjson.loads(orjson.dumps(self))
        return told

    @property
    def digest(self) -> str:
        """sha256 over everything but the time: two questions with one digest get one answer, ages aside."""
        told = self.as_json()
        del told["at"]
        return sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _days(at: float, since: float | None) -> float | None:
    return None if since is None else max(0.0, at - since) / _DAY_SECONDS
