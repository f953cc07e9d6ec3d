"""Many readers at once, each of whom tells what came: bytes by position, whole or broken off."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from support.wire_talk import HungUp, WireTalk

_PIECE_BYTES = 256 << 10


@dataclass
class Reading:
    """What one reader got.

    `spans` are the pieces of the file by where they begin; `whole` says that the answer ended as promised.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    spans: dict[int, bytes] = field(default_factory=dict)
    whole: bool = False

    @property
    def body(self) -> bytes:
        """The only piece; empty when there is none."""
        return next(iter(self.spans.values()), b"")


def read(
    port: int,
    target: str,
    *headers: str,
    began: threading.Event | None = None,
    asked: threading.Barrier | None = None,
) -> Reading:
    """Read one answer to its end, however it ends.

    asked: waited at when the request is sent. began: set when the first byte is here.
    """
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    got = Reading()
    with WireTalk(port, timeout_seconds=60) as talk:
        talk.say(("\r\n".join(lines) + "\r\n\r\n").encode())
        if asked is not None:
            asked.wait()
        pieces: list[bytes] = []
        try:
            head = talk.hear_head()
            got.status, got.headers = head.status, head.headers
            left = int(head.headers.get("content-length", "0"))
            while left and (piece := talk.read_some(min(left, _PIECE_BYTES))):
                if began is not None:
                    began.set()
                pieces.append(piece)
                left -= len(piece)
            got.whole = left == 0
        except HungUp:
            pass
    _place(got, b"".join(pieces))
    return got


def read_all(
    port: int, wanted: Iterable[tuple[str, tuple[str, ...]]], when_asked: Callable[[], object] | None = None
) -> list[Reading]:
    """All of these pairs of a target and headers at the same time; `when_asked`: called once all are sent."""
    readers = list(wanted)
    asked = threading.Barrier(len(readers), when_asked)
    with ThreadPoolExecutor(len(readers)) as pool:
        return list(pool.map(lambda one: read(port, one[0], *one[1], asked=asked), readers))


def _place(got: Reading, body: bytes) -> None:
    kind = got.headers.get("content-type", "")
    if got.status == 206 and "boundary=" in kind:
        boundary = kind.partition("boundary=")[2].encode()
        for part in body.split(b"\r\n--" + boundary)[1:]:
            head, found, data = part.partition(b"\r\n\r\n")
            if found and (start := re.search(rb"bytes (\d+)-", head)):
                got.spans[int(start[1])] = data
    elif got.status == 206:
        start = re.match(r"bytes (\d+)-", got.headers["content-range"])
        got.spans[int(start[1]) if start else 0] = body
    elif got.status == 200:
        got.spans[0] = body
