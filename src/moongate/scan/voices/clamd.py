"""ClamAV's daemon: it is sent the bytes and says what they are. It runs by itself, on this machine.

    > zINSTREAM\\0  <length, big-endian><bytes> … <0>
    < stream: OK\\0 | stream: NAME FOUND\\0 | … ERROR\\0

A daemon that takes less than the whole file has not looked at it, and says so.
Source: clamd(8).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable

from moongate.core.errors import BadRequest
from moongate.core.spans import ByteSpan
from moongate.scan.ledger import Ledger

_STEP_BYTES = 256 << 10
_MAX_ANSWER_BYTES = 4096


class Clamd:
    """One daemon, by its address: `unix:/run/clamav/clamd.ctl` or `tcp:127.0.0.1:3310`.

    Raises:
        BadRequest: the address is no such thing, or not on this machine.
    """

    def __init__(self, address: str, seconds: float = 60.0) -> None:
        kind, _, rest = address.partition(":")
        host, _, port = rest.rpartition(":")
        self._seconds = seconds
        self._path = rest if kind == "unix" else ""
        self._peer = ("", 0)
        if kind == "tcp" and port.isdigit() and _is_loopback(host):
            self._peer = (host, int(port))
        elif kind != "unix" or not rest:
            raise BadRequest("a daemon of ClamAV is named unix:PATH or tcp:127.0.0.1:PORT")

    def version(self) -> str:
        """What the daemon calls itself and its signatures.

        Raises:
            OSError: it does not answer.
        """
        with self._connected() as door:
            door.sendall(b"zVERSION\0")
            return _line(door)

    def hear(self, read: Callable[[ByteSpan], bytes | None], ledger: Ledger) -> None:
        """Writes what the daemon says of content into the ledger; that it says nothing, too."""
        try:
            answer = self._asked(read)
        except OSError as error:
            ledger.add("voice-failed", f"ClamAV did not answer: {type(error).__name__}")
            return
        said = answer.removeprefix("stream: ")
        if said.endswith(" FOUND"):
            ledger.add("virus", f"ClamAV finds {said.removesuffix(' FOUND')[:200]}")
        elif said != "OK":
            ledger.add("voice-failed", f"ClamAV did not look at it: {said[:200]}")

    def _asked(self, read: Callable[[ByteSpan], bytes | None]) -> str:
        with self._connected() as door:
            door.sendall(b"zINSTREAM\0")
            at = 0
            try:
                while data := read(ByteSpan(at, at + _STEP_BYTES)):
                    door.sendall(struct.pack(">I", len(data)) + data)
                    at += len(data)
                door.sendall(struct.pack(">I", 0))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has had enough; its answer says why
            return _line(door)

    def _connected(self) -> socket.socket:
        door = socket.socket(socket.AF_UNIX if self._path else socket.AF_INET, socket.SOCK_STREAM)
        door.settimeout(self._seconds)
        try:
            door.connect(self._path or self._peer)
        except OSError:
            door.close()
            raise
        return door


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _line(door: socket.socket) -> str:
    data = b""
    while b"\0" not in data and len(data) < _MAX_ANSWER_BYTES:
        more = door.recv(_MAX_ANSWER_BYTES)
        if not more:
            break
        data += more
    if not data:
        raise ConnectionResetError
    return data.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
