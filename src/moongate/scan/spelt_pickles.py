"""Finds pickles that are spelt in text, by base64 or by hexadecimal digits, with or without compression.

Nothing loads them by itself; whatever reads the text may.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Final

from moongate.core.verdicts import Severity
from moongate.scan.ledger import Ledger
from moongate.scan.pickles import may_run
from moongate.weights.ranged import Held

# The mark of protocols 2 to 5, and of zlib's and gzip's streams, in the letters of base64; and as digits.
_SPELT = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:(gA[IJKLMNOPQRSTUVWX]|eJ[wyxz]|eN[pq]|eA[FE]|H4sI)[A-Za-z0-9+/_-]{20,}={0,2}|"
    r"(80(?:02|03|04|05))(?:[0-9a-fA-F]{2}){14,})"
)
_HINTS = ("gA", "eJ", "eN", "eA", "H4sI", "8002", "8003", "8004", "8005")
_MOST: Final = 200
_LONGEST_CHARS: Final = 4 << 20
_MOST_UNPACKED_BYTES: Final = 4 << 20


def judge_spelt_pickles(text: str, ledger: Ledger, member: str) -> None:
    if not any(hint in text for hint in _HINTS):
        return
    for data, at in _spelt(text):
        found = may_run(Held(data))
        if found is not None:
            level = Severity.HIGH if "loads(" in text else None
            words = f"spells a pickle that {found}"
            ledger.add("pickle-nested", words, member=member, offset=at, severity=level)
            return


def _spelt(text: str) -> Iterator[tuple[bytes, int]]:
    for count, found in enumerate(_SPELT.finditer(text)):
        if count >= _MOST:
            return
        raw = found.group()[:_LONGEST_CHARS]
        try:
            data = bytes.fromhex(raw) if found.group(2) else base64.urlsafe_b64decode(_padded(raw))
            yield _unpacked(data), found.start()
        except (ValueError, binascii.Error, zlib.error):
            continue


def _padded(raw: str) -> str:
    plain = raw.rstrip("=").replace("+", "-").replace("/", "_")
    return plain[: len(plain) // 4 * 4 + (0 if len(plain) % 4 == 1 else len(plain) % 4)] + "=" * (
        -len(plain) % 4
    )


def _unpacked(data: bytes) -> bytes:
    if data[:1] == b"\x80":
        return data
    window = 31 if data.startswith(b"\x1f\x8b") else 15
    return zlib.decompressobj(window).decompress(data, _MOST_UNPACKED_BYTES)
