"""What a repository says of itself, and lists of repositories."""

from __future__ import annotations

import orjson

from moongate.double.ask import Ask, split_revision
from moongate.double.card import card_of, tags_of
from moongate.double.content import MemoryContent
from moongate.double.pages import page_of
from moongate.double.reply import Reply, json_reply
from moongate.double.repo import Commit, FileNode, Repo
from moongate.double.tree import security
from moongate.double.world import World

_LIST_FIELDS = {
    "model": (
        "likes", "trendingScore", "private", "downloads", "tags", "pipeline_tag", "library_name", "createdAt",
    ),
    "dataset": (
        "author", "disabled", "gated", "lastModified", "likes", "trendingScore", "private", "sha",
        "description", "downloads", "tags", "createdAt",
    ),
    "space": ("likes", "trendingScore", "private", "sdk", "tags", "createdAt"),
}  # fmt: skip
_FULL_FIELDS = ("author", "sha", "lastModified", "gated", "disabled", "siblings")
_INFO_FIELDS = (
    "private", "author", "sha", "lastModified", "gated", "disabled", "tags", "downloads", "likes", "siblings",
    "createdAt", "cardData", "usedStorage", "pipeline_tag", "library_name", "config", "safetensors", "gguf",
    "transformersInfo", "description", "citation", "mainSize", "paperswithcode_id", "sdk", "runtime", "host",
    "subdomain", "models", "datasets", "spaces", "widgetData", "model-index",
)  # fmt: skip
_SORTS = {"lastModified", "trendingScore", "createdAt", "downloads", "likes"}


class Info:
    """Answers repository information and searches."""

    def __init__(self, world: World) -> None:
        self._world = world

    def at_head(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET /api/{type}s/{id}`."""
        return self._info(ask, repo, self._world.commit(repo, self._world.settings.default_branch))

    def at_revision(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET /api/{type}s/{id}/revision/{revision}`."""
        return self._info(ask, repo, self._world.commit(repo, split_revision(rest)[0]))

    def _info(self, ask: Ask, repo: Repo, commit: Commit) -> Reply:
        facts = repo_facts(repo, commit)
        expand = ask.all("expand")
        if expand:
            return json_reply(_identity(repo) | {name: facts[name] for name in expand if name in facts})
        answer = _identity(repo) | {name: facts[name] for name in _INFO_FIELDS if name in facts}
        if ask.flag("blobs") or ask.flag("securityStatus"):
            answer["siblings"] = _siblings(commit, blobs=ask.flag("blobs"))
        if ask.flag("securityStatus"):
            answer["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
        return json_reply(answer)

    def scan(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/scan`: nothing found, as nothing was looked for."""
        files = [security(name) for name in (repo.head.files if repo.head else ())]
        return json_reply({"scansDone": True, "filesWithIssues": [], "filesScanned": len(files)})

    def listing(self, ask: Ask, repo_type: str) -> Reply:
        """`GET /api/{type}s`: filtered, sorted, paged."""
        heads = [(repo, repo.head) for repo in self._visible(ask, repo_type)]
        found = [(repo, repo_facts(repo, head)) for repo, head in heads if head]
        found = [(repo, facts) for repo, facts in found if _fits(ask, repo, facts)]
        sort = ask.get("sort") or "trendingScore"
        if sort in _SORTS:
            found.sort(key=lambda one: str(one[1][sort]).zfill(24), reverse=ask.get("direction") != "1")
        page = page_of(ask, self._world, found, self._world.settings.list_page_size)
        names = self._listed_fields(ask, repo_type)
        items = [
            _identity(repo) | {name: facts[name] for name in names if name in facts}
            for repo, facts in page.items
        ]
        return json_reply(items, headers=page.headers)

    @staticmethod
    def _listed_fields(ask: Ask, repo_type: str) -> list[str]:
        if expand := ask.all("expand"):
            return expand
        names = list(_LIST_FIELDS[repo_type])
        if ask.flag("full"):
            names += _FULL_FIELDS
        return names + [name for name in ("cardData", "config") if ask.flag(name)]

    def _visible(self, ask: Ask, repo_type: str) -> list[Repo]:
        repos = self._world.shelf.of_type(repo_type)
        return [repo for repo in repos if not repo.private or (ask.user and ask.user.sees(repo))]

    def quicksearch(self, ask: Ask) -> dict[str, object]:
        """`GET /api/quicksearch?q=`: ids that hold the words, by type."""
        words = (ask.get("q") or "").lower()
        return {
            f"{kind}s": [_identity(repo) for repo in self._visible(ask, kind) if words in repo.id.lower()]
            for kind in ("model", "dataset", "space")
        }

    def tags_by_type(self, repo_type: str) -> dict[str, object]:
        """`GET /api/{type}s-tags-by-type`: the tags in use, by kind."""
        kinds: dict[str, list[object]] = {}
        seen = {
            tag
            for repo in self._world.shelf.of_type(repo_type)
            if repo.head and not repo.private
            for tag in tags_of(repo.head, card_of(repo.head))
        }
        for tag in sorted(seen):
            kind, colon, label = tag.partition(":")
            name = kind if colon else "other"
            kinds.setdefault(name, []).append({"id": tag, "label": label or tag, "type": name})
        return dict(kinds)


def _identity(repo: Repo) -> dict[str, object]:
    made: dict[str, object] = {"_id": repo.number, "id": repo.id}
    return made | ({"modelId": repo.id} if repo.type == "model" else {})


def repo_facts(repo: Repo, commit: Commit) -> dict[str, object]:
    """Everything the double knows to say of a repository at a commit, by the Hub's field names."""
    card = card_of(commit)
    facts: dict[str, object] = {
        "author": repo.namespace if "/" in repo.id else None,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": repo.disabled,
        "sha": commit.hash,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "downloads": repo.downloads,
        "downloadsAllTime": repo.downloads,
        "likes": repo.likes,
        "trendingScore": repo.likes,
        "tags": tags_of(commit, card),
        "siblings": _siblings(commit, blobs=False),
        "usedStorage": sum(node.size_bytes for node in commit.files.values() if node.lfs),
        "cardData": card,
    }
    if repo.type == "model":
        facts |= {"spaces": [], "config": _config(commit)} | {
            k: card[k] for k in ("pipeline_tag", "library_name") if k in card
        }
    elif repo.type == "dataset":
        facts |= {"description": "", "citation": None, "paperswithcode_id": None}
    else:
        facts |= _space_facts(repo, card)
    if facts["author"] is None:
        del facts["author"]
    return facts | repo.facts


def _config(commit: Commit) -> dict[str, object]:
    node = commit.files.get("config.json")
    try:
        value = orjson.loads(node.content.data) if node and isinstance(node.content, MemoryContent) else {}
    except orjson.JSONDecodeError:
        return {}
    known = value if isinstance(value, dict) else {}
    return {name: known[name] for name in ("architectures", "model_type") if name in known}


def _space_facts(repo: Repo, card: dict[str, object]) -> dict[str, object]:
    subdomain = repo.id.replace("/", "-").lower()
    runtime = {
        "stage": "RUNNING",
        "hardware": {"current": "cpu-basic", "requested": "cpu-basic"},
        "storage": None,
    }
    return {
        "sdk": card.get("sdk", "static"),
        "runtime": runtime,
        "subdomain": subdomain,
        "host": f"https://{subdomain}.hf.space",
        "models": [],
        "datasets": [],
    }


def _siblings(commit: Commit, *, blobs: bool) -> list[dict[str, object]]:
    return [{"rfilename": name} | (blob_facts(node) if blobs else {}) for name, node in commit.files.items()]


def blob_facts(node: FileNode) -> dict[str, object]:
    """What info says of a file beyond its name, when asked for `blobs`."""
    facts: dict[str, object] = {"blobId": node.oid, "size": node.size_bytes}
    if node.lfs:
        pointer_bytes = len(node.lfs.pointer)
        facts["lfs"] = {"sha256": node.lfs.sha256, "size": node.lfs.size_bytes, "pointerSize": pointer_bytes}
    return facts


def _fits(ask: Ask, repo: Repo, facts: dict[str, object]) -> bool:
    tags = facts["tags"] if isinstance(facts["tags"], list) else []
    wanted = [tag for value in ask.all("filter") for tag in value.split(",") if tag]
    gated = ask.get("gated")
    return (
        (ask.get("search") or "").lower() in repo.id.lower()
        and ask.get("author") in (None, "", repo.namespace)
        and all(tag in tags for tag in wanted)
        and ask.get("pipeline_tag") in (None, "", facts.get("pipeline_tag"))
        and (gated is None or ask.flag("gated") == bool(repo.gated))
    )
