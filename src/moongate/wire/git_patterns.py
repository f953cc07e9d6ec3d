"""git's patterns for paths, as `.gitattributes` and `.gitignore` write them.

`*` and `?` stop at slashes, a segment `**` does not; `[…]` is a class, and `[[:space:]]` is how a space is
spelled. Each star takes as little as it can and never reconsiders, so no pattern is slow.

Source: gitignore(5), gitattributes(5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_CLASSES = {"space": r"\s", "alnum": "A-Za-z0-9", "alpha": "A-Za-z", "digit": "0-9", "upper": "A-Z"}
_CLASSES |= {"lower": "a-z", "punct": re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"), "xdigit": "0-9A-Fa-f"}
_NAMED_CLASS = re.compile(r"\[:([a-z]+):\]")
_NOTHING = re.compile(r"(?!)")
_KEPT = 4096

Pattern = tuple[re.Pattern[str] | None, ...]
"""A pattern, one expression for each of its segments; None: `**`."""


@lru_cache(maxsize=_KEPT)
def compiled(text: str) -> Pattern | None:
    """The pattern that a text spells; None: it matches nothing."""
    try:
        return tuple(None if part == "**" else _segment(part) for part in text.removeprefix("/").split("/"))
    except re.error:
        return None


def matches(pattern: Pattern, names: Sequence[str]) -> bool:
    """Whether the segments of a path fit. `**` takes as few as it can, and one more if the rest does not."""
    at = place = 0
    wide, resumed = -1, 0
    while place < len(names):
        part = pattern[at] if at < len(pattern) else _NOTHING
        if part is None:
            wide, resumed, at = at, place, at + 1
        elif part.fullmatch(names[place]):
            at, place = at + 1, place + 1
        elif wide >= 0:
            resumed += 1
            at, place = wide + 1, resumed
        else:
            return False
    return at == len(pattern)


def escaped(path: str) -> str:
    """The pattern of exactly this path."""
    text = "".join(f"\\{char}" if char in "*?[\\" else char for char in path)
    text = re.sub(r"\s", "[[:space:]]", text)
    return text if "/" in text else f"/{text}"


def _segment(text: str) -> re.Pattern[str]:
    pieces = [""]
    at = 0
    while at < len(text):
        if text[at] == "*":
            pieces += [""] if pieces[-1] or len(pieces) == 1 else []
            at += 1
            continue
        made, at = _piece(text, at)
        pieces[-1] += made
    first, *others = pieces
    middle = "".join(f"(?>.*?{piece})" for piece in others[:-1])
    last = f".*{others[-1]}" if others else ""
    return re.compile(first + middle + last, re.DOTALL)


def _piece(text: str, at: int) -> tuple[str, int]:
    """What stands at a place, as an expression, and where it ends."""
    if text[at] == "?":
        return ".", at + 1
    if text[at] == "[":
        return _class(text, at)
    if text[at] == "\\" and at + 1 < len(text):
        return re.escape(text[at + 1]), at + 2
    return re.escape(text[at]), at + 1


def _class(text: str, at: int) -> tuple[str, int]:
    """A bracket expression, and where it ends; a bracket that never closes is itself."""
    start = at + 1
    negated = text[start : start + 1] in ("!", "^")
    start += negated
    made, place = "", start if "]" in text[start + 1 :] else len(text)
    while place < len(text):
        if text[place] == "]" and place > start:
            return f"[{'^' if negated else ''}{made}]", place + 1
        named = _NAMED_CLASS.match(text, place)
        if named is not None:
            made, place = made + _CLASSES.get(named[1], ""), named.end()
        else:
            made, place = made + (text[place] if text[place] == "-" else re.escape(text[place])), place + 1
    return r"\[", at + 1
