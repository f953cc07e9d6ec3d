"""Checkpoints: signed words about how far the log had come, and what its last line's hash was.

    {"at":"…","hash":"…","key":"…16 hex…","log":"moongate audit","seq":42,"signature":"…base64…","v":1}

The signature is of the canonical JSON of everything else. A checkpoint vouches for every line up to its own,
because each line holds the hash of the one before. Whoever keeps checkpoints where the gateway cannot take
them back can tell that the log was cut or made anew; without them, only that it hangs together.
"""

from __future__ import annotations

import base64
import binascii
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import orjson

from moongate.core.errors import BadRequest, StoreError
from moongate.hub.audit_line import moment

_LOG: Final = "moongate audit"
_VERSION: Final = 1
_SYSLOG_PORT: Final = 514
_SYSLOG_PRIORITY: Final = 13 * 8 + 5  # log audit, notice (RFC 5424)
_LOCAL_SYSLOG: Final = "/dev/log"


class Verifier(Protocol):
    """A public key; `store.signing_key.PublicKey` is one."""

    id: str

    def signed(self, signature: bytes, data: bytes) -> bool: ...


class Signer(Protocol):
    """A private key; `store.signing_key.SigningKey` is one."""

    @property
    def public(self) -> Verifier: ...

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far the log had come, by whose key."""

    seq: int
    hash: str
    at: str
    key: str
    signature: str = ""

    @property
    def signed_part(self) -> bytes:
        return orjson.dumps(
            {
                "v": _VERSION,
                "log": _LOG,
                "seq": self.seq,
                "hash": self.hash,
                "at": self.at,
                "key": self.key,
            },
            option=orjson.OPT_SORT_KEYS,
        )

    def note(self) -> str:
        """The checkpoint as it is kept and given away: one line."""
        told = {**orjson.loads(self.signed_part), "signature": self.signature}
        return orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()

    def is_signed_by(self, key: Verifier) -> bool:
        try:
            signature = base64.b64decode(self.signature, validate=True)
        except binascii.Error:
            return False
        return key.id == self.key and key.signed(signature, self.signed_part)


def make_checkpoint(seq: int, line_hash: bytes, now: float, signer: Signer) -> Checkpoint:
    """A signed checkpoint of the line with this number and hash."""
    bare = Checkpoint(seq, line_hash.hex(), moment(now), signer.public.id)
    signature = base64.b64encode(signer.sign(bare.signed_part)).decode()
    return Checkpoint(bare.seq, bare.hash, bare.at, bare.key, signature)


def read_checkpoint(note: str) -> Checkpoint:
    """The checkpoint that a note tells.

    Raises:
        BadRequest: it tells none.
    """
    try:
        told = orjson.loads(note)
        if told["log"] != _LOG or told["v"] != _VERSION:
            raise ValueError
        read = Checkpoint(
            int(told["seq"]), str(told["hash"]), str(told["at"]), str(told["key"]), str(told["signature"])
        )
        if read.note() != note.strip():
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise BadRequest(f"not a checkpoint of an audit log: {note.strip()[:60]!r}") from None
    return read


def read_checkpoints(path: Path) -> list[Checkpoint]:
    """The checkpoints in a file, one a line, or in all files of a folder.

    Raises:
        StoreError: it cannot be read.
        BadRequest: it holds something else.
    """
    try:
        files = sorted(path.glob("*.json*")) if path.is_dir() else [path]
        lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read checkpoints in {path}: {error}") from error
    return [read_checkpoint(line) for line in lines if line.strip()]


Exporter = Callable[[Checkpoint], None]
"""Takes a checkpoint out of the gateway's reach. Raises `OSError`."""


def exporter(place: str) -> Exporter:
    """What takes checkpoints to a place.

    place: a file, which is only appended to; a folder (ends in `/`, or is one), which gets one file a
        checkpoint; `syslog:` for this machine's, or `syslog://host[:port]` (RFC 5424, UDP).
    """
    if place == "syslog:" or place.startswith("syslog://"):
        return _to_syslog(place)
    path = Path(place).expanduser()
    if place.endswith("/") or path.is_dir():
        return lambda checkpoint: _append(path / f"checkpoint-{checkpoint.seq:015d}.json", checkpoint.note())
    return lambda checkpoint: _append(path, checkpoint.note())


def _append(path: Path, note: str) -> None:
    """One write, so that lines of several processes do not mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, f"{note}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_syslog(place: str) -> Exporter:
    parts = urlsplit(place)

    def send(checkpoint: Checkpoint) -> None:
        words = (
            f"<{_SYSLOG_PRIORITY}>1 {checkpoint.at} {socket.gethostname()} moongate {os.getpid()} "
            f"checkpoint - {checkpoint.note()}"
        )
        if parts.hostname:
            where = socket.getaddrinfo(parts.hostname, parts.port or _SYSLOG_PORT, type=socket.SOCK_DGRAM)[0]
            with socket.socket(where[0], socket.SOCK_DGRAM) as out:
                out.sendto(words.encode(), where[4])
        else:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.sendto(words.encode(), _LOCAL_SYSLOG)

    return send
