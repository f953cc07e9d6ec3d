"""Changing repositories: create, preupload, commit, branches and tags, with a token that may write."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote

import orjson

from moongate.double import attributes
from moongate.double.ask import Ask, split_revision
from moongate.double.cdn import stored
from moongate.double.content import DiskContent, LfsFile, MemoryContent
from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.repo import Commit, Repo, full_ref
from moongate.double.shelf import TYPES
from moongate.double.world import World

_REGULAR_MOST_BYTES = 10 << 20
_REF = re.compile(r"refs/(heads|tags)/(?!.*(//|\.\.|/$))[\w.@+/-]+")


class Writes:
    """Answers the routes that change something."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def manage(self, ask: Ask, action: str) -> Reply:
        """`POST /api/repos/create|move`, `DELETE /api/repos/delete`."""
        body = await ask.json()
        match ask.method, action:
            case "POST", "create":
                return self._create(ask, body)
            case "POST", "move":
                old, new, repo_type = str(body.get("fromRepo")), str(body.get("toRepo")), _type(body)
                repo = self._world.visible(ask, repo_type, old)
                self._world.writable(ask, repo.namespace)
                self._world.writable(ask, new.partition("/")[0])
                return self._move(repo_type, old, new)
            case "DELETE", "delete":
                repo = self._world.visible(ask, _type(body), self._named(ask, body))
                self._world.writable(ask, repo.namespace)
                self._world.shelf.remove(repo.type, repo.id)
                return json_reply({})
        raise Refusal(405, "Method not allowed")

    def _move(self, repo_type: str, old: str, new: str) -> Reply:
        try:
            self._world.shelf.rename(repo_type, old, new)
        except ValueError:
            raise Refusal(409, f"{new} exists already") from None
        return json_reply({})

    def _named(self, ask: Ask, body: Mapping[str, object]) -> str:
        if ask.user is None:
            raise Refusal(401, "Invalid username or password.")
        name, owner = str(body.get("name") or ""), body.get("organization")
        return name if "/" in name else f"{owner or ask.user.name}/{name}"

    def _create(self, ask: Ask, body: Mapping[str, object]) -> Reply:
        repo_id, repo_type = self._named(ask, body), _type(body)
        self._world.writable(ask, repo_id.partition("/")[0])
        private = bool(body.get("private")) or body.get("visibility") == "private"
        xet = self._world.xet if self._world.settings.new_repos_xet else None
        repo = Repo(repo_id, repo_type, private=private, xet=xet)
        answer = {"url": f"{self._world.hub_url}{repo.file_base}", "name": repo_id, "id": repo_id}
        if self._world.shelf.find(repo_type, repo_id):
            error = f"You already created this {repo_type} repo"
            return json_reply({"error": error} | answer, 409, {"X-Error-Message": error})
        files = {attributes.NAME: attributes.usual()}
        repo.commit(files, message="initial commit", author=ask.user.name if ask.user else None)
        self._world.shelf.add(repo)
        return json_reply(answer)

    def xet_token(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/xet-write-token/{revision}`; any revision; `create_pr` is for readers too."""
        self._may_commit(ask, repo)
        return self._world.xet_tokens.reply(self._world, repo, None, write=True)

    async def preupload(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`POST …/preupload/{revision}`: which files go to LFS, by attributes, size and looks."""
        self._may_commit(ask, repo)
        commit = self._world.commit(repo, split_revision(rest)[0])
        body = await ask.json()
        node = commit.files.get(attributes.NAME)
        text = node.content.data if node and isinstance(node.content, MemoryContent) else b""
        if isinstance(body.get("gitAttributes"), str):
            text = str(body["gitAttributes"]).encode()
        files = body.get("files")
        if not isinstance(files, list):
            raise Refusal(400, '"files" must be an array')
        answers = [_mode(commit, text, one) for one in files]
        return json_reply({"files": answers, "commitOid": commit.hash})

    def _may_commit(self, ask: Ask, repo: Repo) -> None:
        if ask.get("create_pr") and ask.user and ask.user.sees(repo):
            return
        self._world.writable(ask, repo.namespace)

    async def commit(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`POST …/commit/{revision}[?create_pr=1]`: NDJSON, one operation a line."""
        self._may_commit(ask, repo)
        revision = split_revision(rest)[0]
        base = self._world.commit(repo, revision)
        head, files, gone = self._operations(await ask.body())
        parent = head.get("parentCommit")
        if parent and parent != base.hash:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        number = repo.pull_request(revision) if ask.get("create_pr") else None
        ref = f"refs/pr/{number}" if number else full_ref(revision)
        message = "\n\n".join(str(head[key]) for key in ("summary", "description") if head.get(key))
        made = repo.commit(
            files, branch=ref, message=message, delete=gone, author=ask.user.name if ask.user else None
        )
        page = f"{self._world.hub_url}{repo.file_base}"
        answer = {"success": True, "commitOid": made, "commitUrl": f"{page}/commit/{made}", "hookOutput": ""}
        return json_reply(answer | ({"pullRequestUrl": f"{page}/discussions/{number}"} if number else {}))

    def _operations(
        self, body: bytes
    ) -> tuple[dict[str, object], dict[str, bytes | str | LfsFile], list[str]]:
        head: dict[str, object] = {}
        files: dict[str, bytes | str | LfsFile] = {}
        gone: list[str] = []
        try:
            lines = [orjson.loads(line) for line in body.splitlines() if line.strip()]
            for line in lines:
                value = line["value"]
                match line["key"]:
                    case "header":
                        head = value
                    case "file":
                        text = value["content"]
                        encoded = value.get("encoding", "base64") == "base64"
                        files[value["path"]] = base64.b64decode(text) if encoded else text.encode()
                    case "lfsFile":
                        files[value["path"]] = self._lfs_file(value["oid"])
                    case "deletedFile" | "deletedEntry":
                        gone.append(value["path"])
                    case "deletedFolder":
                        gone.append(value["path"].rstrip("/") + "/")
                    case other:
                        raise Refusal(400, f"Unknown operation {other}")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, binascii.Error):
            raise Refusal(400, "Invalid commit payload") from None
        if not all(_is_path(path) for path in files):
            raise Refusal(400, "Invalid path in commit")
        return head, files, gone

    def _lfs_file(self, sha256: str) -> LfsFile:
        content = stored(self._world, sha256)
        if content is None:
            raise Refusal(400, f"LFS object {sha256} was not uploaded")
        return LfsFile(content.path if isinstance(content, DiskContent) else content.data, sha256=sha256)

    async def branch(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`POST …/branch/{name}`."""
        return await self._new_ref(
            ask, repo, f"refs/heads/{unquote('/'.join(rest))}", "startingPoint", "main"
        )

    async def tag(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`POST …/tag/{revision}` with the tag's name in the body."""
        self._world.writable(ask, repo.namespace)
        body = await ask.json()
        return self._set_ref(repo, f"refs/tags/{body.get('tag')}", split_revision(rest)[0], overwrite=False)

    async def _new_ref(self, ask: Ask, repo: Repo, ref: str, key: str, default: str) -> Reply:
        self._world.writable(ask, repo.namespace)
        body = await ask.json()
        return self._set_ref(repo, ref, str(body.get(key) or default), overwrite=bool(body.get("overwrite")))

    def _set_ref(self, repo: Repo, ref: str, at: str, *, overwrite: bool) -> Reply:
        if not _REF.fullmatch(ref):
            raise Refusal(400, "Invalid reference name")
        if ref in repo.refs and not overwrite:
            raise Refusal(409, f"Reference already exists: {ref}")
        repo.set_ref(ref, self._world.commit(repo, at).hash)
        return json_reply({})

    def delete_branch(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`DELETE …/branch/{name}`."""
        return self._drop_ref(ask, repo, f"refs/heads/{unquote('/'.join(rest))}")

    def delete_tag(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`DELETE …/tag/{name}`."""
        return self._drop_ref(ask, repo, f"refs/tags/{unquote('/'.join(rest))}")

    def _drop_ref(self, ask: Ask, repo: Repo, ref: str) -> Reply:
        self._world.writable(ask, repo.namespace)
        if repo.refs.pop(ref, None) is None:
            raise Refusal(404, f"Invalid rev id: {ref}", "RevisionNotFound")
        return json_reply({})

    async def settings(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`PUT …/settings`: private (or visibility) and gated."""
        self._world.writable(ask, repo.namespace)
        body = await ask.json()
        if "private" in body or "visibility" in body:
            repo.private = bool(body.get("private")) or body.get("visibility") == "private"
        if body.get("gated") in (False, "auto", "manual"):
            gated = body["gated"]
            repo.gated = gated if isinstance(gated, str) else False
        return json_reply({"private": repo.private, "gated": repo.gated})


def _mode(commit: Commit, text: bytes, one: Mapping[str, object]) -> dict[str, object]:
    try:
        path, size_bytes = str(one["path"]), int(str(one["size"]))
    except (KeyError, TypeError, ValueError):
        raise Refusal(400, "Each file needs a path and a size") from None
    lfs = attributes.is_lfs(text, path) or size_bytes > _REGULAR_MOST_BYTES or _binary(one.get("sample"))
    answer: dict[str, object] = {"path": path, "shouldIgnore": False}
    answer["uploadMode"] = "lfs" if lfs and size_bytes else "regular"
    return answer | ({"oid": commit.files[path].etag} if path in commit.files else {})


def _type(body: Mapping[str, object]) -> str:
    repo_type = str(body.get("type") or "model")
    if repo_type not in TYPES:
        raise Refusal(400, f"Unknown repository type {repo_type}")
    return repo_type


def _is_path(path: object) -> bool:
    return isinstance(path, str) and path.isprintable() and not {"", ".", ".."} & set(path.split("/"))


def _binary(sample: object) -> bool:
    try:
        data = base64.b64decode(str(sample or ""))
    except binascii.Error:
        return True
    return b"\0" in data
