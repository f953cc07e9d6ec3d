"""The guard before content: what opens files asks it who may have which bytes, and when.

    Guard            what `Content` and the CAS talk to
      ├─ Gate        decides: verdict, policy, waivers     (a protocol; `policy.gate` is bound to it)
      └─ Judging     knows what scans say, and has content scanned

Order for content that nobody judged: what will be refused in any case is refused; formats that run nothing
flow; of the others the parts that can run code are looked at first. The tail of everything waits for the
hash and for the verdict on the whole, which is decided upon again for every reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Judged
from moongate.hub.judging import Judging, ReadSpan
from moongate.hub.sources import ByteSource

SMALL_BYTES: Final = 8 << 20
"""What can run code and is no longer than this is read whole before its first byte is given."""

LARGE_BYTES: Final = 64 << 20
"""What is longer, and not named like a format that runs nothing, is looked at before it is fetched."""

PREFIX_BYTES: Final = 64 << 10
_INERT_NAMES = (".safetensors", ".gguf")
_WINDOW_BYTES = 64 << 10
_MOST_REQUESTS = 40


@dataclass(frozen=True, slots=True)
class Passage:
    """What was decided for a reader. warning: words to tell them with the bytes."""

    final: bool
    warning: str = ""


class Gate(Protocol):
    """Decides. Its answers may be remembered while `serial` stays the same."""

    @property
    def serial(self) -> int:
        """Changes when what was let pass may pass no longer, in whatever process."""

    @property
    def is_off(self) -> bool:
        """Whether nothing is judged and everything passes."""

    def at_hand(self, file: FileAt, caller: Caller) -> Passage | None:
        """What was decided for this caller and file for good, when that lets pass; nothing is awaited."""

    def is_stopped(self, etag: Etag) -> bool:
        """Whether this content is given to nobody any more, whoever asks."""

    async def foresee(self, file: FileAt, caller: Caller) -> None:
        """Return unless it is sure by now that this file will be refused.

        Raises:
            RefusedByPolicy, HeldByPolicy: it will be.
        """

    async def decide(self, file: FileAt, caller: Caller, judged: Judged) -> Passage:
        """What may happen with content that was judged so.

        Raises:
            RefusedByPolicy, HeldByPolicy: this caller may not have it.
        """


class Opinions(Protocol):
    """See `second_opinions.SecondOpinions`."""

    def want(self, file: FileAt) -> None: ...


class Guard:
    """Lets readers pass, or not. One per process; belongs to an event loop."""

    def __init__(
        self,
        gate: Gate,
        judging: Judging,
        opinions: Opinions | None = None,
        refuse: Callable[[FileAt], None] = lambda file: None,
    ) -> None:
        """opinions: has others asked about what is let pass.

        refuse: raises for what was recalled; of a small file that may be known only once it was judged.
        """
        self.gate = gate
        self.judging = judging
        self._opinions = opinions
        self._refuse = refuse

    @property
    def serial(self) -> int:
        return self.gate.serial

    async def enter(self, file: FileAt, caller: Caller) -> Passage:
        """What is decided by what is known now; not `final` when the content was not judged whole.

        Raises:
            RefusedByPolicy, HeldByPolicy: this caller may not have it.
        """
        if self.gate.is_off:
            return Passage(True)
        passage = self.gate.at_hand(file, caller)
        if passage is not None:
            return passage
        judged = self.judging.known(file.entry.etag, file.entry.path)
        if judged is not None:
            return await self._decided(file, caller, judged)
        if file.entry.size_bytes == 0:
            return Passage(True)
        await self.gate.foresee(file, caller)
        return Passage(False)

    def told(self, etag: Etag) -> str:
        """What an address of a content's chunks carries: the verdict that its reader was let pass by."""
        return self.judging.worst(etag) or ""

    def may_flow(self, etag: Etag, told: str) -> bool:
        """Whether chunks may be given at an address that was made when this was told; it names no reader."""
        if self.gate.is_off:
            return True
        worst = self.judging.worst(etag)
        return (worst in (None, "clean", told)) and not self.gate.is_stopped(etag)

    def may_be_offered(self, etag: Etag) -> bool:
        """Whether nothing is known against a content: then clients may read it in any way."""
        return self.gate.is_off or self.judging.worst(etag) in (None, "clean")

    async def settle(self, file: FileAt, caller: Caller, descriptor: int) -> Passage:
        """What is decided of content that is here and whole, after it was judged if need be.

        Raises:
            RefusedByPolicy, HeldByPolicy: this caller may not have it.
        """
        entry = file.entry
        judged = self.judging.final(entry.etag, entry.path)
        if judged is None:
            judged = await asyncio.to_thread(
                self.judging.whole, entry.etag, entry.size_bytes, descriptor, entry.path
            )
        return await self._decided(file, caller, judged)

    async def settle_read(self, file: FileAt, caller: Caller, read: ReadSpan) -> Passage:
        """As `settle`, of content that is read by span."""
        entry = file.entry
        judged = self.judging.final(entry.etag, entry.path)
        if judged is None:
            judged = await asyncio.to_thread(
                self.judging.whole_read, entry.etag, entry.size_bytes, read, entry.path
            )
        return await self._decided(file, caller, judged)

    async def _decided(self, file: FileAt, caller: Caller, judged: Judged) -> Passage:
        self._refuse(file)
        passage = await self.gate.decide(file, caller, judged)
        if self._opinions is not None and judged.basis == "whole":
            self._opinions.want(file)
        return passage

    async def glance(
        self, file: FileAt, caller: Caller, read: ReadSpan, reach_bytes: int | None = None
    ) -> Judged:
        """What a first look finds, when that lets the file pass so far; see `Judging.glance`.

        Raises:
            RefusedByPolicy, HeldByPolicy: what was found is enough to refuse it.
            UpstreamError: it could not be read.
        """
        entry = file.entry
        judged = await asyncio.to_thread(
            self.judging.glance, entry.etag, entry.size_bytes, read, entry.path, reach_bytes
        )
        if judged.verdict in ("dangerous", "suspicious"):
            await self.gate.decide(file, caller, judged)
        return judged


def is_named_inert(file: FileAt) -> bool:
    """Whether a file is named like a format that runs nothing.

    A name decides only what a look costs: whatever it is named, what comes is judged.
    """
    return file.entry.path.lower().endswith(_INERT_NAMES)


def may_run_code(judged: Judged) -> bool:
    """Whether a first look saw a format that can, or anything at all to find."""
    return bool(judged.report.formats) or judged.verdict != "clean"


class SourceReader:
    """Spans of a file straight from where it is fetched, for a first look. Close it. For one thread."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._connection = source.connect()
        self._windows: list[tuple[int, bytes]] = []
        self._left = _MOST_REQUESTS
        self.fetched_bytes = 0

    def read(self, span: ByteSpan) -> bytes | None:
        end = min(span.end, self._source.size_bytes)
        for start, data in self._windows:
            if start <= span.start and end <= start + len(data):
                return data[span.start - start : end - start]
        self._left -= 1
        if self._left < 0:
            return None
        window = ByteSpan(span.start, min(max(end, span.start + _WINDOW_BYTES), self._source.size_bytes))
        data = self._fetch(window)
        self._windows.append((span.start, data))
        return data[: end - span.start]

    def _fetch(self, span: ByteSpan) -> bytes:
        body = self._connection.open(span)
        buffer, data = memoryview(bytearray(64 << 10)), bytearray()
        while body.position < span.end:
            at = body.position
            count = body.readinto(buffer[: min(len(buffer), span.end - at)])
            self.fetched_bytes += count
            data += buffer[max(0, span.start - at) : count]
        body.finish()
        return bytes(data)

    def close(self) -> None:
        """May be called twice."""
        self._connection.close()
