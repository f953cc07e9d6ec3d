"""Text and JSON as loaders read them, not only as they are usually written.

Python's `json` takes UTF-16 and UTF-32 where it is given bytes, and values that the standard does not know
(`NaN`, lone surrogates, huge numbers); whoever reads less than that is blind to what is written so.
"""

from __future__ import annotations

import codecs
import json
import re
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
DEEPEST: Final = 100_000
_BLANKS = " \t\n\r"
_BLANK = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r"-?\d{1,4000}(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity")
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
    """The value of a JSON text, as strictly as Python reads it, nested however deep.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested absurdly deep.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError:
            return _deep(text)


def _deep(text: str) -> object:
    """As `json.loads`, by a stack of its own: other readers follow further than Python's."""
    holders: list[list[object] | dict[str, object]] = []
    keys: list[str] = []
    at = 0
    while True:
        value, at = _begun(text, _BLANK.match(text, at).end())  # type: ignore[union-attr]
        if isinstance(value, list | dict) and not _closes(text, at, value):
            holders.append(value)
            if len(holders) > DEEPEST:
                raise RecursionError
            if isinstance(value, dict):
                key, at = _key(text, at)
                keys.append(key)
            continue
        if isinstance(value, list | dict):
            at = _BLANK.match(text, at).end() + 1  # type: ignore[union-attr]
        while True:
            if not holders:
                if text[at:].strip(_BLANKS):
                    raise ValueError("something stands behind the value")
                return value
            holder = holders[-1]
            if isinstance(holder, dict):
                holder[keys[-1]] = value
            else:
                holder.append(value)
            at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
            mark = text[at : at + 1]
            at += 1
            if mark == ",":
                if isinstance(holder, dict):
                    keys[-1], at = _key(text, at)
                break
            if mark != ("}" if isinstance(holder, dict) else "]"):
                raise ValueError("no JSON")
            value = holders.pop()
            if isinstance(value, dict):
                keys.pop()


def _begun(text: str, at: int) -> tuple[object, int]:
    """The value that begins there; of a list or an object only that it does."""
    mark = text[at : at + 1]
    if mark == "[":
        return [], at + 1
    if mark == "{":
        return {}, at + 1
    if mark == '"':
        return _string(text, at + 1)
    found = _PLAIN.match(text, at)
    if found is None:
        raise ValueError("no JSON")
    return json.loads(found.group()), found.end()


def _string(text: str, at: int) -> tuple[str, int]:
    """The text that begins behind a quote, and where what follows it begins."""
    read: tuple[str, int] = json.decoder.scanstring(text, at, False)  # type: ignore[attr-defined]
    return read


def _closes(text: str, at: int, value: list[object] | dict[str, object]) -> bool:
    found = _BLANK.match(text, at)
    return found is not None and text[found.end() : found.end() + 1] == (
        "}" if isinstance(value, dict) else "]"
    )


def _key(text: str, at: int) -> tuple[str, int]:
    begun = _BLANK.match(text, at).end()  # type: ignore[union-attr]
    if text[begun : begun + 1] != '"':
        raise ValueError("no JSON")
    key, at = _string(text, begun + 1)
    at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
    if text[at : at + 1] != ":":
        raise ValueError("no JSON")
    return key, at + 1
