"""Puts pickles together, operation by operation."""

from __future__ import annotations

import struct

from support.pickled import text


def joined(*parts: bytes) -> bytes:
    return b"".join(parts)


def names(module: str, name: str) -> bytes:
    """STACK_GLOBAL of two constants."""
    return text(module) + text(name) + b"\x93"


def made(module: str, name: str, state: dict[str, object]) -> bytes:
    """An instance made without its constructor, then given its state."""
    return b"\x80\x04" + names(module, name) + b")\x81" + _dict(state) + b"b."


def _dict(state: dict[str, object]) -> bytes:
    body = b"".join(text(key) + _value(value) for key, value in state.items())
    return b"}(" + body + b"u"


def _value(value: object) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + struct.pack("<i", value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return text(value)
        case dict():
            return _dict(value)
        case list() | tuple():
            return b"(" + b"".join(map(_value, value)) + (b"l" if isinstance(value, list) else b"t")
        case bytes():
            return value
        case _:
            raise TypeError(value)


def framed(body: bytes, declared_bytes: int) -> bytes:
    return b"\x80\x05\x95" + struct.pack("<Q", declared_bytes) + body


def plain(value: object) -> bytes:
    """The operations of a value of built-in types, without head and STOP."""
    return _value(value)
