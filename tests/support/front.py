"""A gateway that hostile clients talk to, and what every refusal must look like."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moongate.double import HubDouble, Repo
from support.gateway import Gateway
from support.raw import RawAnswer, ask

CONFIG = b'{"model_type": "bert"}'
SECRET_FILE = b"only for ada\n" * 1000
TROUBLE = ("Traceback", "request failed", "connection failed", " 500 ")


@dataclass(frozen=True, slots=True)
class Front:
    """A gateway that hostile clients talk to, and the Hub behind it."""

    double: HubDouble
    repo: Repo
    gateway: Gateway

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def port(self) -> int:
        return self.gateway.port

    def kept(self) -> tuple[dict[str, int], list[tuple[str, int]]]:
        """What the store and the index hold, by the admin API."""
        usage = ask(self.url, "/api/moongate/v1/usage").json()
        repos = ask(self.url, "/api/moongate/v1/repos").json()["repos"]
        sizes = {name: usage[name] for name in ("blobs", "blob_bytes", "partials", "quarantined")}
        return sizes, sorted((row["repo"], row["files"]) for row in repos)

    def is_well(self) -> None:
        """It answers, rightly, and its log tells of nothing that broke inside."""
        assert ask(self.url, "/readyz").status == 200
        answer = ask(self.url, "/acme/tiny/resolve/main/config.json")
        assert (answer.status, answer.body) == (200, CONFIG)
        log = self.gateway.log_path.read_text(errors="replace")
        for word in TROUBLE:
            assert word not in log, log[log.index(word) - 300 :][:3000]


def until(fact: Callable[[], object], timeout_seconds: float = 60.0) -> None:
    """Return as soon as `fact()` holds. The time is that of a machine with much else to do.

    Raises:
        AssertionError: it did not within the time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not fact():
        assert time.monotonic() < deadline, "what was waited for did not come about"
        time.sleep(0.01)


HOST_PATHS = ("/home/", "/usr/", "site-packages", str(Path.home()), str(Path(__file__).parents[2]))


def is_coded(answer: RawAnswer, *statuses: int) -> None:
    """It is a refusal as a Hub client understands it, and tells nothing of this machine."""
    assert answer.status in (statuses or range(400, 500)), (answer.status, answer.body[:500])
    assert answer.headers.get("x-error-code"), answer
    told = answer.json()["error"]
    assert told
    assert told.isprintable()
    for line in (told, answer.headers.get("x-error-message", "")):
        assert not any(char < " " or char == "\x7f" for char in line)
        assert "Traceback" not in line
        assert not any(path in line for path in HOST_PATHS if len(path) > 1), line
