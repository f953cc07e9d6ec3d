"""The process that looks at strangers' bytes.

    python -m moongate.scan.worker SOCKET MEMORY_BYTES [VOICE OPTION]

It is given open files over a socket, one at a time, with a name; it answers with a report and opens nothing.
A question is one line of JSON with a descriptor beside it; an answer is four bytes of length, then JSON.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from dataclasses import replace
from typing import Final

import orjson

from moongate.core.spans import ByteSpan
from moongate.scan.confine import confine
from moongate.scan.engine import judge
from moongate.scan.ledger import Ledger
from moongate.scan.voices.voice import Voice, voice

MAX_QUESTION_BYTES: Final = 64 << 10


class OpenFile:
    """An open file as `Ranged`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size_bytes = os.fstat(descriptor).st_size

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def read(self, span: ByteSpan) -> bytes:
        return os.pread(self._descriptor, span.length, span.start)


def main() -> None:
    door = socket.socket(fileno=int(sys.argv[1]))
    memory_bytes = int(sys.argv[2])
    # Imported lazily by the standard library otherwise, when nothing may be opened any more.
    bytes(8).decode("cp437"), bytes(8).decode("latin-1"), "".encode("raw-unicode-escape"), "".encode("utf-16")
    other = voice(sys.argv[3], sys.argv[4]) if len(sys.argv) > 4 else None
    confined = confine(memory_bytes)
    _answer(door, orjson.dumps({"confined": confined}))
    while True:
        line, descriptors, _, _ = socket.recv_fds(door, MAX_QUESTION_BYTES, 1)
        if not line or not descriptors:
            return
        try:
            name = orjson.loads(line)["name"]
            told = _heard(other, descriptors[0], name) if other else _judge(descriptors[0], name)
        finally:
            os.close(descriptors[0])
        _answer(door, told)


def _judge(descriptor: int, name: str) -> bytes:
    try:
        report = judge(OpenFile(descriptor), name)
    except (MemoryError, RecursionError, Exception) as error:  # noqa: BLE001  (a crash is a finding)
        ledger = Ledger()
        ledger.add("scan-failed", f"the scanner failed: {type(error).__name__}")
        report = ledger.report()
    return orjson.dumps(report.as_json(), default=repr, option=orjson.OPT_NON_STR_KEYS)


def _heard(other: Voice, descriptor: int, name: str) -> bytes:
    ledger = Ledger()
    try:
        other.hear(OpenFile(descriptor), name, ledger)
    except (MemoryError, RecursionError, Exception) as error:  # noqa: BLE001  (theirs, not ours)
        ledger.add("voice-failed", f"{other.version} failed: {type(error).__name__}")
    return orjson.dumps(replace(ledger.report(), engine=other.version).as_json())


def _answer(door: socket.socket, data: bytes) -> None:
    left = memoryview(struct.pack("<I", len(data)) + data)
    while left:
        left = left[os.write(door.fileno(), left) :]


if __name__ == "__main__":
    main()
