"""Groups of bytes: those of weights lie by their place in a number, which shrinks better.

Byte i of a chunk is in group i modulo 4. The groups follow one another; the first ones may be a byte longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from moongate.xet.compiled import borrowed

_GROUPS: Final = 4


def fresh(length: int) -> memoryview:
    """Memory to be written: nobody spends time on clearing it first."""
    return np.empty(length, dtype=np.uint8).data


def grouped(raw: bytes | memoryview) -> bytes:
    """Byte i in group i modulo 4; the groups one after the other."""
    array = np.frombuffer(raw, dtype=np.uint8)
    return np.concatenate([array[group::_GROUPS] for group in range(_GROUPS)]).tobytes()


def ungrouped(data: bytes | memoryview) -> memoryview:
    """The opposite of `grouped`."""
    woven = fresh(len(data))
    with weaver(len(data)) as weaving:
        weaving.add(data, woven)
        weaving.finish()
    return woven


class Weaver(Protocol):
    """Undoes the groups of one piece after another, each into memory that is as long as it is."""

    def add(self, groups: bytes | memoryview, out: memoryview) -> None:
        """Weave this; `out` holds it when `finish` returns."""

    def finish(self) -> None: ...


@contextmanager
def weaver(longest_bytes: int) -> Iterator[Weaver]:
    """Weaves pieces of at most this length; for one thread."""
    if not longest_bytes:
        yield _Weaving(0)
        return
    with borrowed() as loops:
        yield _Weaving(longest_bytes) if loops is None else loops


class _Weaving:
    """With numpy, at once."""

    def __init__(self, longest_bytes: int) -> None:
        self._scratch = np.empty(longest_bytes // _GROUPS, dtype="<u4")

    def add(self, groups: bytes | memoryview, out: memoryview) -> None:
        _weave(groups, out, self._scratch)

    def finish(self) -> None:
        return


def _weave(data: bytes | memoryview, out: memoryview, scratch: npt.NDArray[Any]) -> None:
    """Undo the groups of `data` into `out`, word by word; what is widened goes through `scratch`.

    Widening, shifting and joining whole words takes half as long as writing every fourth byte.
    """
    source = np.frombuffer(data, dtype=np.uint8)
    each, longer = divmod(len(source), _GROUPS)
    starts = [group * each + min(group, longer) for group in range(_GROUPS)]
    words, scratch = np.frombuffer(out[: each * _GROUPS], dtype="<u4"), scratch[:each]
    words[:] = source[starts[3] : starts[3] + each]
    for start in starts[2::-1]:
        np.left_shift(words, 8, out=words)
        scratch[:] = source[start : start + each]
        np.bitwise_or(words, scratch, out=words)
    if longer:
        out[each * _GROUPS :] = bytes(source[start + each] for start in starts[:longer])


def in_words(length: int) -> int:
    """The length up to the next word: numbers are read and written where words begin."""
    return -(-length // _GROUPS) * _GROUPS
