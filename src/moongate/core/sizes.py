"""Sizes in bytes, as people write them and as they read them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGTP]?)(I?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_in(text: str) -> int | None:
    """The bytes that a text means, by thousands or with an i (GiB) by 1024; None when it is no size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _POWERS[match[2].upper()])


def shown_size(size_bytes: float) -> str:
    """`1.5 GiB`: three digits at most, exact below 1 KiB."""
    amount = float(size_bytes)
    for unit in _UNITS:
        if abs(amount) < 1000 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
