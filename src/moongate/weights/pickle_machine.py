"""Walks one pickle stream as an unpickler would, and makes nothing: imports, calls and oddities are told.

The machine follows CPython's C unpickler opcode by opcode, with an abstract stack and memo. It differs where
that finds more: an empty stack gives `UNKNOWN` instead of an end, and a frame that lies is told, not obeyed.
What an unpickler would have run before an error has been told when the error comes.

joblib lays the bytes of arrays into the stream, behind the object that describes them; they are stepped over
when `inline_arrays` is on, as joblib's own loader does. Whoever judges must walk both ways.
Source: CPython Lib/pickletools.py and Modules/_pickle.c; joblib numpy_pickle.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from math import prod
from typing import Final, Protocol

from moongate.weights.pickle_values import (
    MAX_KEPT_TEXT,
    UNKNOWN,
    Blob,
    Call,
    Import,
    Made,
    Persistent,
    Value,
    weight_of,
)
from moongate.weights.ranged import Cursor, Ended, Ranged

MAX_LINE_BYTES: Final = 1 << 20
MAX_MEMO: Final = 8 << 20
MAX_STACK: Final = 4 << 20
TRAIL: Final = 16
ENDED: Final = "it ends before its STOP"

_WRAPPERS = frozenset(
    ("joblib.numpy_pickle.NumpyArrayWrapper", "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper")
)
_KEPT_CHARS = 8 << 20
_HEAD_BYTES = 64
_LIGHT = 10_000
_HEAVY = 1_000_000_000
_MARK: Final = object()
_RUNS = re.compile(rb"(?:G[\s\S]{8}){8,}|(?:K[\s\S]){16,}|(?:J[\s\S]{4}){8,}|(?:M[\s\S]{2}){8,}|N{32,}")
_RUN_BYTES = {0x47: 9, 0x4B: 2, 0x4A: 5, 0x4D: 3, 0x4E: 1}
_NAME = re.compile(r"[\w.]{1,128}\Z")


class BadPickle(Exception):
    """Here an unpickler would raise an error, whatever came before."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class Watcher(Protocol):
    """Who is told. A call is told before its result exists; `odd` is something no pickler writes."""

    def imported(self, what: Import) -> None: ...

    def called(self, what: Call) -> None: ...

    def built(self, target: Value, state: Value, at: int) -> None: ...

    def persistent(self, what: Persistent) -> None: ...

    def blob(self, what: Blob) -> None: ...

    def odd(self, kind: str, words: str, at: int) -> None: ...


class Machine:
    """One stream, from where the content is entered to its STOP."""

    def __init__(
        self,
        content: Ranged,
        watcher: Watcher,
        *,
        at: int = 0,
        inline_arrays: bool = True,
        max_operations: int = 50_000_000,
    ) -> None:
        self._cursor = Cursor(content, at)
        self._content = content
        self._watcher = watcher
        self._inline_arrays = inline_arrays
        self._left_operations = max_operations
        self._stack: list[Value] = []
        self._memo: dict[int, Value] = {}
        self._kept_chars = 0
        self._frame_end = 0
        self._is_heavy = False
        self._at = 0
        self._ring = [-1] * TRAIL
        self.start = at
        self.operations = 0
        self.underflows = 0
        self.imports = 0
        self.arrays = 0
        self.protocol: int | None = None

    def trail(self) -> list[int]:
        """Where the last operations stand, oldest first."""
        turn = self.operations % TRAIL
        return [at for at in self._ring[turn:] + self._ring[:turn] if at >= 0]

    @property
    def at(self) -> int:
        return self._cursor.at

    def run(self) -> Value:
        """To the STOP; what it leaves.

        Raises:
            BadPickle: an unpickler would raise an error there, or the stream is longer than we follow.
        """
        cursor, actions, ring = self._cursor, _ACTIONS, self._ring
        try:
            while True:
                self._at = at = cursor.at
                code = cursor.take(1)[0]
                if code in _RUN_BYTES and self._step_over_run(code):
                    continue
                ring[self.operations % TRAIL] = at
                self.operations += 1
                if self.operations > self._left_operations:
                    raise BadPickle("it is longer than we follow", at)
                if code == 0x2E:  # STOP
                    self._leave_frame(cursor.at)
                    return self._pop()
                action = actions[code]
                if action is None:
                    raise BadPickle(f"0x{code:02x} is no operation", at)
                action(self)
                if self._frame_end:
                    self._leave_frame(cursor.at)
        except Ended as ended:
            raise BadPickle(ENDED, ended.at) from None
        except (ValueError, IndexError, OverflowError):
            raise BadPickle("an operation has a value that cannot be", self._at) from None

    def _step_over_run(self, code: int) -> bool:
        """Past many numbers at once: nothing can hide in them."""
        data, at = self._cursor.window()
        size = _RUN_BYTES[code]
        if data[at + size - 1 : at + size] != bytes((code,)):
            return False
        found = _RUNS.match(data, at - 1)
        if found is None:
            return False
        count = (found.end() - found.start()) // size
        self._cursor.step(found.end() - at)
        self.operations += count
        if len(self._stack) + count > MAX_STACK:
            raise BadPickle("its stack is absurdly high", self._at)
        self._stack += [UNKNOWN] * count
        return True

    # The stack

    def _push(self, value: Value) -> None:
        if len(self._stack) > MAX_STACK:
            raise BadPickle("its stack is absurdly high", self._at)
        self._stack.append(value)

    def _pop(self) -> Value:
        if self._stack and self._stack[-1] is not _MARK:
            return self._stack.pop()
        self.underflows += 1
        return UNKNOWN

    def _top(self) -> Value:
        if self._stack and self._stack[-1] is not _MARK:
            return self._stack[-1]
        self.underflows += 1
        return UNKNOWN

    def _to_mark(self) -> list[Value]:
        stack = self._stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                taken = stack[place + 1 :]
                del stack[place:]
                return taken
        self.underflows += 1
        taken, self._stack = stack, []
        return taken

    def _remember(self, key: int) -> None:
        if len(self._memo) > MAX_MEMO:
            raise BadPickle("its memo is absurdly large", self._at)
        self._memo[key] = self._top()

    def _recall(self, key: int) -> None:
        if key not in self._memo:
            self.underflows += 1
        self._push(self._memo.get(key, UNKNOWN))

    # Frames

    def _enter_frame(self) -> None:
        length = self._number(8)
        at = self._cursor.at
        if self._frame_end and self._frame_end != self._at:
            self._watcher.odd("frame", "a frame begins inside another", self._at)
        if length > self._cursor.left:
            words = f"a frame claims {length} bytes; {self._cursor.left} are left"
            self._watcher.odd("short", words, self._at)
            self._frame_end = 0
        else:
            self._frame_end = at + length

    def _leave_frame(self, at: int) -> None:
        if not self._frame_end or at < self._frame_end:
            return
        if at > self._frame_end:
            self._watcher.odd("frame", "an operation reaches over the end of its frame", self._at)
        self._frame_end = 0

    # Operands

    def _number(self, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._cursor.take(length), "little", signed=signed)

    def _text_line(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._cursor.line(MAX_LINE_BYTES).decode(encoding, errors)

    def _name_line(self) -> str:
        """A line of a name. At the end of the data CPython takes what is there, its last byte cut off."""
        try:
            return self._text_line()
        except Ended:
            if self._cursor.left > MAX_LINE_BYTES:
                raise ValueError("a name that nothing has") from None
            return self._cursor.take(self._cursor.left)[:-1].decode()

    def _data(self, length: int, *, is_text: bool) -> None:
        """A counted text or byte string: short ones are kept, long ones only pointed at."""
        if length < 0:
            raise ValueError("a negative length")
        if length <= MAX_KEPT_TEXT:
            raw = self._cursor.take(length)
            self._push(self._kept(raw.decode("utf-8", "surrogatepass") if is_text else raw))
            if not is_text and length > 8:
                self._watcher.blob(Blob(self._cursor.at - length, length, raw[:_HEAD_BYTES], is_text))
            return
        blob = Blob(self._cursor.at, length, self._cursor.peek(_HEAD_BYTES), is_text)
        self._cursor.step(length)
        self._frame_may_end_before(blob)
        self._watcher.blob(blob)
        self._push(blob)

    def _frame_may_end_before(self, blob: Blob) -> None:
        """Picklers write what is large between frames; inside one it must still end with or before it."""
        if self._frame_end and blob.at + blob.length > self._frame_end:
            self._watcher.odd("frame", "an operation reaches over the end of its frame", self._at)
            self._frame_end = 0

    def _kept(self, value: str | bytes) -> Value:
        """Names are kept whatever happens; other texts as long as there is room for them."""
        if self._kept_chars > _KEPT_CHARS and not (isinstance(value, str) and _NAME.match(value)):
            return UNKNOWN if isinstance(value, bytes) else Blob(self._at, len(value), b"", True)
        self._kept_chars += len(value)
        return value

    # Imports and calls

    def _import(self, module: Value, name: Value, opcode: str) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            self._watcher.odd("name", "a name of an import is not a constant", self._at)
            self._push(UNKNOWN)
            return
        self.imports += 1
        what = Import(module, name, self._at, opcode)
        self._watcher.imported(what)
        self._push(what)

    def _call(self, callee: Value, arguments: Value, opcode: str) -> None:
        what = Call(callee, arguments, self._at, opcode)
        self._watcher.called(what)
        self._push(what)

    def _inst(self) -> None:
        self._import(self._name_line(), self._name_line(), "INST")
        callee = self._pop()
        self._call(callee, tuple(self._to_mark()), "INST")

    def _obj(self) -> None:
        values = self._to_mark()
        if not values:
            self.underflows += 1
            values = [UNKNOWN]
        self._call(values[0], tuple(values[1:]), "OBJ")

    def _newobj_ex(self) -> None:
        keywords, arguments, callee = self._pop(), self._pop(), self._pop()
        self._call(callee, (arguments, keywords), "NEWOBJ_EX")

    def _reduce(self, opcode: str) -> None:
        arguments, callee = self._pop(), self._pop()
        self._call(callee, arguments, opcode)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._import(module, name, "STACK_GLOBAL")

    def _extension(self, length: int) -> None:
        code = self._number(length)
        words = f"extension code {code} stands for an import that only copyreg knows"
        self._watcher.odd("extension", words, self._at)
        self._push(UNKNOWN)

    def _persistent(self, identity: Value) -> None:
        what = Persistent(identity, self._at)
        self._watcher.persistent(what)
        self._push(what)

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        self._watcher.built(target, state, self._at)
        if isinstance(target, Call):
            target.state = state
            callee = target.callee
            if self._inline_arrays and isinstance(callee, Import) and callee.dotted in _WRAPPERS:
                self._inline_array(state)

    def _inline_array(self, state: Value) -> None:
        if not isinstance(state, Made):
            raise BadPickle("an array between operations has no description", self._at)
        shape, letters = state.get("shape"), _dtype_letters(state.get("dtype"))
        if not isinstance(shape, tuple) or letters is None:
            raise BadPickle("an array between operations has no known shape", self._at)
        self.arrays += 1
        self._end_frame_before_array()
        if letters.startswith("O"):
            inner = Machine(self._content, self._watcher, at=self._cursor.at, inline_arrays=False)
            inner.run()
            self.operations += inner.operations
            self._cursor.go(inner.at)
            return
        if isinstance(state.get("numpy_array_alignment_bytes"), int):
            self._cursor.step(self._number(1))
        count = prod(length for length in shape if isinstance(length, int) and length >= 0)
        self._cursor.step(count * _item_bytes(letters))

    def _end_frame_before_array(self) -> None:
        """joblib ends its frame before it writes an array; a frame that goes on is read in two ways."""
        self._leave_frame(self._cursor.at)
        if self._frame_end:
            self._watcher.odd("frame", "an array lies inside a frame", self._at)
            self._frame_end = 0

    # Containers

    def _make(self, kind: str, items: list[Value]) -> None:
        made = Made(kind)
        self._push(made)
        if items:
            made.add(items)
            self._weigh(made)

    def _weigh(self, made: Made) -> None:
        if made.weight > _HEAVY and not self._is_heavy:
            self._is_heavy = True
            words = f"what takes {self._at - self.start} bytes is {made.weight} values when it is spelt out"
            self._watcher.odd("growth", words, self._at)

    def _tuple(self, values: list[Value]) -> None:
        weight = weight_of(values)
        if len(values) <= MAX_KEPT_TEXT and weight < _LIGHT:
            self._push(tuple(values))
            return
        self._make("tuple", values)

    def _add(self, items: list[Value]) -> None:
        target = self._top()
        if isinstance(target, Made):
            target.add(items)
            self._weigh(target)
        elif isinstance(target, Import):
            self._watcher.built(target, tuple(items[:8]), self._at)

    def _pop_any(self) -> None:
        """POP takes a value, or else a mark, as the C unpickler does."""
        if self._stack:
            self._stack.pop()
        else:
            self.underflows += 1

    def _quoted(self) -> None:
        raw = self._cursor.line(MAX_LINE_BYTES).strip()
        if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in b"\"'":
            raise ValueError("no quotes")
        self._push(self._kept(codecs.escape_decode(raw[1:-1])[0].decode("utf-8", "replace")))

    def _protocol(self) -> None:
        self.protocol = self._number(1)
        if self.protocol > 5:
            raise BadPickle(f"protocol {self.protocol} is not known", self._at)


def _dtype_letters(dtype: Value) -> str | None:
    if isinstance(dtype, Call) and isinstance(dtype.arguments, tuple) and dtype.arguments:
        letters = dtype.arguments[0]
        return letters if isinstance(letters, str) else None
    return None


def _item_bytes(letters: str) -> int:
    size = int(letters[1:] or "1")
    return 4 * size if letters.startswith("U") else size


def _int_line(text: bytes) -> Value:
    if text in {b"00", b"01"}:
        return text == b"01"
    return int(text[:-1] if text.endswith(b"L") else text)


def _actions() -> list[Callable[[Machine], object] | None]:
    """What each operation does, by its byte."""
    m: dict[bytes, Callable[[Machine], object]] = {
        b"(": lambda s: s._push(_MARK),
        b"0": Machine._pop_any,
        b"1": Machine._to_mark,
        b"2": lambda s: s._push(s._top()),
        b"N": lambda s: s._push(None),
        b"\x88": lambda s: s._push(True),
        b"\x89": lambda s: s._push(False),
        b"I": lambda s: s._push(_int_line(s._cursor.line(MAX_LINE_BYTES))),
        b"L": lambda s: s._push(_int_line(s._cursor.line(MAX_LINE_BYTES))),
        b"F": lambda s: s._push(float(s._cursor.line(MAX_LINE_BYTES))),
        b"J": lambda s: s._push(s._number(4, signed=True)),
        b"K": lambda s: s._push(s._number(1)),
        b"M": lambda s: s._push(s._number(2)),
        b"\x8a": lambda s: _long(s, s._number(1)),
        b"\x8b": lambda s: _long(s, s._number(4, signed=True)),
        b"G": _float,
        b"S": Machine._quoted,
        b"V": lambda s: s._push(s._kept(s._text_line("raw-unicode-escape"))),
        b"T": lambda s: _old_text(s, s._number(4, signed=True)),
        b"U": lambda s: _old_text(s, s._number(1)),
        b"X": lambda s: s._data(s._number(4), is_text=True),
        b"\x8c": lambda s: s._data(s._number(1), is_text=True),
        b"\x8d": lambda s: s._data(s._number(8), is_text=True),
        b"B": lambda s: s._data(s._number(4), is_text=False),
        b"C": lambda s: s._data(s._number(1), is_text=False),
        b"\x8e": lambda s: s._data(s._number(8), is_text=False),
        b"\x96": lambda s: s._data(s._number(8), is_text=False),
        b"\x97": lambda s: s._push(UNKNOWN),
        b"\x98": lambda _: None,
        b"]": lambda s: s._make("list", []),
        b"}": lambda s: s._make("dict", []),
        b"\x8f": lambda s: s._make("set", []),
        b")": lambda s: s._tuple([]),
        b"l": lambda s: s._make("list", s._to_mark()),
        b"d": lambda s: s._make("dict", s._to_mark()),
        b"t": lambda s: s._tuple(s._to_mark()),
        b"\x91": lambda s: s._make("frozenset", s._to_mark()),
        b"\x85": lambda s: s._tuple([s._pop()]),
        b"\x86": lambda s: s._tuple([s._pop(), s._pop()][::-1]),
        b"\x87": lambda s: s._tuple([s._pop(), s._pop(), s._pop()][::-1]),
        b"a": lambda s: s._add([s._pop()]),
        b"e": lambda s: s._add(s._to_mark()),
        b"s": lambda s: s._add([s._pop(), s._pop()][::-1]),
        b"u": lambda s: s._add(s._to_mark()),
        b"\x90": lambda s: s._add(s._to_mark()),
        b"p": lambda s: s._remember(int(s._cursor.line(64))),
        b"q": lambda s: s._remember(s._number(1)),
        b"r": lambda s: s._remember(s._number(4)),
        b"\x94": lambda s: s._remember(len(s._memo)),
        b"g": lambda s: s._recall(int(s._cursor.line(64))),
        b"h": lambda s: s._recall(s._number(1)),
        b"j": lambda s: s._recall(s._number(4)),
        b"c": lambda s: s._import(s._name_line(), s._name_line(), "GLOBAL"),
        b"\x93": Machine._stack_global,
        b"R": lambda s: s._reduce("REDUCE"),
        b"\x81": lambda s: s._reduce("NEWOBJ"),
        b"\x92": Machine._newobj_ex,
        b"i": Machine._inst,
        b"o": Machine._obj,
        b"b": Machine._build,
        b"P": lambda s: s._persistent(s._text_line("ascii")),
        b"Q": lambda s: s._persistent(s._pop()),
        b"\x82": lambda s: s._extension(1),
        b"\x83": lambda s: s._extension(2),
        b"\x84": lambda s: s._extension(4),
        b"\x80": Machine._protocol,
        b"\x95": Machine._enter_frame,
    }
    return [m.get(bytes((code,))) for code in range(256)]


def _float(machine: Machine) -> None:
    machine._cursor.take(8)
    machine._push(UNKNOWN)


def _long(machine: Machine, length: int) -> None:
    if length < 0:
        raise ValueError("a negative length")
    if length > MAX_KEPT_TEXT:
        machine._cursor.step(length)
        machine._push(UNKNOWN)
    else:
        machine._push(machine._number(length, signed=True))


def _old_text(machine: Machine, length: int) -> None:
    """Python 2's strings: text when they are short and could be a name, bytes otherwise."""
    if 0 <= length <= MAX_KEPT_TEXT:
        raw = machine._cursor.take(length)
        machine._push(machine._kept(raw.decode("utf-8", "replace")))
    else:
        machine._data(length, is_text=False)


_ACTIONS = _actions()
