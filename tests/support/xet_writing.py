"""Uploads through Xet by plain HTTP, as a client in another language does them, and as none should.

with Gateway(...) as gateway:
    alice = XetWriter(gateway.url, "acme/mine", token).log_in()
    alice.send(xorb)
    alice.register(shard_of([file]))
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from moongate.app.tokens import mint
from moongate.core.callers import Scope
from moongate.core.names import parse_repo
from moongate.store.index import Index
from moongate.store.layout import Layout
from moongate.xet.crc64 import crc64_nvme
from moongate.xet.hashes import XetHash, hash_hex
from support.raw import RawAnswer, ask
from support.xorbs import Xorb


def make_hosted(home: Path, repo: str, *, private: bool = False, creator: str = "alice") -> None:
    """Have a repository live in a home, whether or not a gateway runs on it."""
    repo_id = parse_repo(repo)
    with Index(Layout(home).index_path) as index:
        index.add_namespace(repo_id.namespace, time.time())
        index.add_hosted(repo_id, private, creator, {}, time.time())


def make_token(home: Path, user: str, scope: Scope = "write") -> str:
    """A token of ours for a user."""
    with Index(Layout(home).index_path) as index:
        return mint(index, user, scope, None, "", time.time())[0].reveal()


@dataclass
class XetWriter:
    """One writer of one repository."""

    url: str
    repo: str
    token: str | None = None
    revision: str = "main"
    query: str = ""
    xet_token: str = ""
    cas_url: str = ""
    answers: list[RawAnswer] = field(default_factory=list)

    def ask_token(self, method: str = "GET") -> RawAnswer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        path = f"{parse_repo(self.repo).api_path}/xet-write-token/{self.revision}{self.query}"
        return ask(self.url, path, method, headers)

    def log_in(self) -> XetWriter:
        """Get a Xet token, as JSON."""
        answer = self.ask_token()
        assert answer.status == 200, answer.body
        told = answer.json()
        self.cas_url, self.xet_token = told["casUrl"], told["accessToken"]
        return self

    def cas(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> RawAnswer:
        """Ask the CAS with the Xet token."""
        place = urlsplit(self.cas_url or f"{self.url}/cas")
        sent = {"Authorization": f"Bearer {self.xet_token}"} if self.xet_token else {}
        origin = f"{place.scheme}://{place.netloc}"
        return ask(origin, place.path + path, method, sent | dict(headers or {}), body)

    def send(self, xorb: Xorb, data: bytes | None = None, spelling: str = "/v1/xorbs/default") -> RawAnswer:
        """Upload a xorb, or other bytes by its name."""
        body = xorb.data if data is None else data
        return self.cas("POST", f"{spelling}/{hash_hex(xorb.hash)}", body)

    def grant(self, name: XetHash, data: bytes, **other: object) -> RawAnswer:
        """Ask whether and where to a xorb of these bytes may be sent."""
        checksum = {"algo": "crc64nvme", "value": str(crc64_nvme(data))}
        question = {"length": len(data), "checksum": checksum, **other}
        return self.cas("POST", f"/v1/xorb-grants/default/{hash_hex(name)}", json.dumps(question).encode())

    def put(self, granted: RawAnswer, data: bytes, method: str = "PUT") -> RawAnswer:
        """Send bytes to where a grant says, without a token."""
        url = urlsplit(granted.json()["url"])
        headers = granted.json()["headers"]
        return ask(f"{url.scheme}://{url.netloc}", f"{url.path}?{url.query}", method, headers, data)

    def commit(self, name: XetHash, granted: RawAnswer) -> RawAnswer:
        """Say that a granted xorb was sent."""
        path = f"/v1/xorb-commits/default/{hash_hex(name)}/grant/{granted.json()['id']}"
        return self.cas("POST", path)

    def register(self, shard: bytes, spelling: str = "/v1/shards") -> RawAnswer:
        """Upload a shard."""
        return self.cas("POST", spelling, shard)
