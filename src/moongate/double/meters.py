"""What really went over the wire: each request, and the bytes sent by path, by etag and by connection.

Bytes are counted as the kernel takes them, while the transfer runs. All may be read from another thread;
`wait_for` lets a test wait for a fact instead of sleeping.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase

_KEPT_RECORDS = 50_000


@dataclass(slots=True)
class RequestRecord:
    """One request. Times are seconds of the monotonic clock; `sent_bytes` counts body bytes only."""

    number: int
    origin: str
    connection: int
    method: str
    path: str
    query: str
    headers: dict[str, str]
    user: str | None
    started: float
    status: int | None = None
    etag: str | None = None
    sent_bytes: int = 0
    faults: list[str] = field(default_factory=list)
    first_byte_at: float | None = None
    finished_at: float | None = None
    complete: bool = False

    def header(self, name: str) -> str | None:
        """A request header by any casing."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    @property
    def authorization(self) -> str | None:
        return self.header("Authorization")

    @property
    def range(self) -> str | None:
        return self.header("Range")


class Meters:
    """The meters of one double."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiters = 0
        self._settle: Callable[[], None] = lambda: None
        self._records: deque[RequestRecord] = deque(maxlen=_KEPT_RECORDS)
        self._count = 0
        self._bytes: dict[tuple[str, str | int], int] = {}

    def settle_by(self, settle: Callable[[], None]) -> None:
        """Have this called before every reading: it returns when what was sent by then has been counted."""
        self._settle = settle

    def open(self, record: RequestRecord) -> None:
        """Take note of a request that has just arrived, giving it its number."""
        with self._changed:
            self._count += 1
            record.number = self._count
            self._records.append(record)
        self._tell()

    def sent(self, record: RequestRecord, count: int) -> None:
        """Count body bytes that left for the client of this request; of one never opened, nothing."""
        if not record.number:
            return
        if record.first_byte_at is None:
            record.first_byte_at = time.monotonic()
        record.sent_bytes += count
        self._add("origin", record.origin, count)
        self._add("path", record.path, count)
        self._add("connection", record.connection, count)
        if record.etag:
            self._add("etag", record.etag, count)
        self._tell()

    def _add(self, kind: str, name: str | int, count: int) -> None:
        self._bytes[kind, name] = self._bytes.get((kind, name), 0) + count

    def close(self, record: RequestRecord, complete: bool) -> None:
        """Take note that a request is over; `complete` when all that was meant to be sent was sent."""
        record.finished_at = time.monotonic()
        record.complete = complete
        self._tell()

    def _tell(self) -> None:
        if self._waiters:
            with self._changed:
                self._changed.notify_all()

    def reset(self) -> None:
        """Forget everything counted so far, and what was sent by now and not counted yet."""
        self._settle()
        with self._changed:
            self._records.clear()
            self._bytes.clear()

    def bytes_sent(
        self,
        *,
        etag: str | None = None,
        xorb: str | None = None,
        path: str | None = None,
        origin: str | None = None,
        connection: int | None = None,
    ) -> int:
        """Body bytes sent for one etag, xorb (64 hex), raw path, origin or connection; without, in all."""
        wanted = [
            ("etag", etag),
            ("etag", xorb),
            ("path", path),
            ("origin", origin),
            ("connection", connection),
        ]
        named = [(kind, name) for kind, name in wanted if name is not None]
        if len(named) > 1:
            raise ValueError("name one of etag, xorb, path, origin, connection")
        self._settle()
        if named:
            return self._bytes.get(named[0], 0)
        return sum(count for (kind, _), count in list(self._bytes.items()) if kind == "origin")

    def bytes_by(self, kind: str) -> dict[str | int, int]:
        """All counts of one kind: path, etag, connection or origin."""
        self._settle()
        return {name: count for (key, name), count in list(self._bytes.items()) if key == kind}

    def requests(
        self,
        path: str = "*",
        *,
        method: str | None = None,
        origin: str | None = None,
        status: int | None = None,
    ) -> list[RequestRecord]:
        """The kept requests, oldest first, whose raw path fits a glob (`*` also spans slashes)."""
        self._settle()
        with self._changed:
            records = list(self._records)
        return [
            record
            for record in records
            if fnmatchcase(record.path, path)
            and (method is None or record.method == method)
            and (origin is None or record.origin == origin)
            and (status is None or record.status == status)
        ]

    def wait_for(self, fact: Callable[[Meters], bool], timeout_seconds: float = 60.0) -> None:
        """Return as soon as `fact(meters)` holds.

        Raises:
            TimeoutError: it did not within the time.
        """
        deadline = time.monotonic() + timeout_seconds
        self._waiters += 1
        try:
            while not fact(self):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the meters did not show the fact waited for")
                with self._changed:
                    self._changed.wait(min(left, 0.05))
        finally:
            self._waiters -= 1

    def as_json(self) -> dict[str, object]:
        """The totals, as the control door shows them."""
        return {
            "requests": self._count,
            "bytes_sent": self.bytes_sent(),
            **{f"bytes_by_{kind}": {str(k): v for k, v in self.bytes_by(kind).items()} for kind in _KINDS},
        }

    def log_json(self) -> list[dict[str, object]]:
        """The kept requests, as the control door shows them."""
        return [asdict(record) for record in self.requests()]


_KINDS = ("origin", "path", "etag", "connection")
