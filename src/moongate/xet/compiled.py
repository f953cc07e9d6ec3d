"""`Loops`: cutting and weaving compiled for this processor, where the extra `fast` is installed.

What they do, `chunker` and `xorb` do with numpy as well, to the same bytes; they ask here first. Nothing is
loaded or compiled before that, which takes a tenth of a second, once in a process.
"""

from __future__ import annotations

import atexit
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from moongate.xet.gear import GEAR
from moongate.xet.loops import COUNT_AT, LENGTHS_AT, MOST_LENGTHS, ROOM_AT, ROOM_BYTES, STATE_AT, TEXT

FRESH: Final = bytes(12)
"""The state of a cut where a stream begins."""

_STATE: Final = struct.Struct("<QI")
_TABLE: Final = struct.pack("<256Q", *GEAR)
_WORD: Final = 4

_idle: list[Loops] = []


class Loops:
    """Both loops, with memory of their own, which stays taken. For one thread at a time."""

    def __init__(self, store: Any, exports: Any) -> None:
        self._store = store
        self._cut, self._weave = exports["cut"], exports["weave"]
        self._memory = memoryview(exports["memory"].get_buffer_ptr(store)).cast("B")
        self._memory[: len(_TABLE)] = _TABLE
        self._count = self._memory[COUNT_AT : COUNT_AT + _WORD].cast("I")
        self._lengths = self._memory[LENGTHS_AT : LENGTHS_AT + MOST_LENGTHS * _WORD].cast("I")
        self._room = self._memory[ROOM_AT : ROOM_AT + ROOM_BYTES]
        self._woven = self._memory[ROOM_AT + ROOM_BYTES : ROOM_AT + 2 * ROOM_BYTES]
        self._outs: list[memoryview] = []
        self._filled = 0

    def cut(self, data: bytes | memoryview, state: bytes) -> tuple[list[int], bytes]:
        """The lengths of the chunks that end in these bytes, and the state to go on with."""
        view, lengths = memoryview(data), list[int]()
        place = slice(STATE_AT, STATE_AT + len(state))
        for start in range(0, len(view), ROOM_BYTES):
            some = view[start : start + ROOM_BYTES]
            self._memory[place], self._room[: len(some)], self._count[0] = state, some, len(some)
            self._cut(self._store)
            lengths += self._lengths[: self._count[0]]
            state = bytes(self._memory[place])
        return lengths, state

    def add(self, groups: bytes | memoryview, out: memoryview) -> None:
        """Weave this, too, into `out`: some time before `finish` returns."""
        if self._filled + len(groups) > ROOM_BYTES or len(self._outs) == MOST_LENGTHS:
            self.finish()
        self._room[self._filled : self._filled + len(groups)] = groups
        self._lengths[len(self._outs)] = len(groups)
        self._outs.append(out)
        self._filled += -(-len(groups) // _WORD) * _WORD

    def finish(self) -> None:
        """Weave everything that was added."""
        outs, self._outs, self._filled, at = self._outs, [], 0, 0
        if outs:
            self._count[0] = len(outs)
            self._weave(self._store)
        for out in outs:
            out[:] = self._woven[at : at + len(out)]
            at += -(-len(out) // _WORD) * _WORD

    def forget(self) -> None:
        """Let go of what was added and is not wanted any more."""
        self._outs, self._filled = [], 0


@contextmanager
def borrowed() -> Iterator[Loops | None]:
    """Loops for a while; None without the extra, and where nothing can be compiled."""
    loops = _taken()
    try:
        yield loops
    finally:
        if loops is not None:
            loops.forget()
            _idle.append(loops)


def _taken() -> Loops | None:
    make = _maker()
    if make is None:
        return None
    try:
        return _idle.pop()
    except IndexError:
        return make()


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
