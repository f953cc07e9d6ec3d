"""Text and JSON as loaders read them, not only as they are usually written.

Python's `json` takes UTF-16 and UTF-32 where it is given bytes, and values that the standard does not know
(`NaN`, lone surrogates, huge numbers); whoever reads less than that is blind to what is written so.
"""

from __future__ import annotations

import codecs
import json
from typing import Final

import orjson

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EBCDIC = b"\x4c\x6f\xa7\x94\x93"
"""`<?xml`, as mainframes write it."""
_OPENING = frozenset(b"{[<\"%#' \t\r\n")


def wide_encoding(head: bytes) -> str | None:
    """The encoding of a text whose letters take two or four bytes, or are a mainframe's; None otherwise."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head.startswith(_EBCDIC):
        return "cp037"
    first = head[:4]
    if len(first) < 4:
        return None
    zeros = tuple(byte == 0 for byte in first)
    if zeros == (True, True, True, False) and first[3] in _OPENING:
        return "utf-32-be"
    if zeros == (False, True, True, True) and first[0] in _OPENING:
        return "utf-32-le"
    if zeros == (True, False, True, False) and first[1] in _OPENING:
        return "utf-16-be"
    if zeros == (False, True, False, True) and first[0] in _OPENING:
        return "utf-16-le"
    return None


def decoded(raw: bytes) -> str:
    """The text, without a mark at its beginning."""
    return raw.decode(wide_encoding(raw) or "utf-8", "replace").removeprefix("\ufeff")


def parsed(text: str) -> object:
    """The value of a JSON text, as strictly as Python reads it.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested deeper than Python follows.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)
