"""The dialogue between a reader of headers and whoever has the file.

    reader = read_safetensors(size_bytes)
    span = next(reader); span = reader.send(bytes of span); …; StopIteration carries the facts

A reader asks for spans that lie inside the file, in ascending order. Sent less than it asked for, it says
that the header is bad. Every reader bounds how much it asks for, how often, and how many items it looks at;
nothing that a header says about its own length is believed before it is compared with those bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

from moongate.core.errors import BadRequest
from moongate.core.spans import ByteSpan

Facts = TypeVar("Facts")

Reader: TypeAlias = Generator[ByteSpan, bytes, Facts]
"""Yields the spans it wants, is sent their bytes, returns the facts."""


class BadHeader(BadRequest):
    """A file's header cannot be what it claims to be."""


def facts_of(reader: Reader[Facts], read: Callable[[ByteSpan], bytes]) -> Facts:
    """The facts of a file whose spans `read` gives, for whoever can read without waiting.

    Raises:
        BadHeader: the header is not what it should be.
    """
    try:
        span = next(reader)
        while True:
            span = reader.send(read(span))
    except StopIteration as done:
        facts: Facts = done.value
        return facts
