"""Devices that wait until a person allows them (RFC 8628): how a command line signs in by a browser.

A device shows a short code and asks again and again; a person who signed in types the code and allows it, and
the device gets a token of theirs. A code is one of 20^8, good for ten minutes, and only who signed in can
try one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from moongate.core.accounts import DeviceRow, DeviceState
from moongate.core.errors import Absent, StoreError

WAIT_SECONDS: Final = 600.0
INTERVAL_SECONDS: Final = 5

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_CODE_CHARS = 8
_TRIES = 5

Waiting = Literal["waiting", "denied", "expired"]
"""Why a device gets nothing, or nothing yet."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who allowed a device to act as them."""

    account: str


class DeviceIndex(Protocol):
    """What this room needs of the index."""

    def put_device(self, row: DeviceRow) -> bool: ...
    def device(self, sha256: str) -> DeviceRow | None: ...
    def device_called(self, user_code: str) -> DeviceRow | None: ...
    def answer_device(self, user_code: str, state: DeviceState, account: str) -> bool: ...
    def take_device(self, sha256: str) -> bool: ...
    def prune_ways_in(self, now: float) -> int: ...


class Devices:
    """Has devices wait, and lets people answer them. Everything here writes, and belongs in a thread."""

    def __init__(self, index: DeviceIndex, clock: Callable[[], float]) -> None:
        self._index = index
        self._clock = clock

    def begin(self) -> tuple[str, str]:
        """What a device keeps to itself, and the code that it shows."""
        now = self._clock()
        self._index.prune_ways_in(now)
        word = secrets.token_urlsafe(32)
        for _ in range(_TRIES):
            code = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_CHARS))
            if self._index.put_device(DeviceRow(_sha256(word), code, now + WAIT_SECONDS)):
                return word, shown_code(code)
        raise StoreError("no code is free for a device")

    def waits(self, code: str) -> bool:
        """Whether a device waits that shows this code."""
        row = self._index.device_called(plain_code(code))
        return row is not None and row.state == "waiting" and row.expires_at > self._clock()

    def answer(self, code: str, account: str, *, allow: bool) -> None:
        """Let somebody allow a device to act as them, or deny it.

        Raises:
            Absent: no device waits that shows this code.
        """
        if not self.waits(code) or not self._index.answer_device(
            plain_code(code), "allowed" if allow else "denied", account
        ):
            raise Absent("No device waits that shows this code; it may have taken too long.")

    def take(self, word: str) -> Allowed | Waiting:
        """Whose token the device shall get, told only once; or why it gets none."""
        row = self._index.device(_sha256(word))
        if row is None or row.expires_at <= self._clock():
            return "expired"
        if row.state == "allowed":
            return Allowed(row.account) if self._index.take_device(row.sha256) else "expired"
        return "denied" if row.state == "denied" else "waiting"


def plain_code(text: str) -> str:
    """A code as it is kept, however a person typed it."""
    return "".join(char for char in text.upper() if char in _LETTERS)[: _CODE_CHARS + 1]


def shown_code(code: str) -> str:
    """A code as it is easy to read."""
    return f"{code[:4]}-{code[4:]}"


def _sha256(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()
