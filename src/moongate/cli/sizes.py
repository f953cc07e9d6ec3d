"""Sizes as people type them: 500, 20GB, 1.5TiB."""

from __future__ import annotations

import re

from moongate.cli.exits import wrong_usage

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGTP]?)(I?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_size(text: str, option: str) -> int:
    """The bytes that a text means: by thousands, or with an i (GiB) by 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise wrong_usage(f"{option} is a size such as 500, 20GB or 1.5TiB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _POWERS[match[2].upper()])
