"""Everything that can go wrong with a Hub, one dataclass each, with a matcher that says for whom.

Each fault takes part at one of three moments and leaves the others alone: it answers *instead* of the Hub, it
*rewrites* the answer, or it *shapes* how the answer goes over the wire.

    add(Status(503, match=Match(path="/api/*"), times=3))     the next three API calls
    add(Cut(1_000_000, match=Match(origin="cdn"), every=2))   every second download
    add(Throttle(50_000_000, match=Match(origin="cdn")))      each connection to the CDN
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import orjson

from moongate.double.ask import Ask
from moongate.double.content import MemoryContent
from moongate.double.reply import Refusal, Reply, redirect_reply, text_reply
from moongate.double.world import World


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests: `path` is a glob over the decoded path (`*` also spans slashes); None means any.

    `ranged` asks for a Range header (True) or its absence (False). `query` is a glob over the query string.
    """

    path: str = "*"
    method: str | None = None
    origin: str | None = None
    ranged: bool | None = None
    query: str | None = None

    def fits(self, ask: Ask) -> bool:
        return (
            (self.method is None or ask.method == self.method)
            and (self.origin is None or ask.origin == self.origin)
            and (self.ranged is None or ("Range" in ask.headers) == self.ranged)
            and (self.query is None or fnmatchcase(ask.query_string, self.query))
            and (fnmatchcase(unquote(ask.path), self.path) or fnmatchcase(ask.path, self.path))
        )


@dataclass(slots=True)
class Shape:
    """How a body goes over the wire. Offsets in `flips` are of the file, the others of the body sent."""

    delay_seconds: float = 0.0
    bytes_per_second: float | None = None
    bytes_per_second_together: float | None = None
    cut_after_bytes: int | None = None
    reset: bool = False
    flips: list[int] = field(default_factory=list)
    stall_after_bytes: int | None = None
    stall_fault: int = 0
    hang_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault: for requests that `match`, after the first `skip`, every `every`-th, at most `times` times."""

    match: Match = Match()
    times: int | None = None
    every: int = 1
    skip: int = 0

    def instead(self, ask: Ask, world: World) -> Reply | None:
        """An answer that replaces the Hub's; None lets the Hub answer."""
        return None

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        """Change the Hub's answer in place."""

    def shape(self, shape: Shape) -> None:
        """Change how it is sent."""


@dataclass(frozen=True, slots=True)
class Latency(Fault):
    """Wait before the first byte."""

    seconds: float

    def shape(self, shape: Shape) -> None:
        shape.delay_seconds += self.seconds


@dataclass(frozen=True, slots=True)
class Throttle(Fault):
    """Limit each connection, smoothly, by a token bucket; or all connections `together`, by one of theirs."""

    bytes_per_second: float
    together: bool = False

    def shape(self, shape: Shape) -> None:
        if self.together:
            limit = shape.bytes_per_second_together or self.bytes_per_second
            shape.bytes_per_second_together = min(self.bytes_per_second, limit)
        else:
            limit = shape.bytes_per_second or self.bytes_per_second
            shape.bytes_per_second = min(self.bytes_per_second, limit)


@dataclass(frozen=True, slots=True)
class Cut(Fault):
    """Close the connection after this many body bytes; with `reset` by RST, losing what is in flight."""

    after_bytes: int
    reset: bool = False

    def shape(self, shape: Shape) -> None:
        shape.cut_after_bytes = self.after_bytes
        shape.reset = self.reset


@dataclass(frozen=True, slots=True)
class HangUp(Fault):
    """Close the connection without a word."""

    def shape(self, shape: Shape) -> None:
        shape.hang_up = True


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """Fall silent: before the head of the answer, or after so many body bytes, until the fault is removed."""

    after_bytes: int | None = None

    def shape(self, shape: Shape) -> None:
        shape.stall_after_bytes = -1 if self.after_bytes is None else self.after_bytes


@dataclass(frozen=True, slots=True)
class FlipByte(Fault):
    """Invert the byte at an offset of the file; answers that do not hold it stay right."""

    offset: int

    def shape(self, shape: Shape) -> None:
        shape.flips.append(self.offset)


@dataclass(frozen=True, slots=True)
class Truncate(Fault):
    """Send only this many bytes, with a Content-Length that agrees."""

    keep_bytes: int

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        reply.length_bytes = min(self.keep_bytes, reply.size_bytes)


@dataclass(frozen=True, slots=True)
class WrongLength(Fault):
    """Say a Content-Length that is off by `delta_bytes`, and close after the true bytes."""

    delta_bytes: int

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        reply.content_length = max(0, reply.size_bytes + self.delta_bytes)


@dataclass(frozen=True, slots=True)
class WrongContentRange(Fault):
    """Shift the numbers of Content-Range, and optionally its total, keeping the bytes."""

    delta_bytes: int = 0
    delta_total_bytes: int = 0

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        if "Content-Range" in reply.headers and reply.status == 206:
            span, _, total = reply.headers["Content-Range"].removeprefix("bytes ").partition("/")
            first, _, last = span.partition("-")
            moved = f"{int(first) + self.delta_bytes}-{int(last) + self.delta_bytes}"
            reply.headers["Content-Range"] = f"bytes {moved}/{int(total) + self.delta_total_bytes}"


@dataclass(frozen=True, slots=True)
class IgnoreRange(Fault):
    """Answer 200 and the whole file to a ranged request."""

    def instead(self, ask: Ask, world: World) -> Reply | None:
        ask.whole = True
        return None


@dataclass(frozen=True, slots=True)
class ExpireUrls(Fault):
    """Let signed URLs of the CDN expire `after_seconds` after they were issued or `after_uses`; then 403."""

    after_seconds: float | None = None
    after_uses: int | None = None

    def instead(self, ask: Ask, world: World) -> Reply | None:
        if ask.origin == "cdn" and world.signer.spent(ask.target, self.after_seconds, self.after_uses):
            return world.signer.expired_reply()
        return None


@dataclass(frozen=True, slots=True)
class TooMany(Fault):
    """429, with `Retry-After`, or with `RateLimit: "bucket";r=0;t=N`, or with neither."""

    retry_after_seconds: int | None = None
    reset_seconds: int | None = None
    bucket: str = "resolvers"

    def instead(self, ask: Ask, world: World) -> Reply | None:
        headers = {}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        if self.reset_seconds is not None:
            headers["RateLimit"] = f'"{self.bucket}";r=0;t={self.reset_seconds}'
            headers["RateLimit-Policy"] = f'"fixed window";"{self.bucket}";q=5000;w=300'
        message = "We had to rate limit your IP. To continue using our service, log in or create an account."
        return Refusal(429, message, headers=headers).reply()


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """Any status with a body: a 503 page of a load balancer, a coded 404, …"""

    status: int
    body: str = ""
    code: str | None = None
    content_type: str = "text/html"

    def instead(self, ask: Ask, world: World) -> Reply | None:
        headers = {"Content-Type": self.content_type} | ({"X-Error-Code": self.code} if self.code else {})
        return text_reply(self.body or f"<html><body>{self.status}</body></html>", self.status, headers)


@dataclass(frozen=True, slots=True)
class RedirectTo(Fault):
    """Send the client to any URL."""

    url: str
    status: int = 302
    headers: Mapping[str, str] = field(default_factory=dict)

    def instead(self, ask: Ask, world: World) -> Reply | None:
        return redirect_reply(self.url, self.status, self.headers)


@dataclass(frozen=True, slots=True)
class RedirectLoop(Fault):
    """Send the client to where it is."""

    status: int = 307

    def instead(self, ask: Ask, world: World) -> Reply | None:
        return redirect_reply(ask.target, self.status)


@dataclass(frozen=True, slots=True)
class MoveRef(Fault):
    """Point a ref at another revision the moment a request arrives, then answer it."""

    repo: str
    at: str
    ref: str = "main"
    type: str = "model"

    def instead(self, ask: Ask, world: World) -> Reply | None:
        repo = world.shelf.find(self.type, self.repo)
        if repo is None:
            raise Refusal(500, f"MoveRef names no repository: {self.repo}")
        repo.set_ref(self.ref, self.at)
        return None


@dataclass(frozen=True, slots=True)
class MalformedJson(Fault):
    """Break off a JSON answer in the middle, framing right."""

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        if isinstance(reply.content, MemoryContent) and "json" in reply.headers.get("Content-Type", ""):
            reply.content = MemoryContent(reply.content.data[: max(1, len(reply.content.data) // 2)])
            reply.headers.pop("ETag", None)


@dataclass(frozen=True, slots=True)
class LieAboutSize(Fault):
    """Say sizes that are off by `delta_bytes`: in listings, and in X-Linked-Size."""

    delta_bytes: int

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        if "X-Linked-Size" in reply.headers:
            reply.headers["X-Linked-Size"] = str(int(reply.headers["X-Linked-Size"]) + self.delta_bytes)
        if isinstance(reply.content, MemoryContent) and "json" in reply.headers.get("Content-Type", ""):
            reply.content = MemoryContent(orjson.dumps(self._lie(orjson.loads(reply.content.data))))

    def _lie(self, value: object) -> object:
        if isinstance(value, list):
            return [self._lie(item) for item in value]
        if isinstance(value, dict):
            return {
                key: item + self.delta_bytes if key == "size" and isinstance(item, int) else self._lie(item)
                for key, item in value.items()
            }
        return value


@dataclass(frozen=True, slots=True)
class LieAboutTerms(Fault):
    """Tell a reconstruction that is not the file's.

    `how`: "order" has the terms reversed, "repeat" the first one in place of the last, "drop" leaves out the
    last, "chunks" makes the first one chunk shorter and keeps its length, "length" says its unpacked length
    one byte too long, "spans" moves every span to fetch by one byte. The first three need a file of several
    terms to be lies that a reader can find nothing odd in.
    """

    how: str = "order"

    def __post_init__(self) -> None:
        if self.how not in _LIES:
            raise ValueError(f"unknown lie; known: {', '.join(_LIES)}")

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        if not isinstance(reply.content, MemoryContent) or b'"terms"' not in reply.content.data:
            return
        told = orjson.loads(reply.content.data)
        terms = told["terms"]
        match self.how:
            case "order":
                terms.reverse()
            case "repeat":
                terms[-1] = terms[0]
            case "drop":
                terms.pop()
            case "chunks":
                terms[0]["range"]["end"] -= 1
            case "length":
                terms[0]["unpacked_length"] += 1
            case "spans":
                for entry in _fetches(told):
                    for one in entry.get("ranges", [entry]):
                        for end in ("start", "end"):
                            one["bytes" if "bytes" in one else "url_range"][end] += 1
        reply.content = MemoryContent(orjson.dumps(told))


_LIES = ("order", "repeat", "drop", "chunks", "length", "spans")


def _fetches(told: dict[str, dict[str, list[dict[str, dict[str, int]]]]]) -> Iterator[dict[str, Any]]:
    for entries in (told.get("xorbs") or told.get("fetch_info") or {}).values():
        yield from entries


@dataclass(frozen=True, slots=True)
class SetHeaders(Fault):
    """Add or replace headers of the answer."""

    headers: Mapping[str, str]

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        DropHeaders(tuple(self.headers)).rewrite(ask, reply)
        reply.headers.update(self.headers)


@dataclass(frozen=True, slots=True)
class DropHeaders(Fault):
    """Leave headers out of the answer."""

    names: tuple[str, ...]

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        gone = {name.lower() for name in self.names}
        reply.headers = {name: value for name, value in reply.headers.items() if name.lower() not in gone}


@dataclass(frozen=True, slots=True)
class BigHeaders(Fault):
    """Pad the answer with this many bytes of headers."""

    size_bytes: int = 1 << 20
    each_bytes: int = 4096

    def rewrite(self, ask: Ask, reply: Reply) -> None:
        for number in range(max(1, self.size_bytes // self.each_bytes)):
            reply.headers[f"X-Padding-{number}"] = "x" * (self.each_bytes - 20)


KINDS: dict[str, type[Fault]] = {
    kind.__name__: kind
    for kind in (
        Latency, Throttle, Cut, HangUp, Stall, FlipByte, Truncate, WrongLength, WrongContentRange,
        IgnoreRange, ExpireUrls, TooMany, Status, RedirectTo, RedirectLoop, MoveRef, MalformedJson,
        LieAboutSize, LieAboutTerms, SetHeaders, DropHeaders, BigHeaders,
    )
}  # fmt: skip


def fault_from_json(value: Mapping[str, object]) -> Fault:
    """A fault from JSON: `{"kind": "Cut", "after_bytes": 9, "match": {"origin": "cdn"}, "times": 1}`.

    Raises:
        ValueError: no such kind, or fields it does not have or lacks.
    """
    made = dict(value)
    kind = KINDS.get(str(made.pop("kind", "")))
    if kind is None:
        raise ValueError(f"unknown fault; known: {', '.join(sorted(KINDS))}")
    match = made.pop("match", {})
    if not isinstance(match, dict):
        raise ValueError("match must be an object")
    known = {item.name for item in fields(kind)}
    if unknown := set(made) - known:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    if isinstance(made.get("names"), list):
        made["names"] = tuple(made["names"])  # type: ignore[arg-type]
    try:
        return kind(match=Match(**match), **made)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(str(error)) from None


@dataclass(slots=True)
class _Held:
    fault: Fault
    met: int = 0
    used: int = 0


class FaultDesk:
    """The faults in force. Safe to change from another thread while requests run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, _Held] = {}
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> int:
        """Put a fault in force; the number by which it can be removed."""
        with self._lock:
            number = next(self._numbers)
            self._held[number] = _Held(fault)
            return number

    def remove(self, number: int) -> None:
        """Lift a fault; one that is not in force is no error."""
        with self._lock:
            self._held.pop(number, None)

    def clear(self) -> None:
        """Lift all faults."""
        with self._lock:
            self._held.clear()

    def holds(self, number: int) -> bool:
        return number in self._held

    def used(self, number: int) -> int:
        """How many requests a fault has struck so far."""
        held = self._held.get(number)
        return held.used if held else 0

    def strike(self, ask: Ask) -> list[tuple[int, Fault]]:
        """The faults that take part in this request, in the order they were added; each is counted."""
        if not self._held:
            return []
        with self._lock:
            return [
                (number, held.fault) for number, held in self._held.items() if self._takes_part(held, ask)
            ]

    @staticmethod
    def _takes_part(held: _Held, ask: Ask) -> bool:
        fault = held.fault
        if not fault.match.fits(ask) or (fault.times is not None and held.used >= fault.times):
            return False
        held.met += 1
        if held.met <= fault.skip or (held.met - fault.skip) % fault.every:
            return False
        held.used += 1
        return True

    def as_json(self) -> list[dict[str, object]]:
        with self._lock:
            held = list(self._held.items())
        return [{"id": n, "kind": type(h.fault).__name__, "met": h.met, "used": h.used} for n, h in held]
