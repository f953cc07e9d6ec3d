"""The double itself: repositories and users in, addresses out.

    double = HubDouble(tmp_path)
    repo = double.add_repo("acme/tiny")
    repo.commit({"config.json": b"{}", "model.safetensors": LfsFile(b"...")})
    with double.running() as url:
        ...                                   # HF_ENDPOINT=url
        double.meters.bytes_sent(origin="cdn")

It runs in a thread with its own event loop. Repositories, users, faults and settings may change
meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from moongate.double.cas import Cas
from moongate.double.cdn import Cdn
from moongate.double.control import Control
from moongate.double.delivery import Delivery
from moongate.double.door import Door
from moongate.double.faults import Fault, FaultDesk
from moongate.double.hub import Hub
from moongate.double.meters import Meters
from moongate.double.repo import Repo
from moongate.double.shelf import Shelf
from moongate.double.signer import Signer
from moongate.double.users import User, Users
from moongate.double.world import Settings, World
from moongate.double.xet_files import XetFile, XetFiles

_STEP_TIMEOUT_SECONDS = 10.0
# Other host names than the hub's, as the real CDN and CAS have: clients decide by them where a token may go.
_CDN_HOST = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
_CAS_HOST = "127.0.0.3" if sys.platform == "linux" else "127.0.0.1"

Result = TypeVar("Result")


class HubDouble:
    """A Hub on loopback, with a hub origin, a CDN origin, a CAS origin and a control origin.

    `state_dir` takes bare git repositories, uploads and xorbs. Ports of 0 are chosen when it first runs, and
    kept.
    """

    def __init__(  # noqa: PLR0913
        self,
        state_dir: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        cdn_host: str = _CDN_HOST,
        cdn_port: int = 0,
        cas_host: str = _CAS_HOST,
        cas_port: int = 0,
        control_port: int = 0,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        state = Path(state_dir)
        xet = XetFiles(state, self.settings)
        self.world = World(state, Shelf(), Users(), self.settings, Signer(), xet)
        self.world.routes |= {"/api/daily_papers": [], "/api/trending": {"recentlyTrending": []}}
        self.meters = Meters()
        self.faults = FaultDesk()
        delivery = Delivery(self.meters, self.faults)

        def door(origin: str, at: str, number: int) -> Door:
            handlers = {
                "hub": Hub(self.world).answer,
                "cdn": Cdn(self.world).answer,
                "cas": Cas(self.world).answer,
                "control": Control(self).answer,
            }
            made = Door(origin, handlers[origin], self.world, self.meters, self.faults, delivery)
            made.host, made.port = at, number
            return made

        self._hub = door("hub", host, port)
        self._cdn = door("cdn", cdn_host, cdn_port)
        self._cas = door("cas", cas_host, cas_port)
        self._control = door("control", host, control_port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # What there is

    def add_repo(
        self,
        repo_id: str,
        type: str = "model",  # noqa: A002
        *,
        gated: bool | str = False,
        private: bool = False,
        xet: bool = False,
        legacy_id: str | None = None,
        gitattributes: bool = True,
        facts: dict[str, object] | None = None,
    ) -> Repo:
        """A new, empty repository; `gated=True` means "auto".

        `legacy_id` is a one-segment id that redirects here (`gpt2` to `openai-community/gpt2`); a
        repository may also have a one-segment id itself. With `xet` its large files can also be had through
        the CAS; they are packed when they are first asked for. `facts` are added to its info, by the Hub's
        field names.

        Raises:
            ValueError: the name is taken.
        """
        gate = "auto" if gated is True else gated
        repo = Repo(
            repo_id,
            type,
            private=private,
            gated=gate,
            xet=self.world.xet if xet else None,
            gitattributes=gitattributes,
            facts=dict(facts or {}),
        )
        self.world.shelf.add(repo)
        if legacy_id:
            self.world.shelf.alias(type, legacy_id, repo_id)
        return repo

    def repo(self, repo_id: str, type: str = "model") -> Repo:  # noqa: A002
        """The repository of this id.

        Raises:
            KeyError: there is none.
        """
        found = self.world.shelf.find(type, repo_id)
        if found is None:
            raise KeyError(f"{type}s/{repo_id}")
        return found

    def xet_file(self, repo_id: str, path: str, revision: str = "main", type: str = "model") -> XetFile:  # noqa: A002
        """A file as Xet knows it, its id and its terms; packed now if it was not before.

        Raises:
            KeyError: no such repository, revision or file, or it is not in Xet.
        """
        commit = self.repo(repo_id, type).resolve(revision)
        node = commit.files.get(path) if commit else None
        if node is None or node.lfs is None or node.lfs.xet is None:
            raise KeyError(f"{type}s/{repo_id} has no {path} in Xet at {revision}")
        return node.lfs.xet()

    def rename(self, old: str, new: str, type: str = "model") -> Repo:  # noqa: A002
        """Give a repository another id; the old one answers 307."""
        return self.world.shelf.rename(type, old, new)

    def remove(self, repo_id: str, type: str = "model") -> None:  # noqa: A002
        """Take a repository away."""
        self.world.shelf.remove(type, repo_id)

    def add_user(
        self,
        name: str,
        token: str,
        *,
        grants: Iterable[str] = (),
        orgs: Iterable[str] = (),
        role: str = "write",
    ) -> User:
        """A user with a token; `grants` are ids of gated or private repositories they may read."""
        return self.world.users.add(name, token, role=role, grants=grants, orgs=orgs)

    def route(self, path: str, value: object) -> None:
        """Answer `GET {path}` (under `/api/`) with this JSON value."""
        self.world.routes[path] = value

    def fault(self, fault: Fault) -> int:
        """Put a fault in force; the number to `faults.remove` it by."""
        return self.faults.add(fault)

    @contextmanager
    def failing(self, *faults: Fault) -> Iterator[list[int]]:
        """Have faults in force for the length of a block."""
        numbers = [self.faults.add(fault) for fault in faults]
        try:
            yield numbers
        finally:
            for number in numbers:
                self.faults.remove(number)

    # Where it is

    @property
    def url(self) -> str:
        """The hub origin: what HF_ENDPOINT is set to."""
        return self.world.hub_url

    @property
    def cdn_url(self) -> str:
        return self.world.cdn_url

    @property
    def cdn_netloc(self) -> str:
        """`host:port` of the CDN, as an allow-list names it."""
        return self.world.cdn_url.removeprefix("http://")

    @property
    def cas_url(self) -> str:
        """The double's own CAS, whatever address tokens name."""
        return self.world.own_cas_url

    @property
    def cas_netloc(self) -> str:
        """`host:port` of the CAS, as an allow-list names it."""
        return self.world.own_cas_url.removeprefix("http://")

    @property
    def control_url(self) -> str:
        return f"http://{self._control.host}:{self._control.port}"

    def doors(self, origin: str | None = None) -> list[Door]:
        """The doors an outage closes: hub, CDN and CAS, or the one named."""
        return [door for door in (self._hub, self._cdn, self._cas) if origin in (None, door.origin)]

    # Running

    async def open(self) -> None:
        """Listen, in the running event loop."""
        for door in (*self.doors(), self._control):
            await door.open()
        self.world.hub_url = f"http://{self._hub.host}:{self._hub.port}"
        self.world.cdn_url = f"http://{self._cdn.host}:{self._cdn.port}"
        self.world.own_cas_url = f"http://{self._cas.host}:{self._cas.port}"

    async def close(self) -> None:
        """Break off all connections and stop listening."""
        self.faults.clear()
        for door in (*self.doors(), self._control):
            await door.end()

    def start(self) -> str:
        """Run in a thread until `stop`; the hub's address.

        Raises:
            RuntimeError: it runs already.
            OSError: a port is taken.
        """
        if self._loop is not None:
            raise RuntimeError("this double runs already")
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hub-double", daemon=True)
        self._thread.start()
        self.meters.settle_by(self._settle)
        try:
            self._await(self.open())
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Stop the thread; no error when it does not run."""
        if self._loop is None or self._thread is None:
            return
        self._await(self.close())
        self._await(_end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    @contextmanager
    def running(self) -> Iterator[str]:
        """Run for the length of a block; gives the hub's address."""
        url = self.start()
        try:
            yield url
        finally:
            self.stop()

    def down(self, origin: str | None = None) -> None:
        """Close the listening sockets and every connection of one origin, or of all."""
        for door in self.doors(origin):
            self._await(door.close())

    def up(self, origin: str | None = None) -> None:
        """Listen again on the same ports."""
        for door in self.doors(origin):
            self._await(door.open())

    @contextmanager
    def away(self, origin: str | None = None) -> Iterator[None]:
        """Be down for the length of a block."""
        self.down(origin)
        try:
            yield
        finally:
            self.up(origin)

    def _settle(self) -> None:
        """Wait for the loop to end what it is at: sending a piece and counting it are one step of it."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or threading.current_thread() is thread:
            return
        passed = threading.Event()
        loop.call_soon_threadsafe(passed.set)
        passed.wait(_STEP_TIMEOUT_SECONDS)

    def _await(self, work: Coroutine[object, object, Result]) -> Result:
        if self._loop is None:
            work.close()
            raise RuntimeError("this double does not run in a thread")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_STEP_TIMEOUT_SECONDS)


async def _end_tasks() -> None:
    """Cancel whatever still runs in this loop and wait until it has ended."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
