"""The stage of a run: folder, files, upstream and contenders, made when first needed and ended together."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from bench import gateway, nginx
from bench.clients import Client, read
from bench.family import Made, make_base, make_fine_tune, make_quantised
from bench.gateway import Gateway
from bench.hub import Hub, HubFile
from bench.nginx import Nginx
from bench.plan import MIB, Plan
from bench.rounds import Reading

OURS = "moongate"
_WARM_UP_BYTES = 2 * MIB
# Enough small files for an info answer of about 2 KB, as a usual model has.
_SMALL_FILES = 44
_FINE_TUNES = 5
_LONGEST_START_SECONDS = 15.0
_LOOK_SECONDS = 0.25
_IDLE_CPU_SECONDS = 0.01
_QUIET_LOOKS = 4
_CLIENT = Path(__file__).resolve().parent.parent / ".venvs" / "hub-2.4" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Family:
    """A base model in Xet, fine-tunes of it with the bytes that each changed, and a quantised one."""

    base: HubFile
    fine_tunes: tuple[HubFile, ...]
    changed_bytes: int
    quantised: HubFile


def _rest(served: Gateway) -> None:
    """Until it has done what it does once after its start, a scanner's process included."""
    deadline, quiet = time.monotonic() + _LONGEST_START_SECONDS, 0
    spent = served.program.cpu_seconds()
    while quiet < _QUIET_LOOKS and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        before, spent = spent, served.program.cpu_seconds()
        quiet = quiet + 1 if spent - before < _IDLE_CPU_SECONDS else 0


class Stage:
    """Everything a measurement may use. Close it to end every process that was started."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._ending = ExitStack()
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """End everything."""
        self._ending.close()

    # Upstream

    @cached_property
    def hub(self) -> Hub:
        """The Hub double."""
        hub = Hub(self.folder / "hub")
        self._ending.callback(hub.stop)
        return hub

    @cached_property
    def origin(self) -> Nginx:
        """nginx as a CDN that can send faster than anybody here can take."""
        return self._kept(nginx.static(self.folder / "origin", self.files, request_logs=False))

    @contextmanager
    def nginx_as_cdn(self) -> Iterator[Nginx]:
        """Let the double's signed addresses lead to nginx for the length of a block."""
        self.hub.tell(do="cdn", url=f"http://127.0.0.1:{self.origin.port}")
        try:
            yield self.origin
        finally:
            self.hub.tell(do="cdn", url="")

    def add_file(self, repo: str, size_bytes: int, small_files: int = 0) -> HubFile:
        """Fresh content of this size, safetensors, in a repository of its own."""
        made = make_base(self.files, size_bytes, seed=next(self._numbers))
        files = {f"part-{number:02}/config.json": {"text": "{}"} for number in range(small_files)}
        path = "model.safetensors"
        commit = self.hub.add(repo, {path: {"at": str(made.at), "sha256": made.sha256}, **files})
        return HubFile(repo, commit, path, made.sha256, made.size_bytes, made.at)

    def add_xet(self, repo: str, made: Made) -> HubFile:
        """A made file as the weights of a repository that upstream keeps in Xet."""
        path = "model.safetensors"
        files = {path: {"at": str(made.at), "sha256": made.sha256}}
        commit = self.hub.add(repo, files, xet=True)
        return HubFile(repo, commit, path, made.sha256, made.size_bytes, made.at)

    @cached_property
    def family(self) -> Family:
        """The models of all measurements of Xet."""
        base = make_base(self.files, self.plan.family_bytes, seed=next(self._numbers))
        made = [make_fine_tune(self.files, base, number) for number in range(_FINE_TUNES)]
        return Family(
            self.add_xet("family/base", base),
            tuple(self.add_xet(f"family/tuned-{number}", tune) for number, (tune, _) in enumerate(made)),
            made[0][1],
            self.add_xet("family/quantised", make_quantised(self.files, base)),
        )

    def pull(self, endpoint: str, file: HubFile) -> Reading:
        """The official client with hf_xet, empty caches, on any processor: `seconds`, `bytes`; checked.

        Raises:
            CannotRun: it failed, or is not installed.
        """
        home = self.folder / f"client-{next(self._numbers)}"
        environment = {
            "HF_HOME": str(home),
            "HF_XET_CHUNK_CACHE_SIZE_BYTES": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "*",
        }
        job = {"endpoint": endpoint, "repo": file.repo, "commit": file.commit, "path": file.path}
        try:
            found: Reading = Client(
                "hub_pull", {**job, "sha256": file.sha256}, python=_client(), environment=environment
            ).result()
            return found
        finally:
            shutil.rmtree(home, ignore_errors=True)

    @cached_property
    def hot(self) -> HubFile:
        """The large file that warm measurements read."""
        return self.add_file("bench/hot", self.plan.hot_bytes, _SMALL_FILES)

    @cached_property
    def medium(self) -> HubFile:
        """A file for what is limited or done by many."""
        return self.add_file("bench/medium", self.plan.limited_bytes)

    @cached_property
    def small(self) -> HubFile:
        """A file to be past the first request with."""
        return self.add_file("bench/warm-up", _WARM_UP_BYTES)

    # Contenders

    @cached_property
    def static(self) -> Nginx:
        """nginx serving the same files from disk."""
        plan = self.plan
        served = nginx.static(
            self.folder / "static", self.files, workers=plan.nginx_workers, request_logs=plan.request_logs
        )
        return self._kept(served)

    @cached_property
    def warm(self) -> Gateway:
        """A gateway that keeps the hot file already."""
        served = self._start(self.folder / "warm")
        self._ending.callback(served.stop)
        read("whole", served.port, self.hot.url_path, self.plan.client_cpus)
        self.settle()
        return served

    @contextmanager
    def fresh(self, *, xet: bool = False, settings: Mapping[str, str] | None = None) -> Iterator[Gateway]:
        """A gateway with an empty home, past its first request and at rest. Its home is removed afterwards.

        xet: whether it offers Xet, which is off unless it is asked for. settings: variables of others.
        """
        home = self.folder / f"home-{next(self._numbers)}"
        served = self._start(home, {"MOONGATE_XET": "true" if xet else "false", **(settings or {})})
        try:
            read("whole", served.port, self.small.branch_path, self.plan.client_cpus)
            _rest(served)
            yield served
        finally:
            served.stop()
            shutil.rmtree(home)

    @contextmanager
    def fresh_cache(self, *, large_buffers: bool = False) -> Iterator[Nginx]:
        """nginx as an empty caching proxy before `origin`."""
        folder = self.folder / "cache"
        served = nginx.cache(
            folder,
            self.origin,
            workers=self.plan.nginx_workers,
            request_logs=self.plan.request_logs,
            large_buffers=large_buffers,
        )
        try:
            yield served
        finally:
            served.stop()
            shutil.rmtree(folder)

    def settle(self) -> None:
        """Let the disk finish what earlier rounds wrote."""
        os.sync()

    def _start(self, home: Path, settings: Mapping[str, str] | None = None) -> Gateway:
        origins = (self.hub.cdn_url, self.hub.cas_url, f"http://127.0.0.1:{self.origin.port}")
        allowed = ",".join(urlsplit(url).netloc for url in origins)
        return gateway.start(
            home,
            self.hub.url,
            allowed,
            workers=self.plan.gateway_workers,
            request_logs=self.plan.request_logs,
            settings=settings,
        )

    def _kept(self, served: Nginx) -> Nginx:
        self._ending.callback(served.stop)
        return served


def _client() -> Path | None:
    """The interpreter that has the official client: an environment of its own, else ours has it."""
    return _CLIENT if _CLIENT.exists() else None
