"""A Hub double, a real index in SQLite, and proxied repositories between them, on a clock that tests move."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path

from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.names import Revision, parse_repo
from moongate.double import HubDouble
from moongate.hub.answers import Answer
from moongate.hub.proxied import ProxiedRepos
from moongate.hub.rules import HubRules
from moongate.store.index import Index
from moongate.upstream.client import UpstreamClient
from moongate.upstream.guard import AddressGuard
from moongate.wire.routes import parse_route

ALICE = Caller("upstream", user="alice", credential=Secret("hf_alice"))
BOB = Caller("upstream", user="bob", credential=Secret("hf_bob"))
CAROL = Caller("token", user="carol")
MAIN = Revision("main")
TINY = parse_repo("acme/tiny")


class Clock:
    """Time, as the tests want it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Gate:
    """One gateway process, as far as this room goes."""

    double: HubDouble
    index: Index
    upstream: UpstreamClient
    proxied: ProxiedRepos
    clock: Clock

    async def get(self, path_qs: str, caller: Caller = ANONYMOUS, body: bytes | None = None) -> Answer:
        path, _, query = path_qs.partition("?")
        return await self.proxied.answer(parse_route(path), query, caller, body)


@dataclass
class Yard:
    """Makes gateways over one double; each `gate` is a process of its own on the same index."""

    double: HubDouble
    folder: Path
    clock: Clock
    gates: list[Gate] = field(default_factory=list)

    def gate(self, **rules: object) -> Gate:
        settled = HubRules(upstream_origin=self.double.url, stale_wait_seconds=0.5)
        settled = replace(settled, **rules)  # type: ignore[arg-type]
        index = Index(self.folder / "index.sqlite3")
        guard = AddressGuard(self.double.url, [self.double.cdn_netloc])
        upstream = UpstreamClient(
            self.double.url, guard, timeout_seconds=30, user_agent="test", offline=settled.offline
        )
        proxied = ProxiedRepos(index, upstream, settled, clock=self.clock)
        self.gates.append(Gate(self.double, index, upstream, proxied, self.clock))
        return self.gates[-1]

    def fetch(self, path_qs: str) -> bytes:
        """What upstream itself answers to anybody; blocking."""
        with urllib.request.urlopen(self.double.url + path_qs) as answer:
            return bytes(answer.read())

    def asked(self, path: str = "*") -> list[str]:
        """Method and path of every request that upstream saw."""
        return [f"{r.method} {r.path}" for r in self.double.meters.requests(path, origin="hub")]
