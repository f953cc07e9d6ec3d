"""The hub origin: which handler answers which path.

Routes are matched on raw segments. An id is one segment or two; a revision is one segment, or the three of
`refs/pr/N` and `refs/convert/x`, which some clients do not encode.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from moongate.double.ask import Ask, decode, split_revision
from moongate.double.cdn import packed
from moongate.double.git_http import GitHttp
from moongate.double.history import History
from moongate.double.identity import Identity
from moongate.double.info import Info
from moongate.double.lfs import Lfs
from moongate.double.ollama import Ollama
from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.repo import Repo
from moongate.double.resolve import Resolve
from moongate.double.tree import Tree
from moongate.double.world import World
from moongate.double.writes import Writes

_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
_API_VERBS = {
    "revision", "tree", "paths-info", "refs", "commits", "compare", "treesize", "scan", "discussions",
    "auth-check", "likers", "xet-read-token", "xet-write-token", "preupload", "commit", "branch",
    "tag", "settings",
}  # fmt: skip
_FILE_VERBS = {"resolve", "raw", "info", "git-upload-pack", "git-receive-pack"}

RepoHandler = Callable[[Ask, Repo, list[str]], Awaitable[Reply] | Reply]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a path points in a repository: type, id, verb and the raw segments after it."""

    type: str
    id: str
    verb: str
    rest: list[str]


class Hub:
    """Answers every request to the hub origin."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._info = Info(world)
        self._identity = Identity(world)
        self._resolve = Resolve(world)
        self._git = GitHttp(world)
        self._lfs = Lfs(world)
        self._ollama = Ollama(world)
        self._writes = Writes(world)
        tree, history = Tree(world), History(world)
        self._api_routes: dict[tuple[str, str], RepoHandler] = {
            ("GET", ""): self._info.at_head,
            ("GET", "revision"): self._info.at_revision,
            ("GET", "tree"): tree.listing,
            ("POST", "paths-info"): tree.paths_info,
            ("GET", "treesize"): tree.size,
            ("GET", "refs"): history.refs,
            ("GET", "commits"): history.commits,
            ("GET", "compare"): history.compare,
            ("GET", "discussions"): history.discussions,
            ("GET", "scan"): self._info.scan,
            ("GET", "likers"): self._identity.likers,
            ("GET", "auth-check"): self._identity.auth_check,
            ("GET", "xet-read-token"): self._resolve.xet_token,
            ("GET", "xet-write-token"): self._writes.xet_token,
            ("POST", "preupload"): self._writes.preupload,
            ("POST", "commit"): self._writes.commit,
            ("POST", "branch"): self._writes.branch,
            ("DELETE", "branch"): self._writes.delete_branch,
            ("POST", "tag"): self._writes.tag,
            ("DELETE", "tag"): self._writes.delete_tag,
            ("PUT", "settings"): self._writes.settings,
        }

    async def answer(self, ask: Ask) -> Reply:
        """The reply to a request.

        Raises:
            Refusal, Moved: as the door turns them into answers.
        """
        head, *rest = ask.segments
        if head == "api":
            return await self._api(ask, rest)
        if head == "v2":
            return await self._ollama.answer(ask, rest)
        if head in ("datasets", "spaces"):
            return await self._files(ask, _TYPES[head], rest)
        return await self._files(ask, "model", ask.segments)

    async def _api(self, ask: Ask, segments: list[str]) -> Reply:
        method = "GET" if ask.method == "HEAD" else ask.method
        if ask.path in self._world.routes and method == "GET":
            return json_reply(self._world.routes[ask.path])
        match segments:
            case [("models" | "datasets" | "spaces") as plural]:
                self._only(ask, "GET")
                return self._info.listing(ask, _TYPES[plural])
            case [("models" | "datasets" | "spaces") as plural, *rest] if rest != [""]:
                return await self._repo_api(
                    ask, method, _place(self._world, _TYPES[plural], rest, _API_VERBS)
                )
            case ["resolve-cache", ("models" | "datasets" | "spaces") as plural, *rest]:
                self._only(ask, "GET")
                return await self._resolve_cache(ask, _TYPES[plural], rest)
            case ["models-tags-by-type" | "datasets-tags-by-type" as name]:
                return json_reply(self._info.tags_by_type(name.partition("s-")[0]))
            case ["repos", ("create" | "delete" | "move") as action]:
                return await self._writes.manage(ask, action)
            case ["validate-yaml"] if method == "POST":
                return json_reply({"errors": [], "warnings": []})
            case ["quicksearch"]:
                return json_reply(self._info.quicksearch(ask))
            case _:
                return self._identity.answer(ask, segments)

    async def _repo_api(self, ask: Ask, method: str, place: _Place) -> Reply:
        repo = self._world.visible(ask, place.type, place.id)
        if place.verb in ("tree", "paths-info"):
            await packed(repo)
        handler = self._api_routes.get((method, place.verb))
        if handler is None:
            raise Refusal(404, "Sorry, we can't find the page you are looking for.")
        reply = handler(ask, repo, place.rest)
        return reply if isinstance(reply, Reply) else await reply

    async def _resolve_cache(self, ask: Ask, repo_type: str, rest: list[str]) -> Reply:
        ids = 1 if rest and self._world.shelf.find(repo_type, unquote(rest[0])) else 2
        if len(rest) < ids + 2:
            raise Refusal(404, "Sorry, we can't find the page you are looking for.")
        repo = self._world.visible(ask, repo_type, decode(rest[:ids]))
        await packed(repo)
        return self._resolve.cached(ask, repo, unquote(rest[ids]), decode(rest[ids + 1 :]))

    async def _files(self, ask: Ask, repo_type: str, segments: list[str]) -> Reply:
        place = _place(self._world, repo_type, segments, _FILE_VERBS)
        if place.verb in ("resolve", "raw"):
            self._only(ask, "GET")
            revision, path = split_revision(place.rest)
            repo = self._world.visible(ask, repo_type, place.id)
            await packed(repo)
            handler = self._resolve.resolve if place.verb == "resolve" else self._resolve.raw
            return handler(ask, repo, revision, decode(path))
        repo_id = place.id.removesuffix(".git")
        if place.verb == "info" and place.rest[:1] == ["lfs"]:
            return await self._lfs.answer(ask, repo_type, repo_id, place.rest[1:])
        if place.verb in ("info", "git-upload-pack", "git-receive-pack"):
            return await self._git.answer(ask, repo_type, repo_id, "/".join([place.verb, *place.rest]))
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")

    @staticmethod
    def _only(ask: Ask, method: str) -> None:
        if ask.method not in (method, "HEAD"):
            raise Refusal(405, "Method not allowed", headers={"Allow": f"{method}, HEAD"})


def _place(world: World, repo_type: str, segments: list[str], verbs: set[str]) -> _Place:
    """Read an id and a verb off the segments; `%2F` in an id is refused as on the Hub."""
    two = len(segments) > 1 and not (
        segments[1] in verbs and world.shelf.find(repo_type, decode(segments[:2])) is None
    )
    ids = segments[: 2 if two else 1]
    if any("%2f" in segment.lower() for segment in ids):
        raise Refusal(400, "Invalid repo name: a slash in it must not be encoded")
    after = segments[len(ids) :]
    return _Place(repo_type, decode(ids), unquote(after[0]) if after else "", after[1:])
