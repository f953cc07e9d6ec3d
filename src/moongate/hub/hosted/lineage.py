"""Where hosted models come from, by exact commits.

When a commit lands whose card names base models, the commits of those that are here at that moment are
written down: of a hosted base where its main branch is, of a proxied one the commit that its kept `main`
leads to. Nothing is asked of upstream for it. A commit that names the same base as its parent has the
parent's answer, so that an edit of the README does not move a model onto a newer base. An adapter whose
configuration names a commit of its base is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from moongate.core.names import DEFAULT_REVISION, CommitHash, RepoId, is_commit_hash, parse_repo_id
from moongate.hub.hosted.cards import CardFacts
from moongate.store.index import BaseModel, HostedRow, Index

MAX_DEPTH: Final = 16
_MAIN = "refs/heads/main"


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model in a chain, and what it was made from in turn.

    hosted: it lives here; otherwise it is upstream's. commit_hash is None when nothing of it was here when
    the model below it was committed.
    """

    repo: RepoId
    commit_hash: CommitHash | None
    relation: str
    hosted: bool
    bases: Sequence[Ancestor] = field(default=())

    def as_json(self) -> dict[str, object]:
        return {
            "repo": str(self.repo),
            "commit_hash": self.commit_hash,
            "relation": self.relation,
            "hosted": self.hosted,
            "base_models": [base.as_json() for base in self.bases],
        }


class Lineage:
    """Notes and follows base models. Any thread; blocks."""

    def __init__(self, index: Index, clock: Callable[[], float]) -> None:
        self._index = index
        self._clock = clock

    def note(
        self, row: HostedRow, commit_hash: CommitHash, parent: CommitHash | None, facts: CardFacts
    ) -> None:
        """Write down what a commit was made from. What was noted before of it stays."""
        if not facts.base_models:
            return
        before = {base.repo: base for base in self._index.base_models(row.number, parent)} if parent else {}
        named = _named_commit(facts)
        bases = []
        for name in facts.base_models:
            base = parse_repo_id("model", name)
            kept = before.get(base)
            commit = named or (kept.commit_hash if kept is not None else None) or self._here(base)
            bases.append(BaseModel(base, commit, facts.relation or "finetune"))
        self._index.note_bases(row.number, commit_hash, bases, self._clock())

    def of(self, repo: RepoId, commit_hash: CommitHash) -> list[Ancestor]:
        """What a commit was made from, and that in turn, as far as it is known."""
        return self._of(repo, commit_hash, {(repo, commit_hash)}, MAX_DEPTH)

    def _of(
        self, repo: RepoId, commit_hash: CommitHash, seen: set[tuple[RepoId, CommitHash]], depth: int
    ) -> list[Ancestor]:
        row = self._index.get_hosted(repo)
        if row is None or depth == 0:
            return []
        found = []
        for base in self._index.base_models(row.number, commit_hash):
            hosted = self._index.get_hosted(base.repo)
            bases: list[Ancestor] = []
            if base.commit_hash is not None and (base.repo, base.commit_hash) not in seen:
                seen.add((base.repo, base.commit_hash))
                bases = self._of(base.repo, base.commit_hash, seen, depth - 1)
            found.append(Ancestor(base.repo, base.commit_hash, base.relation, hosted is not None, bases))
        return found

    def _here(self, base: RepoId) -> CommitHash | None:
        """The commit of a base's main branch that is here now."""
        hosted = self._index.get_hosted(base) or self._index.moved_to(base)
        if hosted is not None:
            ref = self._index.hosted_ref(hosted.number, _MAIN)
            return ref.commit_hash if ref is not None else None
        kept = self._index.get_ref(base, DEFAULT_REVISION)
        return kept.commit_hash if kept is not None else None


def _named_commit(facts: CardFacts) -> CommitHash | None:
    """The commit that an adapter's own configuration names."""
    config = facts.told.get("config")
    peft = config.get("peft") if isinstance(config, dict) else None
    revision = peft.get("revision") if isinstance(peft, dict) else None
    if len(facts.base_models) != 1 or not isinstance(revision, str) or not is_commit_hash(revision):
        return None
    return CommitHash(revision)
