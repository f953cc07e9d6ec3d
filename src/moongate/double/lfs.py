"""The git-lfs batch API: where to download large files, where to upload them, whether they arrived."""

from __future__ import annotations

import re

from moongate.double.ask import Ask
from moongate.double.cdn import file_path, packed, stored, upload_path
from moongate.double.git_http import visible_to_git
from moongate.double.reply import Refusal, Reply, json_reply
from moongate.double.repo import FileNode, Repo
from moongate.double.world import World

_TYPE = {"Content-Type": "application/vnd.git-lfs+json; charset=utf-8"}
_BATCH_MOST = 1000
_OID = re.compile(r"[0-9a-f]{64}")


class Lfs:
    """Answers paths under `{repo}.git/info/lfs`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def answer(self, ask: Ask, repo_type: str, repo_id: str, rest: list[str]) -> Reply:
        """The reply to a batch or a verify; other LFS routes are not there."""
        repo = visible_to_git(self._world, ask, repo_type, repo_id)
        await packed(repo)
        if rest == ["objects", "batch"] and ask.method == "POST":
            return await self._batch(ask, repo)
        if rest == ["objects", "verify"] and ask.method == "POST":
            return await self._verify(ask, repo)
        raise Refusal(404, "Not found")

    async def _batch(self, ask: Ask, repo: Repo) -> Reply:
        body = await ask.json()
        wanted = body.get("objects")
        if not isinstance(wanted, list) or len(wanted) > _BATCH_MOST:
            raise Refusal(422, f'"objects" must be an array of at most {_BATCH_MOST}')
        if body.get("operation") == "upload":
            self._world.writable(ask, repo.namespace)
            answer = self._upload
        else:
            answer = self._download
        xet = body.get("operation") == "upload" and repo.xet and "xet" in _transfers(body)
        try:
            objects = [answer(repo, str(one["oid"]), int(one["size"])) for one in wanted]
        except (KeyError, TypeError, ValueError):
            raise Refusal(422, "Each object needs an oid and a size") from None
        if xet:
            objects = [self._by_xet(repo, one) for one in objects]
        return json_reply({"transfer": "xet" if xet else "basic", "objects": objects}, headers=_TYPE)

    def _by_xet(self, repo: Repo, answer: dict[str, object]) -> dict[str, object]:
        """An upload's answer, with the way through Xet in place of the way to the CDN."""
        if "actions" not in answer:
            return answer
        token = self._world.xet_tokens.reply(self._world, repo, None, write=True)
        header = {name: value for name, value in token.headers.items() if name.startswith("X-Xet-")}
        href = f"{self._world.hub_url}/api/{repo.key}/xet-write-token/main"
        return answer | {"actions": {"upload": {"href": href, "header": header}}}

    def _download(self, repo: Repo, oid: str, size_bytes: int) -> dict[str, object]:
        node = _node(repo, oid)
        if node is None:
            return {
                "oid": oid,
                "size": size_bytes,
                "error": {"code": 404, "message": "Object does not exist"},
            }
        ttl_seconds = self._world.settings.url_ttl_seconds
        href = self._world.cdn_url + self._world.signer.sign(file_path(repo, node), ttl_seconds)
        action = {"href": href, "expires_in": ttl_seconds}
        return {"oid": oid, "size": node.size_bytes, "authenticated": True, "actions": {"download": action}}

    def _upload(self, repo: Repo, oid: str, size_bytes: int) -> dict[str, object]:
        if not _OID.fullmatch(oid):
            return {"oid": oid, "size": size_bytes, "error": {"code": 422, "message": "Not a sha256"}}
        if stored(self._world, oid) is not None:
            return {"oid": oid, "size": size_bytes}
        href = self._world.cdn_url + self._world.signer.sign(
            upload_path(oid), self._world.settings.url_ttl_seconds
        )
        verify = f"{self._world.hub_url}{repo.file_base}.git/info/lfs/objects/verify"
        actions = {"upload": {"href": href, "header": {}}, "verify": {"href": verify, "header": {}}}
        return {"oid": oid, "size": size_bytes, "actions": actions}

    async def _verify(self, ask: Ask, repo: Repo) -> Reply:
        self._world.writable(ask, repo.namespace)
        body = await ask.json()
        content = stored(self._world, str(body.get("oid")))
        if content is None or content.size_bytes != body.get("size"):
            raise Refusal(404, "Object does not exist")
        return json_reply({}, headers=_TYPE)


def _transfers(body: dict[str, object]) -> list[object]:
    transfers = body.get("transfers")
    return transfers if isinstance(transfers, list) else []


def _node(repo: Repo, sha256: str) -> FileNode | None:
    for commit in repo.commits.values():
        for node in commit.files.values():
            if node.lfs and node.lfs.sha256 == sha256:
                return node
    return None
