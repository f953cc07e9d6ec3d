"""What this room counts. The app's metrics implement it; nothing here knows of any metrics library."""

from __future__ import annotations

from typing import Literal, Protocol

Outcome = Literal["hit", "miss", "stale", "pass"]
"""hit: from what is kept, upstream not asked. miss: asked, then kept. stale: kept, older than it should be,
because upstream could not be asked. pass: asked, and not kept."""

Purpose = Literal["info", "metadata", "file", "access", "list", "manifest", "pass"]
"""What an upstream request was for."""


class HubEvents(Protocol):
    """Counters. Calls are cheap, never raise, and may come from any thread."""

    def answered(self, kind: str, outcome: Outcome) -> None:
        """An answer was given; `kind` is the route's name in lower case (`info`, `tree`, `file`, …)."""

    def asked_upstream(self, purpose: Purpose, seconds: float, error: str | None) -> None:
        """Upstream was asked; `error` is the class name of what it raised, or None."""

    def filled(self, size_bytes: int, seconds: float) -> None:
        """A file was fetched, verified and sealed."""

    def fetched(self, size_bytes: int) -> None:
        """So many bytes of content came from upstream."""

    def fill_failed(self, error: str) -> None:
        """A fill ended without a sealed file; `error` is a class name."""

    def evicted(self, files: int, size_bytes: int) -> None:
        """So much was evicted to make room."""


class NoEvents:
    """Counts nothing."""

    def answered(self, kind: str, outcome: Outcome) -> None: ...

    def asked_upstream(self, purpose: Purpose, seconds: float, error: str | None) -> None: ...

    def filled(self, size_bytes: int, seconds: float) -> None: ...

    def fetched(self, size_bytes: int) -> None: ...

    def fill_failed(self, error: str) -> None: ...

    def evicted(self, files: int, size_bytes: int) -> None: ...
