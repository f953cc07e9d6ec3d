"""Groups of bytes: those of weights lie by their place in a number, which shrinks better.

Byte i of a chunk is in group i modulo 4. The groups follow one another; the first ones may be a byte longer.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_GROUPS: Final = 4


def grouped(raw: bytes | memoryview) -> bytes:
    """Byte i in group i modulo 4; the groups one after the other."""
    array = np.frombuffer(raw, dtype=np.uint8)
    return np.concatenate([array[group::_GROUPS] for group in range(_GROUPS)]).tobytes()


def ungrouped(data: bytes | memoryview) -> memoryview:
    """The opposite of `grouped`."""
    woven = np.empty(len(data), dtype=np.uint8).data
    weave(data, woven, scratch_for(len(data)))
    return woven


def scratch_for(longest_bytes: int) -> npt.NDArray[Any]:
    """What `weave` needs for pieces of at most this length."""
    return np.empty(longest_bytes // _GROUPS, dtype="<u4")


def weave(data: bytes | memoryview, out: memoryview, scratch: npt.NDArray[Any]) -> None:
    """Undo the groups of `data` into `out`, word by word; what is widened goes through `scratch`.

    Fastest where `out` begins at a whole word. Widening, shifting and joining whole words takes half as long
    as writing every fourth byte.
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
