"""What a hosted repository's card and files say of it: what info, lists and searches show.

Facts belong to a commit and never change. They are worked out when somebody first asks (see `card_files`) and
kept under the commit's hash, unless something could not be read: then they are worked out again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from moongate.core.errors import BadRequest
from moongate.core.names import CommitHash, RepoType
from moongate.core.records import FileEntry
from moongate.hub.hosted.card_files import CardFiles
from moongate.store.at_rest import AtRest
from moongate.store.index import HostedRow, Index, StoredAnswer
from moongate.weights.config import CONFIG_FILES, MAX_CONFIG_BYTES, model_config
from moongate.wire.cards import check_card, texts
from moongate.wire.front_matter import MAX_FRONT_MATTER_BYTES, BadCard, Value, front_matter
from moongate.wire.tags import Derived, derive

CARD: Final = "README.md"

_MAX_README_BYTES = MAX_FRONT_MATTER_BYTES + (1 << 20)
_KEPT = 2000


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What one commit says. `told` are fields of the Hub's repository info, by their names."""

    tags: tuple[str, ...]
    base_models: tuple[str, ...]
    relation: str | None
    told: Mapping[str, object]


class Cards:
    """The facts of hosted commits. Any thread; blocks when it works something out."""

    def __init__(self, index: Index, content: AtRest, clock: Callable[[], float]) -> None:
        self._index = index
        self._content = content
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, CommitHash], CardFacts] = OrderedDict()

    def facts(
        self, row: HostedRow, commit_hash: CommitHash, files: Callable[[], Sequence[FileEntry]]
    ) -> CardFacts:
        """The facts of a commit, whose `files` are asked for only when they were not worked out before."""
        key = (row.number, commit_hash)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        found = self._kept(row, commit_hash)
        if found is None:
            read = CardFiles(self._content, files())
            found = read_facts(row.repo.repo_type, read)
            if read.lost:
                return found
            self._keep(row, commit_hash, found)
        with self._lock:
            self._known[key] = found
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _kept(self, row: HostedRow, commit_hash: CommitHash) -> CardFacts | None:
        stored = self._index.get_answer(_key(row, commit_hash))
        if stored is None:
            return None
        said = orjson.loads(stored.body)
        return CardFacts(tuple(said["tags"]), tuple(said["bases"]), said["relation"], said["told"])

    def _keep(self, row: HostedRow, commit_hash: CommitHash, facts: CardFacts) -> None:
        said = {
            "tags": facts.tags,
            "bases": facts.base_models,
            "relation": facts.relation,
            "told": facts.told,
        }
        answer = StoredAnswer(200, {}, orjson.dumps(said), self._clock())
        self._index.put_answer(_key(row, commit_hash), row.repo, answer)


def read_facts(repo_type: RepoType, files: CardFiles) -> CardFacts:
    """What the files of a commit say."""
    readme = files.text(CARD, _MAX_README_BYTES)
    card = _card(readme)
    config: dict[str, object] = {}
    told: dict[str, object] = {}
    if repo_type == "model":
        config = model_config(files.several(CONFIG_FILES, MAX_CONFIG_BYTES))
        told = {"safetensors": files.safetensors(), "gguf": files.gguf()}
    found = derive(repo_type, card, readme, config, files.paths)
    told |= _told(repo_type, card, config, found)
    return CardFacts(
        found.tags,
        found.base_models,
        found.relation,
        {name: value for name, value in told.items() if value is not None},
    )


def refuse_bad_card(readme: bytes, repo_type: RepoType) -> None:
    """Return when a README may be committed.

    Raises:
        BadRequest: its metadata is not what the Hub takes.
    """
    check = check_card(readme[:_MAX_README_BYTES].decode("utf-8", "replace"), repo_type)
    if check.errors:
        raise BadRequest("Invalid metadata in README.md: " + "; ".join(check.errors))


def _key(row: HostedRow, commit_hash: CommitHash) -> str:
    return f"hosted-card/1/{row.number}/{commit_hash}"


def _card(readme: str) -> dict[str, Value]:
    try:
        return front_matter(readme) or {}
    except BadCard:  # it came by git
        return {}


def _told(
    repo_type: RepoType, card: Mapping[str, Value], config: Mapping[str, object], found: Derived
) -> dict[str, object]:
    """The fields of repository info that follow; None where nothing does."""
    told: dict[str, object] = {"cardData": card or None}
    if repo_type == "space":
        told |= {name: card[name] for name in ("sdk", "title", "emoji") if isinstance(card.get(name), str)}
        told |= {"models": texts(card.get("models")), "datasets": texts(card.get("datasets"))}
    if repo_type != "model":
        return told
    results, widgets = card.get("model-index"), card.get("widget")
    bases = [{"id": base} for base in found.base_models]
    return told | {
        "config": config or None,
        "library_name": found.library_name,
        "pipeline_tag": found.pipeline_tag,
        "transformersInfo": (
            {"auto_model": found.auto_model, "pipeline_tag": found.pipeline_tag} if found.auto_model else None
        ),
        "model-index": results if isinstance(results, list) else None,
        "widgetData": widgets if isinstance(widgets, list) else None,
        "baseModels": {"relation": found.relation, "models": bases} if bases else None,
    }
