"""Files: `resolve`, `resolve-cache`, `raw`, and the Xet token that goes with them.

A regular file is a relative 307 to `/api/resolve-cache/…`, which has the bytes. A file in LFS is a 302 to a
signed URL of the CDN, another origin, with everything a client wants to know on the redirect itself.
"""

from __future__ import annotations

import gzip
import mimetypes
from urllib.parse import quote

from moongate.double.ask import Ask, split_revision
from moongate.double.cdn import file_path
from moongate.double.content import MemoryContent
from moongate.double.reply import Refusal, Reply, content_reply, json_reply, not_modified, redirect_reply
from moongate.double.repo import Commit, FileNode, LfsFacts, Repo
from moongate.double.world import World

XET_FILE_INFO = "application/vnd.xet-fileinfo+json"
_GZIP_LEAST_BYTES = 1024


class Resolve:
    """Answers the file routes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def resolve(self, ask: Ask, repo: Repo, revision: str, path: str) -> Reply:
        """`GET|HEAD {repo}/resolve/{revision}/{path}`."""
        commit, node = self._find(ask, repo, revision, path)
        if node.lfs is None:
            return self._to_cache(ask, repo, commit, path, node)
        return self._to_cdn(ask, repo, commit, path, node.lfs, node)

    def cached(self, ask: Ask, repo: Repo, commit_hash: str, path: str) -> Reply:
        """`GET|HEAD /api/resolve-cache/{type}s/{id}/{commit}/{path}`."""
        commit, node = self._find(ask, repo, commit_hash, path)
        if node.lfs is not None:
            return self._to_cdn(ask, repo, commit, path, node.lfs, node)
        headers = self._common(repo, commit, path) | {"ETag": f'"{node.oid}"', "Content-Type": _type_of(path)}
        headers["Content-Security-Policy"] = "default-src none; sandbox"
        reply = content_reply(node.content, ask.span(node.size_bytes), headers, node.etag)
        return self._gzipped(ask, reply)

    def raw(self, ask: Ask, repo: Repo, revision: str, path: str) -> Reply:
        """`GET|HEAD {repo}/raw/{revision}/{path}`: what git holds, so the pointer of a file in LFS."""
        commit, node = self._find(ask, repo, revision, path)
        content = MemoryContent(node.lfs.pointer) if node.lfs else node.content
        headers = self._common(repo, commit, path) | {"ETag": f'"{node.oid}"', "Content-Type": _type_of(path)}
        if node.lfs:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        reply = content_reply(content, ask.span(content.size_bytes), headers, node.oid)
        reply.conditional = False
        return reply

    def xet_token(self, ask: Ask, repo: Repo, rest: list[str]) -> Reply:
        """`GET …/xet-read-token/{revision}`."""
        self._world.readable(ask, repo)
        revision = split_revision(rest)[0]
        self._world.commit(repo, revision)
        return self._world.xet_tokens.reply(self._world, repo, revision, write=False)

    def _find(self, ask: Ask, repo: Repo, revision: str, path: str) -> tuple[Commit, FileNode]:
        self._world.readable(ask, repo)
        commit = self._world.commit(repo, revision)
        node = commit.files.get(path)
        if node is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit.hash})
        return commit, node

    def _common(self, repo: Repo, commit: Commit, path: str) -> dict[str, str]:
        name = path.rpartition("/")[2]
        plain = name.encode("ascii", "replace").decode().replace('"', "'").replace("?", "_")
        return {
            "X-Repo-Commit": commit.hash,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}; filename=\"{plain}\";",
            "Vary": "Origin, Accept",
            "RateLimit": '"resolvers";r=4999;t=300',
            "RateLimit-Policy": '"fixed window";"resolvers";q=5000;w=300',
        }

    def _to_cache(self, ask: Ask, repo: Repo, commit: Commit, path: str, node: FileNode) -> Reply:
        headers = self._common(repo, commit, path) | {"ETag": f'"{node.oid}"'}
        if not_modified(ask.headers.get("If-None-Match"), node.oid):
            return Reply(304, headers)
        query = f"?{quote(ask.path, safe='%').replace('/', '%2F')}=&etag=%22{node.oid}%22"
        location = f"/api/resolve-cache/{repo.key}/{commit.hash}/{quote(path)}{query}"
        return redirect_reply(location, 307, headers)

    def _to_cdn(
        self, ask: Ask, repo: Repo, commit: Commit, path: str, lfs: LfsFacts, node: FileNode
    ) -> Reply:
        headers = self._common(repo, commit, path) | {
            "Cache-Control": "no-cache, no-store, must-revalidate",
            "X-Linked-Size": str(lfs.size_bytes),
            "X-Linked-ETag": f'"{lfs.sha256}"',
        }
        if lfs.xet_hash:
            headers |= self._xet_headers(repo, commit, lfs.xet_hash)
        if not_modified(ask.headers.get("If-None-Match"), lfs.sha256):
            return Reply(304, headers | {"ETag": f'"{lfs.sha256}"'})
        if lfs.xet_hash and XET_FILE_INFO in ask.headers.get("Accept", ""):
            return self._file_info(repo, commit, lfs, lfs.xet_hash, headers)
        location = self._world.signer.sign(
            file_path(repo, node),
            self._world.settings.url_ttl_seconds,
            "response-content-disposition=" + quote(headers["Content-Disposition"], safe=""),
        )
        return redirect_reply(self._world.cdn_url + location, 302, headers)

    def _xet_urls(self, repo: Repo, commit: Commit, xet_hash: str) -> tuple[str, str]:
        auth = f"{self._world.hub_url}/api/{repo.key}/xet-read-token/{commit.hash}"
        return auth, f"{self._world.cas_url}/v1/reconstructions/{xet_hash}"

    def _xet_headers(self, repo: Repo, commit: Commit, xet_hash: str) -> dict[str, str]:
        auth, info = self._xet_urls(repo, commit, xet_hash)
        link = f'<{auth}>; rel="xet-auth", <{info}>; rel="xet-reconstruction-info"'
        return {"X-Xet-Hash": xet_hash, "Link": link}

    def _file_info(
        self, repo: Repo, commit: Commit, lfs: LfsFacts, xet_hash: str, headers: dict[str, str]
    ) -> Reply:
        auth, info = self._xet_urls(repo, commit, xet_hash)
        etag = f'"{lfs.sha256}"'
        value = {
            "hash": xet_hash,
            "refreshUrl": auth,
            "reconstructionUrl": info,
            "etag": etag,
            "size": lfs.size_bytes,
        }
        return json_reply(value, headers=headers | {"Content-Type": XET_FILE_INFO, "ETag": etag})

    def _gzipped(self, ask: Ask, reply: Reply) -> Reply:
        texty = reply.headers["Content-Type"].startswith(("text/", "application/json"))
        takes = "gzip" in ask.headers.get("Accept-Encoding", "")
        if not (self._world.settings.gzip_text and texty and takes and reply.status == 200):
            return reply
        if not isinstance(reply.content, MemoryContent) or reply.content.size_bytes < _GZIP_LEAST_BYTES:
            return reply
        reply.content = MemoryContent(gzip.compress(reply.content.data, 1, mtime=0))
        reply.headers |= {"Content-Encoding": "gzip", "ETag": "W/" + reply.headers["ETag"]}
        reply.headers["Vary"] += ", Accept-Encoding"
        del reply.headers["Accept-Ranges"]
        reply.chunked = True
        return reply


def _type_of(path: str) -> str:
    if path.endswith((".md", ".txt", ".jsonl", ".py", ".yaml", ".yml")) or path.startswith(".git"):
        return "text/plain; charset=utf-8"
    if path.endswith(".json"):
        return "application/json"
    return mimetypes.guess_type(path)[0] or "application/octet-stream"
