"""Keep-alive connections of one worker thread, blocking, each to an address that passed the guard.

What goes wrong below HTTP leaves here as an error of core.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from moongate.core.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from moongate.core.spans import ByteSpan
from moongate.upstream.guard import AddressGuard
from moongate.upstream.pipe import Pipe, can_splice

_ERROR_BODY_BYTES = 4096
_MOVABLE_BYTES = 64 << 10  # well above the buffer of the reader that `http.client` puts on a socket


class Links:
    """One worker's connections, at most one to a host. Not thread-safe but for `abort`."""

    def __init__(self, guard: AddressGuard, timeout_seconds: float, user_agent: str) -> None:
        self.guard = guard
        self._timeout_seconds = timeout_seconds
        self._user_agent = user_agent
        self._connections: dict[tuple[str, str, int], Connection] = {}
        self._closed = False

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """The answer to one request; its body is still on the way.

        Raises:
            UpstreamRefused: the guard does not let us go there.
            UpstreamUnreachable, UpstreamTimeout, UpstreamBroken: no connection, or no HTTP answer.
        """
        if self._closed:
            raise UpstreamUnreachable("the connection was given up")
        checked = self.guard.check_url(url)
        sent = {"Accept-Encoding": "identity", "User-Agent": self._user_agent, **headers}
        key = (checked.scheme, checked.raw_host or "", checked.port or 0)
        connection = self._connections.get(key)
        fresh = connection is None or connection.sock is None
        if connection is None:
            connection = self._connections[key] = Connection(self.guard, self._timeout_seconds, *key)
        try:
            return Answer(connection, connection.ask(method, checked.raw_path_qs, body, sent))
        except ConnectionError:
            if fresh or self._closed:
                raise UpstreamUnreachable("upstream closed the connection") from None
        try:  # once more: an idle connection may have been closed under us, and nobody failed
            return Answer(connection, connection.ask(method, checked.raw_path_qs, body, sent))
        except ConnectionError as error:
            raise UpstreamUnreachable("upstream closed the connection") from error

    def close(self) -> None:
        """Close everything. May be called twice."""
        self._closed = True
        for connection in self._connections.values():
            connection.close()

    def abort(self) -> None:
        """Called by another thread: a read that is under way ends with an error, and no new one begins."""
        self._closed = True
        for connection in list(self._connections.values()):
            connection.abort()


class Body:
    """The bytes of one answer, from `position` on. Read until `remaining` is 0, then `finish`."""

    def __init__(self, connection: Connection, response: http.client.HTTPResponse, span: ByteSpan) -> None:
        self._connection = connection
        self._response = response
        self._raw = None if response.chunked else response.fp
        self._buffer_is_empty = False
        self.position = span.start
        self.remaining = span.length
        connection.wait_in_kernel(True)

    def readinto(self, buffer: memoryview) -> int:
        """At least one byte, as soon as there is one; at most `remaining`.

        Raises:
            UpstreamUnreachable: the connection broke off. What was read stands; ask for the rest.
            UpstreamTimeout: nothing came in time.
        """
        view = buffer[: self.remaining]
        try:
            if self._raw is not None:
                count = self._raw.readinto1(view)
            else:
                piece = self._response.read1(len(view))
                count = len(piece)
                view[:count] = piece
            if count is None:
                raise TimeoutError
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError) as error:
            self._connection.close()
            raise UpstreamTimeout("upstream fell silent in the middle of a file") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise UpstreamUnreachable("upstream broke off in the middle of a file") from error
        self._advance(count)
        # The reader between us and the socket reads past its own buffer when ours is the larger one.
        self._buffer_is_empty = len(view) > _MOVABLE_BYTES
        return count

    def move(self, fd: int, count: int, base: int = 0) -> int:
        """Let the kernel move bytes to a file that begins at position `base`; how many, or 0: read these.

        Raises:
            As `readinto`; and OSError when the file takes no more.
        """
        pipe = self._connection.pipe() if self._raw is not None and self._buffer_is_empty else None
        if pipe is None or (count := min(count, self.remaining)) <= _MOVABLE_BYTES:
            return 0
        try:
            taken = pipe.take(self._connection.sock.fileno(), count)
        except BlockingIOError as error:
            self._connection.close()
            raise UpstreamTimeout("upstream fell silent in the middle of a file") from error
        except (OSError, AttributeError) as error:
            self._connection.close()
            raise UpstreamUnreachable("upstream broke off in the middle of a file") from error
        position = self.position - base
        self._advance(taken)
        try:
            pipe.give(fd, position, taken)
        except OSError:
            self._connection.close()
            raise
        return taken

    def _advance(self, count: int) -> None:
        if count <= 0:
            self._connection.close()
            raise UpstreamUnreachable("upstream ended a file early")
        self.position += count
        self.remaining -= count

    def finish(self) -> None:
        """Give the connection back for the next span; an unread rest closes it."""
        if self.remaining == 0 and not self._response.chunked and not self._response.will_close:
            self._response.close()
            self._connection.wait_in_kernel(False)
        else:
            self._connection.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's status and headers, and the way to its body."""

    connection: Connection
    response: http.client.HTTPResponse

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.response.getheaders())

    def read_all(self) -> bytes:
        """The start of a small body, for its error text; the connection is closed if more follows."""
        try:
            text = self.response.read(_ERROR_BODY_BYTES)
        except (OSError, http.client.HTTPException):
            text = b""
        self.discard()
        return text

    def discard(self) -> None:
        """Done with this answer: keep the connection if its body was empty or read, else close it."""
        if self.response.isclosed() or self.response.length == 0:
            self.response.close()
        else:
            self.connection.close()


class Connection(http.client.HTTPConnection):
    """A connection whose address passed the guard, with TLS when the URL said so."""

    def __init__(
        self, guard: AddressGuard, timeout_seconds: float, scheme: str, host: str, port: int
    ) -> None:
        super().__init__(host, port, timeout=timeout_seconds)
        self._guard = guard
        self._timeout_seconds = timeout_seconds
        self._scheme = scheme
        self._pipe: Pipe | None = None

    def pipe(self) -> Pipe | None:
        """A pipe to move bytes through; None where they must be read: with TLS, or no `splice`."""
        if self._pipe is None and type(self.sock) is socket.socket and can_splice():
            self._pipe = Pipe()
        return self._pipe

    def close(self) -> None:
        """Close it; it opens again when it is asked."""
        super().close()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def connect(self) -> None:
        sock = self._guard.create_connection(self.host, self.port, self._timeout_seconds, scheme=self._scheme)
        try:
            self.sock = (
                _tls().wrap_socket(sock, server_hostname=self.host) if self._scheme == "https" else sock
            )
        except (OSError, ssl.SSLError) as error:
            sock.close()
            raise UpstreamUnreachable(f"no TLS connection to {self.host}: {error}") from error

    def wait_in_kernel(self, on: bool) -> None:
        """Let the kernel keep the time of reads: Python's own time-out costs a poll before every one."""
        if self.sock is None:
            return
        self.sock.settimeout(None if on else self.timeout)
        if on:
            seconds = self._timeout_seconds
            limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def ask(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        try:
            self.request(method, target, body, headers)
            return self.getresponse()
        except TimeoutError as error:
            self.close()
            raise UpstreamTimeout("upstream did not answer in time") from error
        except ConnectionError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise UpstreamUnreachable(f"upstream cannot be reached: {error.strerror}") from error
        except http.client.HTTPException as error:
            self.close()
            raise UpstreamBroken(f"upstream's answer is no HTTP: {type(error).__name__}") from error

    def abort(self) -> None:
        """Wake up a thread that reads from here, by shutting the socket under it."""
        if (sock := self.sock) is not None:
            try:
                sock.shutdown(2)
            except OSError:
                return


_TLS_LOCK = threading.Lock()
_TLS_CONTEXT: list[ssl.SSLContext] = []


def _tls() -> ssl.SSLContext:
    """One context for all connections: building it reads every certificate of the machine."""
    with _TLS_LOCK:
        if not _TLS_CONTEXT:
            _TLS_CONTEXT.append(ssl.create_default_context())
        return _TLS_CONTEXT[0]
