"""What statements and bills of materials are made of: everything known of one commit, as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moongate.core.names import CommitHash, RepoId


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file. sha256: None where it is not known, which small files are that were never fetched.

    verdict: what scans said of the content last; empty when nothing did. judged_by: their versions.
    """

    path: str
    etag: str
    size_bytes: int
    sha256: str | None
    verdict: str = ""
    judged_at: float | None = None
    judged_by: str = ""

    @property
    def digests(self) -> dict[str, str]:
        """By the names of in-toto."""
        found = {"sha256": self.sha256} if self.sha256 else {}
        return {**found, "gitBlob": self.etag} if len(self.etag) == 40 else dict(found)


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """One commit. origin: where it came from: an address at upstream, or this gateway.

    card: the README's metadata; config: what config.json says; empty where they are not here.
    approvals, deliveries: fit for JSON.
    """

    repo: RepoId
    commit_hash: CommitHash
    origin: str
    hosted: bool
    complete: bool
    files: tuple[FileFacts, ...]
    card: Mapping[str, object] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    approvals: Sequence[Mapping[str, object]] = ()
    deliveries: Sequence[Mapping[str, object]] = ()

    @property
    def purl(self) -> str:
        """The package URL; of a dataset or Space with its type as a qualifier, as the type has no own one."""
        kind = "" if self.repo.repo_type == "model" else f"?type={self.repo.repo_type}"
        return f"pkg:huggingface/{self.repo.repo_id}@{self.commit_hash}{kind}"

    def texts(self, name: str) -> list[str]:
        """The texts that the card gives under a name."""
        value = self.card.get(name)
        return [
            one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one
        ]

    @property
    def licence(self) -> str:
        """The licence in the card's own word; of `other`, the name it gives."""
        named = next(iter(self.texts("license")), "")
        return next(iter(self.texts("license_name")), named) if named == "other" else named
