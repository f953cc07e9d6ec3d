"""The upstream of a run: the Hub double in its own process, and what a measurement may ask of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import Program

_ANSWER_SECONDS = 60.0
_PACKAGES = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file upstream has: its repository, commit and path there, where its bytes lie here."""

    repo: str
    commit: str
    path: str
    sha256: str
    size_bytes: int
    at: Path

    @property
    def url_path(self) -> str:
        """Its address below an endpoint, by commit."""
        return f"/{self.repo}/resolve/{self.commit}/{self.path}"

    @property
    def branch_path(self) -> str:
        """Its address below an endpoint, by branch."""
        return f"/{self.repo}/resolve/main/{self.path}"


class Hub:
    """The running double."""

    def __init__(self, folder: Path) -> None:
        self.program = Program(
            "hub double",
            [sys.executable, "-m", "bench.hub_program", str(folder / "state")],
            folder / "hub.log",
            environment={"PYTHONPATH": str(_PACKAGES)},
            read_output=True,
        )
        said = json.loads(self.program.read_line(_ANSWER_SECONDS))
        self.url: str = said["url"]
        self.cdn_url: str = said["cdn_url"]
        self.cas_url: str = said["cas_url"]
        self.xorbs = folder / "state" / "xet" / "xorbs"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def tell(self, **order: object) -> object:
        """Give an order and wait for the answer.

        Raises:
            CannotRun: it ended, or did not answer.
        """
        self.program.input.write(json.dumps(order) + "\n")
        self.program.input.flush()
        answer: object = json.loads(self.program.read_line(_ANSWER_SECONDS))["answer"]
        return answer

    def add(self, repo: str, files: Mapping[str, Mapping[str, str]], *, xet: bool = False) -> str:
        """A new repository with one commit; the commit. With `xet`, its large files are packed at once."""
        return str(self.tell(do="add", repo=repo, files=files, xet=xet))

    def sent_bytes(self, sha256: str) -> int:
        """Bytes it sent so far of one content."""
        answer = self.tell(do="sent", etag=sha256)
        assert isinstance(answer, int)
        return answer

    def all_sent_bytes(self) -> int:
        """Bytes of bodies it sent so far to anybody: content, listings, reconstructions."""
        answer = self.tell(do="sent", etag=None)
        assert isinstance(answer, int)
        return answer

    @contextmanager
    def throttled(self, bytes_per_second: float, *, together: bool = False) -> Iterator[None]:
        """Limit each CDN connection, or all of them together, for the length of a block."""
        self.tell(do="throttle", bytes_per_second=bytes_per_second, together=together)
        try:
            yield
        finally:
            self.tell(do="calm")

    @contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Delay every answer for the length of a block."""
        self.tell(do="latency", seconds=seconds)
        try:
            yield
        finally:
            self.tell(do="calm")

    def stop(self) -> None:
        self.program.stop()
