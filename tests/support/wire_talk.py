"""A TCP connection over which a test says exactly what it wants, byte by byte.

with WireTalk(gateway.port) as talk:
    talk.say(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    talk.hear().status
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from types import TracebackType

from support.raw import RawAnswer

_TIMEOUT_SECONDS = 60.0
_BODILESS = (204, 304)


class HungUp(Exception):
    """The other side closed the connection where an answer, or the rest of one, was due."""


@dataclass
class WireTalk:
    """One connection to a port of loopback."""

    port: int
    timeout_seconds: float = _TIMEOUT_SECONDS
    receive_buffer_bytes: int | None = None
    _socket: socket.socket = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket()
        if self.receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes)
        self._socket.settimeout(self.timeout_seconds)
        self._socket.connect(("127.0.0.1", self.port))
        self._input = self._socket.makefile("rb")

    def __enter__(self) -> WireTalk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._input.close()
        self._socket.close()

    def say(self, data: bytes) -> WireTalk:
        """Send these bytes; that the other side no longer listens is no error (it may have answered)."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)
        return self

    def say_no_more(self) -> WireTalk:
        """Close our half: nothing more will come."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        return self

    def hear_head(self) -> RawAnswer:
        """Status and headers of the next answer; its body is not read.

        Raises:
            HungUp: the connection ended instead.
            TimeoutError: nothing came in time.
        """
        status_line = self._line()
        status = int(status_line.split()[1])
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return RawAnswer(status, headers, b"")

    def hear(self, method: str = "GET") -> RawAnswer:
        """The next answer, whole; `method` is that of its request.

        Raises:
            HungUp: the connection ended before the answer did.
            TimeoutError: nothing came in time.
        """
        head = self.hear_head()
        if method == "HEAD" or head.status in _BODILESS or 100 <= head.status < 200:
            return head
        if head.headers.get("transfer-encoding") == "chunked":
            return RawAnswer(head.status, head.headers, self._chunks())
        return RawAnswer(head.status, head.headers, self.read(int(head.headers["content-length"])))

    def read(self, count: int) -> bytes:
        """So many bytes of a body.

        Raises:
            HungUp: there were fewer.
        """
        try:
            data = self._input.read(count)
        except ConnectionError as error:
            raise HungUp("reset in the middle of a body") from error
        if len(data) < count:
            raise HungUp(f"{len(data)} of {count} bytes came")
        return data

    def read_some(self, count: int) -> bytes:
        """At most so many bytes, as soon as there are any; none at the end.

        Raises:
            HungUp: the connection was reset.
        """
        try:
            return self._input.read1(count)
        except ConnectionError as error:
            raise HungUp("reset") from error

    def is_over(self) -> bool:
        """Wait for the other side to close; False when it speaks instead.

        Raises:
            TimeoutError: it does neither.
        """
        try:
            return not self._input.read(1)
        except ConnectionError:
            return True

    def was_closed(self) -> bool:
        """Whether the other side has closed by now. Nothing that it said is read."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def _line(self) -> str:
        try:
            line = self._input.readline(1 << 16)
        except ConnectionError as error:
            raise HungUp("reset before an answer") from error
        if not line:
            raise HungUp("closed before an answer")
        return line.rstrip(b"\r\n").decode("latin-1")

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._line().partition(";")[0], 16):
            body += self.read(size)
            self._line()
        self._line()
        return body
