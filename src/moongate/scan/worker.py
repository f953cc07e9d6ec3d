"""The process that looks at strangers' bytes.

    python -m moongate.scan.worker SOCKET MEMORY_BYTES [VOICE OPTION]

It is given content over a socket, one at a time, with a name; it answers with a report and opens nothing.
A question is one line of JSON, with an open file beside it, or with the size of content that is asked for by
span; an answer is four bytes of length, then JSON: a report, or what is wanted. Bytes come with their length.
Whoever asks ends a process that takes too long; should they be gone, an alarm does it some seconds later.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import struct
import sys
from dataclasses import replace
from typing import Final

import orjson

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Report
from moongate.scan.confine import confine
from moongate.scan.engine import judge
from moongate.scan.glance import Enough, glance
from moongate.scan.ledger import Ledger
from moongate.scan.voices.voice import Voice, voice
from moongate.weights.ranged import Ranged

MAX_QUESTION_BYTES: Final = 64 << 10
_NO_MORE = 0xFFFFFFFF
_GRACE_SECONDS = 5


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


class Asked:
    """Content that whoever asked reads for us, span by span."""

    def __init__(self, door: socket.socket, size_bytes: int, alarm_seconds: int) -> None:
        self._alarm_seconds = alarm_seconds
        self._door = door
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def read(self, span: ByteSpan) -> bytes:
        end = min(span.end, self._size_bytes)
        if end <= span.start:
            return b""
        _answer(self._door, orjson.dumps({"want": [span.start, end]}))
        signal.alarm(0)  # what reading takes is nobody's fault here
        length = struct.unpack("<I", self._exactly(4))[0]
        signal.alarm(self._alarm_seconds)
        if length == _NO_MORE:
            raise Enough
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            more = self._door.recv(length - len(data))
            if not more:
                sys.exit(0)  # nobody asks any more
            data += more
        return bytes(data)


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
        if not line:
            return
        question = orjson.loads(line)
        alarm = math.ceil(question["seconds"]) + _GRACE_SECONDS
        signal.alarm(alarm)
        try:
            name = question["name"]
            content = OpenFile(descriptors[0]) if descriptors else Asked(door, question["size_bytes"], alarm)
            if other:
                told = _heard(other, content, name)
            else:
                told = _judge(content, name, question.get("glance_bytes"))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        signal.alarm(0)
        _answer(door, told)


def _judge(content: Ranged, name: str, glance_bytes: int | None) -> bytes:
    try:
        report = judge(content, name) if glance_bytes is None else glance(content, name, glance_bytes)
    except (MemoryError, RecursionError, Enough, Exception) as error:  # noqa: BLE001  (a crash is a finding)
        ledger = Ledger()
        ledger.add("scan-failed", f"the scanner failed: {type(error).__name__}")
        report = ledger.report()
    return _told(report)


def _heard(other: Voice, content: Ranged, name: str) -> bytes:
    ledger = Ledger()
    try:
        other.hear(content, name, ledger)
    except (MemoryError, RecursionError, Exception) as error:  # noqa: BLE001  (theirs, not ours)
        ledger.add("voice-failed", f"{other.version} failed: {type(error).__name__}")
    return _told(replace(ledger.report(), engine=other.version))


def _told(report: Report) -> bytes:
    """The report as JSON. orjson would die where the limit of memory is near; this one says so.

    Names in a pickle may hold halves of letters, which JSON cannot; they are told as question marks.
    """
    try:
        return json.dumps(report.as_json(), default=repr, ensure_ascii=False).encode("utf-8", "replace")
    except MemoryError:
        ledger = Ledger()
        ledger.add("scan-failed", "the scanner ran out of memory while it wrote down what it found")
        del report
        return json.dumps(ledger.report().as_json()).encode()


def _answer(door: socket.socket, data: bytes) -> None:
    left = memoryview(struct.pack("<I", len(data)) + data)
    while left:
        left = left[os.write(door.fileno(), left) :]


if __name__ == "__main__":
    main()
