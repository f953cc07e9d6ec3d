"""`Loops`: cutting and unpacking compiled for this processor, where the extra `fast` is installed.

What they do, `chunker` and `decoding` do with numpy and lz4 as well, to the same bytes; they ask here first.
Nothing is loaded or compiled before that, which takes a tenth of a second, once in a process.
"""

from __future__ import annotations

import atexit
import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from moongate.xet.gear import GEAR
from moongate.xet.loops import (
    BASE_AT,
    COUNT_AT,
    LENGTHS_AT,
    MOST_LENGTHS,
    OUT_AT,
    ROOM_AT,
    ROOM_BYTES,
    STATE_AT,
    TEXT,
)
from moongate.xet.xorb import ROW_WORDS

FRESH: Final = bytes(12)
"""The state of a cut where a stream begins."""

_STATE: Final = struct.Struct("<QI")
_TABLE: Final = struct.pack("<256Q", *GEAR)
_WORD: Final = 4
_DONE: Final = 2
_IDLE_KEPT: Final = 16

MOST_CHUNKS: Final = MOST_LENGTHS // ROW_WORDS
"""How many it takes at once."""

_idle: list[Loops] = []


class Loops:
    """The loops, with memory of their own. For one thread at a time.

    `room`: what is to be unpacked is put here. `out`: what was unpacked. Views of them keep that memory.
    """

    def __init__(self, store: Any, exports: Any) -> None:
        self._store = store
        self._cut, self._unpack = exports["cut"], exports["unpack"]
        buffer = exports["memory"].get_buffer_ptr(store)
        buffer.kept = store
        memory = memoryview(buffer).cast("B")
        memory[: len(_TABLE)] = _TABLE
        self._state = memory[STATE_AT : STATE_AT + _STATE.size]
        self._count = memory[COUNT_AT : COUNT_AT + _WORD].cast("I")
        self._base = memory[BASE_AT : BASE_AT + _WORD].cast("I")
        self._lengths = memory[LENGTHS_AT : LENGTHS_AT + MOST_LENGTHS * _WORD].cast("I")
        self.room = memory[ROOM_AT : ROOM_AT + ROOM_BYTES]
        self.out = memory[OUT_AT : OUT_AT + ROOM_BYTES]

    def cut(self, data: bytes | memoryview, state: bytes) -> tuple[list[int], bytes]:
        """The lengths of the chunks that end in these bytes, and the state to go on with."""
        view, lengths = memoryview(data), list[int]()
        for start in range(0, len(view), ROOM_BYTES):
            some = view[start : start + ROOM_BYTES]
            self._state[:], self.room[: len(some)], self._count[0] = state, some, len(some)
            self._cut(self._store)
            lengths += self._lengths[: self._count[0]]
            state = bytes(self._state)
        return lengths, state

    def unpack(self, rows: array[int], base: int) -> list[int]:
        """Unpack chunks that lie in `room` into `out`, one after the other; 1 for each that was, else 0.

        base: which byte of their xorb `room` begins with. The caller has seen that they lie in there, and
        that all of them fit. Lets go of the interpreter.
        """
        self._lengths[: len(rows)], self._count[0], self._base[0] = rows, len(rows) // ROW_WORDS, base
        self._unpack(self._store)
        return self._lengths[_DONE : len(rows) : ROW_WORDS].tolist()


@contextmanager
def borrowed() -> Iterator[Loops | None]:
    """Loops for a while; None without the extra, and where nothing can be compiled."""
    loops = take()
    try:
        yield loops
    finally:
        give_back(loops)


def take() -> Loops | None:
    """As `borrowed`, for longer."""
    make = _maker()
    if make is None:
        return None
    try:
        return _idle.pop()
    except IndexError:
        return make()


def give_back(loops: Loops | None) -> None:
    """Nobody uses them any more, nor anything in their memory."""
    if loops is not None and len(_idle) < _IDLE_KEPT:
        _idle.append(loops)


def forget_all() -> None:
    """Free what nobody uses, and look again next time whether the extra is here."""
    _idle.clear()
    _maker.cache_clear()


def fed_bytes(state: bytes) -> int:
    """How many bytes there were since the last cut."""
    _, count = _STATE.unpack(state)
    return int(count)


@cache
def _maker() -> Callable[[], Loops | None] | None:
    try:
        import wasmtime  # noqa: PLC0415 - an extra, and not loaded before it is of use
    except (ImportError, OSError):  # not installed; or no library for this machine in it
        return None
    try:
        engine = wasmtime.Engine()
        module = wasmtime.Module(engine, TEXT)
    except wasmtime.WasmtimeError:
        return None

    def make() -> Loops | None:
        store = wasmtime.Store(engine)
        try:
            return Loops(store, wasmtime.Instance(store, module, []).exports(store))
        except wasmtime.WasmtimeError:  # no memory to be had for it
            return None

    atexit.register(forget_all)  # what is freed later finds the runtime half gone, and complains
    return make
