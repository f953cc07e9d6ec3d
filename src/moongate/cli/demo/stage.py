"""What every step of the demo may use: a folder, the upstream and what it sent, the gateway."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from moongate.cli.demo.model import EVIL_REPO, OWN_REPO, REPO, TUNED_REPO, Model, backdoored, fine_tune
from moongate.cli.demo.programs import Program, plain_environment
from moongate.cli.exits import CommandFailed

_ANSWER_SECONDS = 10.0
_PACKING_SECONDS = 60.0
_COMMAND_SECONDS = 60.0


@dataclass(slots=True)
class Stage:
    """One run of the demo. Addresses are origins, without a slash at the end."""

    folder: Path
    model: Model
    tuned: Model
    upstream: Program
    upstream_url: str
    control_url: str
    gateway: Program
    gateway_url: str
    caches: int = field(default=0)
    own: Model | None = None

    def empty_cache(self) -> Path:
        """A folder for a client that never pulled anything."""
        self.caches += 1
        return self.folder / f"client-{self.caches}"

    def moongate(self, *arguments: str) -> dict[str, Any]:
        """What a command says about this gateway's home, as JSON.

        Raises:
            CommandFailed: it failed.
        """
        done = subprocess.run(  # noqa: S603  (our own program)
            [sys.executable, "-m", "moongate.cli", *arguments],
            env=plain_environment(MOONGATE_HOME=str(self.folder / "home")),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise CommandFailed(f"moongate {arguments[0]} failed: {done.stderr.strip()[-500:]}")
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def token(self, user: str, scope: str) -> str:
        """A new token of this gateway's."""
        return str(self.moongate("token", "create", "--user", user, "--scope", scope, "--json")["token"])

    def upstream_bytes(self) -> int:
        """Body bytes that upstream sent so far, to anybody."""
        meters = json.loads(ask("GET", f"{self.control_url}/_double/meters")[1])
        return int(meters["bytes_sent"])

    def stored_bytes(self) -> int:
        """What the gateway's store takes on disk now, index apart."""
        store = self.folder / "home" / "store"
        return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())

    def stop_upstream(self) -> None:
        """End the upstream for good.

        Raises:
            CommandFailed: something still answers there.
        """
        self.upstream.stop()
        try:
            ask("GET", f"{self.upstream_url}/api/models/{REPO}")
        except OSError:
            return
        raise CommandFailed("the upstream was stopped, and still answers")


@contextmanager
def stage(model: Model, say: Callable[[str], None]) -> Iterator[Stage]:
    """Upstream and gateway, started one after the other; stopped, and the folder removed, at the end."""
    with tempfile.TemporaryDirectory(prefix="moongate-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        say("starting a small Hub on this machine, with the real all-MiniLM-L6-v2 and a fine-tune in it")
        tuned = fine_tune(model, folder / "tuned")
        evil = backdoored(folder / "backdoored")
        upstream = Program(
            "upstream",
            [
                sys.executable,
                "-m",
                "moongate.double",
                "--root",
                str(_shelf(folder, {REPO: model, TUNED_REPO: tuned, EVIL_REPO: evil})),
                "--state",
                str(folder / "hub-state"),
            ],
            plain_environment(),
            folder,
        )
        try:
            place = json.loads(upstream.first_line())
            for repo in (REPO, TUNED_REPO):
                # The Hub packs a repository into Xet when it is first asked about: not a part of any pull.
                ask("GET", f"{place['hub']}/api/models/{repo}/tree/main", _PACKING_SECONDS)
            say(f"starting a gateway in front of {place['hub']}")
            gateway = Program(
                "gateway",
                [sys.executable, "-m", "moongate.cli", "serve", "--port", "0"],
                plain_environment(
                    MOONGATE_HOME=str(folder / "home"),
                    MOONGATE_UPSTREAM=place["hub"],
                    MOONGATE_UPSTREAM_ALLOWED_HOSTS=f"{urlsplit(place['cdn']).netloc},{urlsplit(place['cas']).netloc}",
                    MOONGATE_XET="true",
                    MOONGATE_HOSTED_NAMESPACES=OWN_REPO.partition("/")[0],
                    # Every pull asks for the branch again, so that the last one finds upstream gone.
                    MOONGATE_REF_TTL_SECONDS="0",
                    MOONGATE_MIN_FREE_BYTES="0",
                ),
                folder,
            )
            try:
                url = gateway.first_line().removeprefix("export HF_ENDPOINT=").strip()
                yield Stage(folder, model, tuned, upstream, place["hub"], place["control"], gateway, url)
            finally:
                gateway.stop()
        finally:
            upstream.stop()


def _shelf(folder: Path, models: Mapping[str, Model]) -> Path:
    """The models where the Hub double looks for them, all kept in Xet: linked, not copied."""
    shelf = folder / "hub"
    for repo, model in models.items():
        place = shelf / "models" / repo
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(model.folder, target_is_directory=True)
    facts = {"repos": {f"models/{repo}": {"xet": True} for repo in models}}
    (shelf / "double.json").write_text(json.dumps(facts))
    return shelf


def ask(method: str, url: str, timeout_seconds: float = _ANSWER_SECONDS) -> tuple[int, bytes]:
    """One small question on loopback: status and body.

    Raises:
        OSError: nobody answers.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
