"""Uploads to hosted repositories as clients word them, by plain HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from support.raw import RawAnswer, ask

_LFS = {"Content-Type": "application/vnd.git-lfs+json"}
_JSON = {"Content-Type": "application/json"}


class Refused(AssertionError):
    """The gateway said no."""

    def __init__(self, answer: RawAnswer) -> None:
        super().__init__(f"{answer.status} {answer.headers.get('x-error-code')}: {answer.body[:300]!r}")
        self.answer = answer


class UploadTalk:
    """What a client says to one gateway."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def say(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> RawAnswer:
        """One request and its answer.

        Raises:
            Refused: its status is 400 or more.
        """
        answer = ask(self.url, target, method, {**self._headers, **(headers or {})}, body)
        if answer.status >= 400:
            raise Refused(answer)
        return answer

    def post(self, target: str, told: object) -> Any:
        """A JSON question and its JSON answer."""
        return self.say("POST", target, json.dumps(told).encode(), _JSON).json()

    def create(self, repo: str, **more: object) -> None:
        namespace, _, name = repo.partition("/")
        self.post("/api/repos/create", {"name": name, "organization": namespace, "type": "model", **more})

    def batch(self, repo: str, content: bytes, transfers: Sequence[str] = ("basic", "multipart")) -> Any:
        """What a batch says of one object."""
        asked = {
            "operation": "upload",
            "transfers": list(transfers),
            "objects": [{"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}],
            "hash_algo": "sha256",
        }
        body = json.dumps(asked).encode()
        return self.say("POST", f"/{repo}.git/info/lfs/objects/batch", body, _LFS).json()["objects"][0]

    def upload(self, repo: str, content: bytes, transfers: Sequence[str] = ("basic", "multipart")) -> None:
        """Send a large file, in whatever way the batch says."""
        told = self.batch(repo, content, transfers)
        if "actions" not in told:
            return
        upload = told["actions"]["upload"]
        size = int(upload["header"].get("chunk_size", 0))
        if not size:
            self.put(upload["href"], content)
            return
        parts = sorted((int(name), url) for name, url in upload["header"].items() if name.isdigit())
        for number, url in parts:
            assert self.put(url, content[(number - 1) * size : number * size]).headers["etag"]
        self.at(upload["href"], "POST", json.dumps({"oid": told["oid"], "parts": []}).encode())

    def put(self, href: str, content: bytes) -> RawAnswer:
        """Bytes to an address that needs no token."""
        return self.at(href, "PUT", content)

    def at(self, href: str, method: str, body: bytes) -> RawAnswer:
        """One request to an absolute address, without a token.

        Raises:
            Refused: its status is 400 or more.
        """
        answer = ask(self.url, urlsplit(href).path, method, {}, body)
        if answer.status >= 400:
            raise Refused(answer)
        return answer

    def commit(
        self, repo: str, *lines: Mapping[str, object], revision: str = "main", **header: object
    ) -> str:
        """Make a commit of these lines; its hash."""
        told = [{"key": "header", "value": {"summary": "change", **header}}, *lines]
        body = "\n".join(json.dumps(line) for line in told).encode()
        kind = {"Content-Type": "application/x-ndjson"}
        return str(self.say("POST", f"/api/models/{repo}/commit/{revision}", body, kind).json()["commitOid"])

    def read(self, repo: str, path: str, revision: str = "main") -> bytes:
        """The bytes of a file."""
        return self.say("GET", f"/{repo}/resolve/{revision}/{path}").body

    def tree(self, repo: str, revision: str = "main") -> list[Any]:
        """Every entry at a revision."""
        return list(self.say("GET", f"/api/models/{repo}/tree/{revision}?recursive=true").json())

    def history(self, repo: str) -> list[str]:
        """The commits of `main`, newest first."""
        told = self.say("GET", f"/api/models/{repo}/commits/main?limit=1000").json()
        return [str(one["id"]) for one in told]


def file_line(path: str, content: bytes) -> dict[str, object]:
    """Put a regular file."""
    text = base64.b64encode(content).decode()
    return {"key": "file", "value": {"path": path, "content": text, "encoding": "base64"}}


def lfs_line(path: str, content: bytes) -> dict[str, object]:
    """Put a large file that was sent before."""
    oid = hashlib.sha256(content).hexdigest()
    return {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid, "size": len(content)}}
