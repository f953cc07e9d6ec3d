"""The CDN origin: signed URLs of large files and of xorbs, ranged reads, and the uploads of git-lfs.

It knows nothing of repositories' names or tokens. Its ETag is 64 hex but not the file's sha256.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from moongate.double.ask import Ask
from moongate.double.content import Content, DiskContent
from moongate.double.reply import Refusal, Reply, content_reply, text_reply
from moongate.double.repo import FileNode, Repo
from moongate.double.signer import token_refused
from moongate.double.world import World
from moongate.double.xorb_data import XORBS, XorbData

_UPLOADS = "/lfs-upload/"


def file_path(repo: Repo, node: FileNode) -> str:
    """Where a file in LFS lies on the CDN: under its repository's number, by sha256 or Xet hash.

    The number outlives a rename, so URLs signed before it hold.
    """
    place = _place(repo)
    if node.lfs and node.lfs.xet_hash:
        return f"/xet-bridge-us/{place[:24]}/{node.lfs.xet_hash}"
    return f"/repos/{place[:2]}/{place[2:4]}/{place}/{node.etag}"


def _place(repo: Repo) -> str:
    return hashlib.sha256(repo.number.encode()).hexdigest()


async def packed(repo: Repo) -> None:
    """Return when the repository's large files have their Xet ids; the first time this takes a while."""
    if repo.unpacked:
        await asyncio.to_thread(repo.pack)


def upload_path(sha256: str) -> str:
    """Where an upload of this content goes."""
    return _UPLOADS + sha256


class Cdn:
    """Answers every request to the CDN origin."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._xorbs = XorbData(world)
        self._known: dict[str, FileNode] = {}

    async def answer(self, ask: Ask) -> Reply:
        """The reply to a request; refusals are XML, as of an object store."""
        if "Authorization" in ask.headers and self._world.settings.cdn_refuses_tokens:
            return token_refused()
        refused = self._world.signer.check(ask.target)
        if refused is not None:
            return refused
        if ask.path.startswith(_UPLOADS) and ask.method == "PUT":
            return await self._take(ask)
        if ask.method not in ("GET", "HEAD"):
            return _error(405, "MethodNotAllowed")
        if ask.path.startswith(XORBS):
            return self._xorbs.answer(ask) or _error(404, "NoSuchKey")
        node = self._known.get(ask.path) or self._find(ask.path)
        return self._serve(ask, node.content, node.etag) if node else _error(404, "NoSuchKey")

    def _find(self, path: str) -> FileNode | None:
        for repo in self._world.shelf:
            if _place(repo)[:24] not in path:  # so that no other repository is packed by looking
                continue
            for commit in repo.commits.values():
                for node in commit.files.values():
                    if node.lfs and file_path(repo, node) == path:
                        return self._known.setdefault(path, node)
        return None

    def _serve(self, ask: Ask, content: Content, etag: str) -> Reply:
        headers = {
            "ETag": f'"{hashlib.sha256(b"cdn " + etag.encode()).hexdigest()}"',
            "Content-Type": "application/octet-stream",
            "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
            "Cache-Control": "public, max-age=604800, immutable, s-maxage=604800",
            "X-Cache": "Hit from cloudfront",
        }
        condition = ask.headers.get("If-Range")
        if condition is not None and condition not in (headers["ETag"], headers["Last-Modified"]):
            ask.whole = True
        try:
            return content_reply(content, ask.span(content.size_bytes), headers, etag)
        except Refusal as refusal:
            reply = _error(416, "InvalidRange")
            reply.headers |= refusal.headers
            return reply

    async def _take(self, ask: Ask) -> Reply:
        sha256 = ask.path.removeprefix(_UPLOADS)
        target = uploaded(self._world, sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{sha256}.{ask.connection}.partial")
        digest = hashlib.sha256()
        with partial.open("wb") as stream:
            async for piece in ask.request.content.iter_any():
                digest.update(piece)
                stream.write(piece)
        if digest.hexdigest() != sha256:
            partial.unlink()
            return _error(400, "XAmzContentSHA256Mismatch")
        partial.replace(target)
        return Reply(200, {"ETag": f'"{sha256[:32]}"'})


def uploaded(world: World, sha256: str) -> Path:
    """Where the bytes of an upload are kept."""
    return world.state_dir / "lfs" / sha256


def stored(world: World, sha256: str) -> Content | None:
    """The content of this sha256, uploaded or in any repository; None when nobody has it."""
    path = uploaded(world, sha256)
    if path.is_file():
        return DiskContent(path, path.stat().st_size)
    for repo in world.shelf:
        for commit in repo.commits.values():
            for node in commit.files.values():
                if node.lfs and node.lfs.sha256 == sha256:
                    return node.content
    return None


def _error(status: int, code: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return text_reply(body, status, {"Content-Type": "application/xml"})
