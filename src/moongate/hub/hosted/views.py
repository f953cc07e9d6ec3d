"""A hosted repository as the API shows it: info, the items of lists, and `expand`.

Fields and their names are the Hub's. What this gateway does not count (likes, downloads) is 0; what it does
not have (gates, providers, runtimes) is absent or says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from moongate.core.errors import BadRequest
from moongate.core.names import CommitHash, RepoType, shown
from moongate.hub.hosted.cards import CardFacts
from moongate.store.index import HostedRow

_ALWAYS = ("_id", "id", "modelId")
_COMMON = frozenset((
    "author", "cardData", "createdAt", "disabled", "downloads", "downloadsAllTime", "gated", "lastModified",
    "likes", "private", "resourceGroup", "sha", "siblings", "tags", "trendingScore", "usedStorage",
    "xetEnabled",
))  # fmt: skip
EXPANDABLE: Final[Mapping[RepoType, frozenset[str]]] = {
    "model": _COMMON | {
        "baseModels", "childrenModelCount", "config", "evalResults", "gguf", "inference",
        "inferenceProviderMapping", "library_name", "mask_token", "model-index", "pipeline_tag",
        "safetensors", "spaces", "transformersInfo", "widgetData",
    },
    "dataset": _COMMON | {"citation", "description", "mainSize", "paperswithcode_id"},
    "space": _COMMON | {"datasets", "models", "region", "runtime", "sdk", "subdomain"},
}  # fmt: skip
"""What `expand` may ask for."""

_LISTED = (
    "id", "modelId", "author", "private", "gated", "disabled", "likes", "downloads", "trendingScore", "tags",
    "createdAt", "lastModified", "sha", "pipeline_tag", "library_name", "sdk",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RepoState:
    """What there is to tell of a hosted repository at one commit; `commit_hash` is None while it is empty.

    modified_at: when the commit was made. siblings: its files, as the API tells them.
    """

    row: HostedRow
    commit_hash: CommitHash | None
    modified_at: float
    facts: CardFacts | None
    siblings: Sequence[Mapping[str, object]] = ()
    used_bytes: int = 0


def whole_view(state: RepoState) -> dict[str, object]:
    """Everything, as repository info says it."""
    repo, facts = state.row.repo, state.facts
    view: dict[str, object] = {"_id": f"{state.row.number:024x}", "id": repo.repo_id}
    if repo.repo_type == "model":
        view["modelId"] = repo.repo_id
    view |= {
        "author": repo.namespace,
        "sha": state.commit_hash,
        "lastModified": iso_time(state.modified_at),
        "createdAt": iso_time(state.row.created_at),
        "private": state.row.private,
        "gated": state.row.settings.get("gated") or False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "trendingScore": 0,
        "tags": list(facts.tags) if facts is not None else [],
        "siblings": list(state.siblings),
        "usedStorage": state.used_bytes,
    }
    return view | dict(facts.told if facts is not None else {})


def list_item(
    view: Mapping[str, object], repo_type: RepoType, asked: Collection[str], expand: Sequence[str]
) -> dict[str, object]:
    """A repository as one item of a list. asked: of `full`, `config`, `cardData`."""
    if expand:
        return expanded(view, repo_type, expand)
    names = {*_LISTED}
    if "full" in asked:
        names |= {"siblings", "cardData"} if repo_type != "model" else {"siblings"}
    names |= {name for name in ("config", "cardData") if name in asked}
    return {name: value for name, value in view.items() if name in names or name == "_id"}


def expanded(view: Mapping[str, object], repo_type: RepoType, expand: Sequence[str]) -> dict[str, object]:
    """Only these fields, and what names the repository.

    Raises:
        BadRequest: a field is none of a repository of this type.
    """
    for name in expand:
        if name not in EXPANDABLE[repo_type]:
            raise BadRequest(f"expand: a {repo_type} has no {shown(name)}")
    return {name: value for name, value in view.items() if name in _ALWAYS or name in expand}


def iso_time(at: float) -> str:
    """A time as the Hub writes it; its clients take no other shape."""
    text = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text[:-3]}Z"
