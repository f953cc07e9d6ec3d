"""The YARA rules of all feeds as one compiled file, for the processes that hold content against them."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from moongate.core.errors import StoreError, UpstreamBroken
from moongate.scan.feeds.yara_rules import compile_rules

log = structlog.get_logger("moongate.feeds")


class RuleLedger(Protocol):
    """What this needs of the index."""

    def feeds_version(self) -> str: ...
    def yara_sources(self) -> list[tuple[str, str, str]]: ...


class RuleFile:
    """Written anew when feeds say something else. For any thread."""

    def __init__(self, ledger: RuleLedger, folder: Path) -> None:
        self._ledger = ledger
        self._folder = folder
        self._lock = threading.Lock()
        self._version = ""
        self._path: Path | None = None

    def now(self) -> Path | None:
        """The file, named after what is in it; None while no feed has rules. A point read, mostly.

        Raises:
            StoreError: it cannot be written.
        """
        version = self._ledger.feeds_version()
        with self._lock:
            if version != self._version:
                self._path = self._written() if version else None
                self._version = version
            return self._path

    def _written(self) -> Path | None:
        sources = [(f"{feed}:{name}", text) for feed, name, text in self._ledger.yara_sources()]
        if not sources:
            return None
        try:
            compiled = compile_rules(sources)
        except UpstreamBroken as error:
            log.warning("rules of feeds are not asked", why=error.message)
            return None
        if compiled is None:
            return None
        path = self._folder / f"yara-{hashlib.sha256(repr(sources).encode()).hexdigest()[:12]}.yarc"
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(compiled)
            unfinished.rename(path)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        for old in self._folder.glob("yara-*"):
            if old != path:
                with suppress(OSError):
                    old.unlink()
        return path
