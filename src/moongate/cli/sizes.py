"""Sizes as people type them: 500, 20GB, 1.5TiB."""

from __future__ import annotations

from moongate.cli.exits import wrong_usage
from moongate.core.sizes import size_in


def parse_size(text: str, option: str) -> int:
    """The bytes that a text means: by thousands, or with an i (GiB) by 1024."""
    size_bytes = size_in(text)
    if size_bytes is None:
        raise wrong_usage(f"{option} is a size such as 500, 20GB or 1.5TiB")
    return size_bytes
