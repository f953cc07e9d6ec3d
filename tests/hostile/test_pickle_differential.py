"""Whatever an unpickler would import, our walker has told.

Streams that a seed makes up are fed to CPython's two unpicklers, in C and in Python, whose `find_class` only
notes what it is asked for and gives a thing that can be called and does nothing. They run in a process that
may do nothing else (`scan.confine`). What either asked for must be among what the walker saw: a superset.
"""

from __future__ import annotations

import json
import pickle
import random
import struct
import subprocess
import sys
from contextlib import suppress

import pytest

from moongate.weights.pickle_machine import BadPickle, Machine
from moongate.weights.pickle_values import Blob, Call, Import, Persistent, Value
from moongate.weights.ranged import Held

STREAMS = 3000
_NAMES = ("os", "posix", "system", "builtins", "eval", "a.b", "c", "numpy", "x y", "é")
_UNPICKLERS = """
import io, json, pickle, sys
from moongate.scan.confine import confine
lines = [bytes.fromhex(line) for line in sys.stdin.read().split()]
b"".decode("raw-unicode-escape"), b"".decode("utf-8", "surrogatepass"), b"".decode("ascii")
confine(1 << 30)
class Thing:
    def __init__(self, *a, **k): pass
    def __new__(cls, *a, **k): return object.__new__(cls)
    def __call__(self, *a, **k): return Thing()
    def __setstate__(self, state): pass
    def append(self, *a): pass
    def extend(self, *a): pass
    def add(self, *a): pass
    def __setitem__(self, *a): pass
    def __hash__(self): return 1
def asked(base, data):
    names = []
    class Noting(base):
        def find_class(self, module, name):
            names.append([module, name])
            return Thing
        def persistent_load(self, identity):
            return Thing()
    file = io.BytesIO(data)
    try:
        Noting(file).load()
    except BaseException:
        pass
    return names
print(json.dumps([asked(pickle.Unpickler, data) + asked(pickle._Unpickler, data) for data in lines]))
"""


class Seen:
    """A `Watcher` that keeps the imports."""

    def __init__(self) -> None:
        self.names: set[tuple[str, str]] = set()
        self.hidden = False

    def imported(self, what: Import) -> None:
        self.names.add((what.module, what.name))

    def called(self, what: Call) -> None: ...

    def built(self, target: Value, state: Value, at: int) -> None: ...

    def persistent(self, what: Persistent) -> None: ...

    def blob(self, what: Blob) -> None: ...

    def text(self, value: str, at: int) -> None: ...

    def odd(self, kind: str, words: str, at: int) -> None:
        self.hidden = self.hidden or kind in {"name", "extension", "frame"}


def seen(data: bytes) -> Seen:
    watcher = Seen()
    with suppress(BadPickle):
        Machine(Held(data), watcher, inline_arrays=False, max_operations=1 << 20).run()
    return watcher


def _stream(dice: random.Random) -> bytes:
    """Operations in any order, most of them with operands that fit; now and then framed, or cut."""
    out = [b"\x80" + bytes((dice.randint(0, 5),))] if dice.random() < 0.8 else []
    out += [_operation(dice) for _ in range(dice.randint(2, 40))]
    body = b"".join(out) + b"."
    if dice.random() < 0.2:
        place = dice.randint(0, len(body))
        length = dice.choice((len(body) - place, dice.randint(0, 40), 3))
        body = body[:place] + b"\x95" + struct.pack("<Q", length) + body[place:]
    return body if dice.random() < 0.9 else body[: dice.randint(1, len(body))]


def _operation(dice: random.Random) -> bytes:
    word = dice.choice(_NAMES)
    raw = word.encode()
    number = dice.randrange(4)
    match dice.randrange(16):
        case 0 | 1:
            return b"c" + raw + b"\n" + dice.choice(_NAMES).encode() + b"\n"
        case 2:
            return b"\x8c" + bytes((len(raw),)) + raw
        case 3:
            return b"\x8c" + bytes((len(raw),)) + raw + b"\x94" + b"\x8c\x01z\x93"
        case 4:
            return b"X" + struct.pack("<I", len(raw)) + raw
        case 5:
            return b"(" + b"i" + raw + b"\nrun\n"
        case 6:
            return b"V" + raw.decode().encode("raw-unicode-escape") + b"\n"
        case 7:
            return b"\x8d" + struct.pack("<Q", len(raw)) + raw
        case 8:
            return b"U" + bytes((len(raw),)) + raw
        case 9:
            return dice.choice((b"q", b"h")) + bytes((number,))
        case 10:
            return dice.choice((b"p", b"g")) + str(number).encode() + b"\n"
        case 11:
            return b"K" + bytes((number,))
        case 12:
            return b"S'" + raw.replace(b"\xc3\xa9", b"e") + b"'\n"
        case _:
            return dice.choice(_PLAIN)


_PLAIN = (
    *(bytes((code,)) for code in b"\x93R\x81\x92bo(t\x85\x86\x87012]})\x8faesu\x90\x91N\x88\x94ldQ"),
    *(b"Pid\n", b"\x8a\x01\x05", b"I7\n", b"L7L\n", b"F1.5\n", b"G" + bytes(8), b"J" + bytes(4)),
    *(b"C\x01x", b"B\x01\x00\x00\x00x", b"\x96" + struct.pack("<Q", 1) + b"x"),
)


@pytest.mark.timeout(110)
def test_the_walker_sees_every_import_that_an_unpickler_asks_for() -> None:
    dice = random.Random("differential")
    streams = [_stream(dice) for _ in range(STREAMS)]
    streams += [pickle.dumps({"a": (1, [2])}, protocol) for protocol in range(6)]
    done = subprocess.run(
        [sys.executable, "-c", _UNPICKLERS],
        input="\n".join(data.hex() for data in streams),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    imports = sum(map(len, told))
    assert imports > STREAMS, "the streams import too little to prove anything"
    for data, names in zip(streams, told, strict=True):
        watcher = seen(data)
        missing = {tuple(pair) for pair in names} - watcher.names
        assert not missing or watcher.hidden, (data, missing, watcher.names)
