"""The client of all transfers: a program of its own that reads and throws away, as cheaply as Python can.

    python -m bench.reader < job.json > result.json

A job is `{"kind": …, "host", "port", "path", …}`:

    whole        read the file `times` times on one connection
    spans        read `spans` ([first, last] each) one after another on one connection
    pieces       read `pieces` ([path, first, last] each) one after another on one connection
    download     read `url` on a new connection, redirects followed; with `stop_early`, its first byte only
    crowd        `connections` at once, each reads the file to its end
    slow         `connections` at once, each taking `bytes_per_second`, for `seconds`; stops when stdin closes
    loop         read the file over and over for `seconds` on `connections`

Results are numbers: bytes, seconds, and what each kind adds. Any status but 200 or 206 ends it.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable
from typing import TypedDict
from urllib.parse import urljoin, urlsplit

_SCRATCH_BYTES = 1 << 20
_HEAD_BYTES = 64 << 10
_TIMEOUT_SECONDS = 120.0
_SLOW_TURN_SECONDS = 0.25
_SLOW_BUFFER_BYTES = 64 << 10
_REDIRECTS = 5
# Only what is needed is looked for: who has more headers is not to pay for this client's reading of them.
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)", re.IGNORECASE)


class Job(TypedDict, total=False):
    """What to read; which keys count depends on the kind."""

    kind: str
    host: str
    port: int
    path: str
    times: int
    spans: list[list[int]]
    pieces: list[tuple[str, int, int]]
    url: str
    stop_early: bool
    connections: int
    bytes_per_second: int
    seconds: float


class Result(TypedDict, total=False):
    """What was read."""

    bytes: int
    seconds: float
    first_byte: float


class Answered(Exception):
    """A status other than 200 or 206."""


class Connection:
    """One kept-alive HTTP/1.1 connection that reads bodies into a scratch buffer."""

    def __init__(self, host: str, port: int, receive_buffer_bytes: int | None = None) -> None:
        self._sock = socket.socket()
        if receive_buffer_bytes:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._sock.settimeout(_TIMEOUT_SECONDS)
        self._sock.connect((host, port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{host}:{port}"
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))

    @property
    def sock(self) -> socket.socket:
        return self._sock

    def ask(self, path: str, span: list[int] | None = None) -> tuple[int, dict[str, str], int]:
        """Send a GET and read the head: status, headers (lower case), body bytes that came along."""
        head, came = self._head(path, span)
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        return int(lines[0].split()[1]), headers, came

    def _head(self, path: str, span: list[int] | None) -> tuple[bytes, int]:
        ranged = f"Range: bytes={span[0]}-{span[1]}\r\n" if span else ""
        self._sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{ranged}\r\n".encode())
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0:
            piece = self._sock.recv(_HEAD_BYTES)
            if not piece:
                raise Answered(f"connection closed before an answer to {path}")
            head += piece
        return head[:end], len(head) - end - 4

    def fetch(self, path: str, span: list[int] | None = None) -> int:
        """Read one body; its length.

        Raises:
            Answered: the status was another one, or the body ended early.
        """
        head, came = self._head(path, span)
        found = _LENGTH.search(head)
        if found is None or not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 206 ")):
            raise Answered(f"an answer that cannot be read for {path}: {head[:500]!r}")
        length = int(found[1])
        self.finish(length - came)
        return length

    def body(self, path: str) -> bytes:
        """The body of a small answer.

        Raises:
            Answered: the status was not 200.
        """
        self._sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nConnection: close\r\n\r\n".encode())
        with self._sock.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            while answer.readline().strip():
                pass
            body = answer.read()
        if status != 200:
            raise Answered(f"{status} for {path}: {body[:200]!r}")
        return body

    def finish(self, left: int) -> None:
        """Read that many bytes.

        Raises:
            Answered: the connection ended before.
        """
        while left:
            left -= self.take(left)

    def take(self, most: int) -> int:
        """Read what is there, at least one byte and at most so many.

        Raises:
            Answered: the connection ended.
        """
        count = self._sock.recv_into(self._scratch, min(most, _SCRATCH_BYTES))
        if not count:
            raise Answered("a body ended early")
        return count

    def close(self) -> None:
        self._sock.close()


def whole(job: Job) -> Result:
    connection = Connection(job["host"], job["port"])
    started = time.perf_counter()
    count = sum(connection.fetch(job["path"]) for _ in range(job.get("times", 1)))
    return {"bytes": count, "seconds": time.perf_counter() - started}


def spans(job: Job) -> Result:
    connection = Connection(job["host"], job["port"])
    started = time.perf_counter()
    count = sum(connection.fetch(job["path"], span) for span in job["spans"])
    return {"bytes": count, "seconds": time.perf_counter() - started}


def pieces(job: Job) -> Result:
    connection = Connection(job["host"], job["port"])
    started = time.perf_counter()
    count = sum(connection.fetch(path, [first, last]) for path, first, last in job["pieces"])
    return {"bytes": count, "seconds": time.perf_counter() - started}


def download(job: Job) -> Result:
    started = time.perf_counter()
    url = job["url"]
    for _ in range(_REDIRECTS):
        parts = urlsplit(url)
        connection = Connection(parts.hostname or "", parts.port or 80)
        try:
            status, headers, came = connection.ask(parts.path + (f"?{parts.query}" if parts.query else ""))
            if status in (301, 302, 303, 307, 308):
                url = urljoin(url, headers["location"])
                continue
            if status != 200:
                raise Answered(f"{status} for {url}: {headers.get('x-error-message', '')}")
            came = came or connection.take(1)
            first_byte = time.perf_counter() - started
            if job.get("stop_early"):
                return {"bytes": came, "first_byte": first_byte, "seconds": first_byte}
            length = int(headers["content-length"])
            connection.finish(length - came)
            return {"bytes": length, "first_byte": first_byte, "seconds": time.perf_counter() - started}
        finally:
            connection.close()
    raise Answered(f"too many redirects from {job['url']}")


class _Reading:
    """One of many slow connections, past its head."""

    def __init__(self, job: Job) -> None:
        self.connection = Connection(job["host"], job["port"], _SLOW_BUFFER_BYTES)
        self.path = job["path"]
        self.left = 0

    def begin(self) -> int:
        status, headers, came = self.connection.ask(self.path)
        if status not in (200, 206):
            raise Answered(f"{status} for {self.path}")
        self.left = int(headers["content-length"]) - came
        return came


def crowd(job: Job) -> Result:
    started = time.perf_counter()
    count = _drain(_asking(job, job["connections"]), lambda: False)
    return {"bytes": count, "seconds": time.perf_counter() - started}


class _Head:
    """Where one of the crowd stands: its head is collected first, then its body counted down."""

    def __init__(self) -> None:
        self.head = b""
        self.left: int | None = None

    def take(self, data: memoryview) -> int:
        """Body bytes in what arrived."""
        if self.left is not None:
            self.left -= len(data)
            return len(data)
        self.head += data
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            return 0
        lines = self.head[:end].decode("latin-1").split("\r\n")
        if lines[0].split()[1] != "200":
            raise Answered(lines[0])
        length = next(line.partition(":")[2] for line in lines if line.lower().startswith("content-length:"))
        body = len(self.head) - end - 4
        self.left = int(length) - body
        return body


def _asking(job: Job, connections: int) -> dict[socket.socket, _Head]:
    """That many connections that have all asked before any answer is read."""
    request = f"GET {job['path']} HTTP/1.1\r\nHost: {job['host']}:{job['port']}\r\n\r\n".encode()
    heads = {Connection(job["host"], job["port"]).sock: _Head() for _ in range(connections)}
    for sock in heads:
        sock.sendall(request)
    return heads


def _drain(heads: dict[socket.socket, _Head], over: Callable[[], bool]) -> int:
    scratch = memoryview(bytearray(_SCRATCH_BYTES))
    selector = selectors.DefaultSelector()
    for quiet in heads:
        quiet.setblocking(False)
        selector.register(quiet, selectors.EVENT_READ, quiet)
    count, open_count = 0, len(heads)
    while open_count and not over():
        events = selector.select(_TIMEOUT_SECONDS)
        if not events:
            raise Answered(f"{open_count} connections fell silent")
        for key, _ in events:
            sock: socket.socket = key.data
            arrived = sock.recv_into(scratch)
            if not arrived:
                raise Answered("a body ended early")
            count += heads[sock].take(scratch[:arrived])
            if heads[sock].left == 0:
                selector.unregister(sock)
                open_count -= 1
    return count


def slow(job: Job) -> Result:
    share = int(job["bytes_per_second"] * _SLOW_TURN_SECONDS)
    readings = [_Reading(job) for _ in range(job["connections"])]
    started = time.perf_counter()
    count = 0
    for reading in readings:
        count += reading.begin()
        reading.connection.sock.setblocking(False)
    _say({"first_byte": time.perf_counter() - started})
    scratch = memoryview(bytearray(max(share, 1)))
    while (turn := time.perf_counter()) - started < job["seconds"]:
        for reading in readings:
            count += _sip(reading, scratch)
        time.sleep(max(0.0, turn + _SLOW_TURN_SECONDS - time.perf_counter()))
    return {"bytes": count, "seconds": time.perf_counter() - started}


def _sip(reading: _Reading, scratch: memoryview) -> int:
    taken = 0
    while reading.left and taken < len(scratch):
        try:
            arrived = reading.connection.sock.recv_into(scratch, len(scratch) - taken)
        except BlockingIOError:
            break
        if not arrived:
            raise Answered("a slow reader was cut off")
        reading.left -= arrived
        taken += arrived
    return taken


def loop(job: Job) -> Result:
    started = time.perf_counter()
    count = 0

    def over() -> bool:
        return time.perf_counter() - started >= job["seconds"]

    while not over():
        heads = _asking(job, job.get("connections", 1))
        count += _drain(heads, over)
        for sock in heads:
            sock.close()
    return {"bytes": count, "seconds": time.perf_counter() - started}


_KINDS: dict[str, Callable[[Job], Result]] = {
    "whole": whole,
    "spans": spans,
    "pieces": pieces,
    "download": download,
    "crowd": crowd,
    "slow": slow,
    "loop": loop,
}


def _say(result: Result) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def main() -> int:
    job: Job = json.loads(sys.stdin.readline())
    try:
        _say(_KINDS[job["kind"]](job))
    except (Answered, OSError) as error:
        print(f"{job['kind']}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
