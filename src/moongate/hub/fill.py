"""Opening content to read: from the blobs when it is here, else while it is being filled.

A `Fill` stands for one content (an etag), whatever repository, revision or range it was reached through. In
one process of the node it has a `Leader`; in the others it follows the map that both share. A
reader that leaves stops nothing; when a leader dies, the next reader that waits takes over.

A reader of a small range of a large file has only that range fetched. The rest follows when a longer
range, or the file, is asked for, or when `whole_after` of the file was given out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from moongate.core.digests import Etag
from moongate.core.errors import (
    MoongateError,
    StoreFull,
    UpstreamBroken,
    UpstreamError,
    UpstreamUnreachable,
    VerificationFailed,
)
from moongate.core.spans import ByteSpan
from moongate.hub.guarded import BodyGuard
from moongate.hub.handles import Handle, Handles
from moongate.hub.leader import Judge, Leader, LeaderLimits
from moongate.hub.passing import pass_through
from moongate.hub.sources import ByteSource
from moongate.hub.troubles import error_of
from moongate.store.blobs import Blobs
from moongate.store.layout import Layout
from moongate.store.partial import BLOCK_BYTES, Partial, State

_WINDOW_BYTES = 16 << 20
_WANT_BYTES = 4 << 20
_TICK_SECONDS = 0.03
_FIRST_WAIT_SECONDS = 0.005
_LONGEST_WAIT_SECONDS = 0.25
_STOP_SECONDS = 5.0

SourceMaker = Callable[[], ByteSource]
"""Makes the way to the bytes, when they must be fetched; called at most once per leader."""


@dataclass(frozen=True, slots=True)
class FillRules:
    """connections: most at once for one file.
    sparse_span_bytes: a range up to this long, of a file longer than this, fetches only itself.
    whole_after: the share of a file's blocks given out after which the rest is fetched; 0 at once, 1 never.
    offline: never fetch.
    """

    connections: int = 8
    sparse_span_bytes: int = 8 << 20
    whole_after: float = 0.5
    offline: bool = False


class FillWatcher(Protocol):
    """Who counts and records what fills do. Called from worker threads, so it must be thread-safe."""

    def fetched(self, count: int) -> None:
        """So many bytes of content came from upstream."""

    def retried(self, error: UpstreamError) -> None:
        """Upstream failed, and is asked again."""

    def sealed(self, etag: Etag, size_bytes: int, seconds: float) -> None:
        """New content is kept; `seconds` since this process began to fetch it."""

    def failed(self, etag: Etag, error: MoongateError) -> None:
        """A fill ended without the file."""

    def tainted(self, etag: Etag) -> None:
        """Readers got wrong bytes of this content; told before they are broken off."""


class FileBody:
    """An open file to send: a descriptor, and how far it may be read now.

    outcome: `hit` when the content was here and verified, `miss` when it is being filled.
    base: the position of the descriptor's first byte.
    """

    base: Final = 0

    def __init__(self, etag: Etag, size_bytes: int, origin: Handle | Fill | Unkept, span: ByteSpan) -> None:
        self.etag = etag
        self.size_bytes = size_bytes
        self._handle = origin if isinstance(origin, Handle) else None
        self._fill = origin if isinstance(origin, Fill) else None
        self._unkept = origin if isinstance(origin, Unkept) else None
        self.fd = origin.fd
        self._span = span
        self._closed = False
        self.on_contradiction: Callable[[], None] = _nothing
        """Called when the bytes turn out not to be what was said of them."""
        self.guard: BodyGuard | None = None
        """Asked before bytes are given; None: whoever reads may have all of them."""

    @property
    def outcome(self) -> Literal["hit", "miss"]:
        return "miss" if self._handle is None else "hit"

    async def ready(self, position: int, end: int) -> int:
        """How many bytes from `position` on may be sent from `fd` now: at least 1, at most up to `end`.

        Waits for the fill when there are none yet. A cancelled wait stops nothing.

        Raises:
            VerificationFailed: the bytes were not the file's; those sent so far must not become a file.
            StoreFull: the rest cannot be kept; send it with `stream`.
            RefusedByPolicy, HeldByPolicy: the guard lets nothing, or no more, pass.
            UpstreamError, NotAllowed, Absent: the fill stopped; progress is kept where there was any.
        """
        try:
            if self.guard is None:
                return await self._ready(position, end)
            await self.guard.before(self)
            count = await self._ready(position, end)
            await self.guard.after(self)
        except (UpstreamBroken, VerificationFailed):
            self.on_contradiction()
            raise
        return count

    async def _ready(self, position: int, end: int) -> int:
        if self._unkept is not None:
            raise self._unkept.why
        if self._fill is None:
            return end - position
        return await self._fill.ready(position, end, self._span)

    @property
    def warning(self) -> str:
        """What to tell the reader with the bytes; mostly nothing. Known once a byte is ready."""
        return "" if self.guard is None else self.guard.passage.warning

    @property
    def is_proven(self) -> bool:
        """Whether the bytes are all here, and their hash is right."""
        return self._handle is not None or (self._fill is not None and self._fill.is_proven)

    @property
    def is_kept(self) -> bool:
        """Whether what is fetched is kept here, too."""
        return self._unkept is None

    async def prefix(self, count: int) -> None:
        """Return when so many bytes from the start on are in `fd`. Raises as `ready`."""
        if self._fill is not None:
            await self._fill.prefix(count)

    async def whole(self) -> None:
        """Return when the bytes are all here, and their hash is right. Raises as `ready`."""
        if self._fill is not None:
            await self._fill.settled()

    def read(self, position: int, count: int) -> bytes:
        """A few bytes that are ready."""
        return os.pread(self.fd, count, position)

    def stream(self, position: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `position` to `end` straight from upstream, kept nowhere: for a full disk.

        When this body is the whole file, the last piece is held until the hash of all of it is right.

        Raises:
            StoreFull: it may not pass unjudged, and without room for it nobody can judge it.
        """
        source = self._fill or self._unkept
        if source is None:
            raise ValueError("a sealed file needs no stream")
        if self.guard is not None and not self.guard.may_pass_unjudged:
            raise StoreFull("there is no room to keep this file, so it cannot be judged; it is held back")
        verify_from = self.fd if self._span == ByteSpan(0, self.size_bytes) else None
        return pass_through(source.make_source(), self.etag, position, end, verify_from, self._found_wrong)

    def _found_wrong(self, error: VerificationFailed) -> None:
        source = self._fill or self._unkept
        if source is not None:
            source.fills.watcher.tainted(self.etag)
            source.fills.watcher.failed(self.etag, error)

    def close(self) -> None:
        """Done reading. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._handle is not None:
            self._handle.release()
        elif self._fill is not None:
            self._fill.leave()


def _no_judge(etag: Etag, size_bytes: int, descriptor: int) -> None:
    """For who has nothing judged."""


@dataclass(frozen=True, slots=True)
class Unkept:
    """Content for which the disk has no room even to begin; it is streamed, and no byte of it is here."""

    fills: Fills
    make_source: SourceMaker
    why: StoreFull
    fd: Final = -1


class Fills:
    """All content that this process reads or fills."""

    def __init__(
        self,
        layout: Layout,
        blobs: Blobs,
        rules: FillRules,
        watcher: FillWatcher,
        make_room: Callable[[int], None],
        judge: Judge = _no_judge,
    ) -> None:
        """judge: has content judged once its hash is right, before its tail is given out."""
        self._layout = layout
        self._blobs = blobs
        self.judge = judge
        self.rules = rules
        self.watcher = watcher
        self.make_room = make_room
        self._handles: Handles[Etag] = Handles(blobs.open)
        self._fills: dict[Etag, Fill] = {}
        self._read: dict[Etag, float] = {}

    async def open(
        self,
        etag: Etag,
        size_bytes: int,
        make_source: SourceMaker,
        span: ByteSpan,
        *,
        local: bool = False,
    ) -> FileBody:
        """The content, ready to send `span` of it. `local`: the source needs no upstream, and works offline.

        Raises:
            UpstreamUnreachable: it is not here, and this gateway is offline.
            UpstreamBroken: the size that upstream told is not that of the content.
            VerificationFailed: upstream says that it is empty, and its hash is not that of nothing.
            StoreFull: not even an empty file can be made.
        """
        handle = self._handles.acquire(etag)
        if handle is None and size_bytes == 0:
            self._blobs.add(etag, 0, iter(()))  # nothing to fetch, and its hash is known
            self.watcher.sealed(etag, 0, 0.0)
            handle = self._handles.acquire(etag)
        if handle is None:
            await self._settled(etag, size_bytes)
            try:
                fill = self._fill(etag, size_bytes, make_source)
            except StoreFull as error:
                if self.rules.offline:
                    raise
                self.watcher.failed(etag, error)
                return FileBody(etag, size_bytes, Unkept(self, make_source, error), span)
            if fill is not None:
                fill.local = fill.local or local
                fill.enter(span)
                return FileBody(etag, size_bytes, fill, span)
            handle = self._handles.acquire(etag)
        if handle is None:
            raise UpstreamUnreachable("the file was removed while it was opened; ask again")
        if handle.size_bytes != size_bytes:
            handle.release()
            raise UpstreamBroken(f"upstream tells {size_bytes} bytes for a file that has {handle.size_bytes}")
        self._read[etag] = time.time()
        return FileBody(etag, size_bytes, handle, span)

    def is_small(self, size_bytes: int, span: ByteSpan) -> bool:
        """Whether of a file of that size only this span is fetched for who asks for it."""
        return span.length <= self.rules.sparse_span_bytes < size_bytes

    def keeps(self, etag: Etag) -> bool:
        """Whether there is a blob of this content, open or on disk."""
        return etag in self._handles or self._blobs.size_bytes(etag) is not None

    def sealed(self, etag: Etag, size_bytes: int) -> Handle | None:
        """The content when it is here, whole and of that size; nothing is awaited. Release it."""
        handle = self._handles.acquire(etag)
        if handle is None:
            return None
        if handle.size_bytes != size_bytes:
            handle.release()
            return None
        self._read[etag] = time.time()
        return handle

    def take_reads(self) -> dict[Etag, float]:
        """When content was last read, since the last call: for the index, in batches."""
        reads, self._read = self._read, {}
        return reads

    @property
    def active(self) -> list[tuple[Etag, int, int]]:
        """What is being filled here: etag, bytes present, bytes in all."""
        return [
            (etag, fill.partial.present_bytes(), fill.partial.size_bytes)
            for etag, fill in self._fills.items()
            if fill.filling
        ]

    def wants_whole(self, etag: Etag) -> bool:
        """Whether all of this content is wanted here, rather than small ranges of it."""
        fill = self._fills.get(etag)
        return fill is not None and fill.partial.data_fd >= 0 and fill.partial.whole

    async def finished(self, etag: Etag) -> bool:
        """Wait until the fill of this content ended here; whether it is sealed now."""
        while (fill := self._fills.get(etag)) is not None and fill.filling:
            await fill.changed(_LONGEST_WAIT_SECONDS)
        return self._blobs.size_bytes(etag) is not None

    async def stop(self) -> None:
        """End all fills, keeping their progress."""
        fills = list(self._fills.values())
        await asyncio.gather(*(fill.stop() for fill in fills))
        self._handles.close()

    async def _settled(self, etag: Etag, size_bytes: int) -> None:
        """Wait for a fill of another length that has failed already to let go of its files."""
        while (fill := self._fills.get(etag)) is not None and fill.is_ending:
            if fill.partial.size_bytes == size_bytes:
                return
            await fill.changed(_LONGEST_WAIT_SECONDS)

    def _fill(self, etag: Etag, size_bytes: int, make_source: SourceMaker) -> Fill | None:
        fill = self._fills.get(etag)
        if fill is not None and fill.filling and fill.partial.size_bytes != size_bytes:
            raise UpstreamBroken(f"{etag} is being filled with another length than {size_bytes} bytes")
        if fill is not None and not fill.usable(size_bytes):
            self._fills.pop(etag)
            fill.retire()
            fill = None
        if fill is None:
            partial = Partial.open(self._layout, etag, size_bytes)
            if partial is None:
                return None
            fill = self._fills[etag] = Fill(self, partial, make_source)
        return fill

    def drop(self, fill: Fill) -> None:
        """Forget a fill that nobody reads and nobody leads."""
        if self._fills.get(fill.partial.etag) is fill:
            del self._fills[fill.partial.etag]


@dataclass(eq=False)
class Fill:
    """One content in this process while it is not sealed, or while readers hold on to it."""

    fills: Fills
    partial: Partial
    make_source: SourceMaker
    local: bool = False
    _readers: int = 0
    _retired: bool = False
    _leader: Leader | None = None
    _waiters: list[asyncio.Future[None]] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _began: float = field(default_factory=time.monotonic)

    @property
    def fd(self) -> int:
        return self.partial.data_fd

    # -- readers ---------------------------------------------------------------------------------------------

    def usable(self, size_bytes: int) -> bool:
        """Whether a new reader may join; not when it was discarded, or is sealed by now."""
        return self.partial.size_bytes == size_bytes and self.partial.state in (State.FILLING, State.VERIFIED)

    def enter(self, span: ByteSpan) -> None:
        """One more reader, who wants this span."""
        self._readers += 1
        rules, partial = self.fills.rules, self.partial
        if not self._is_small(span) or (
            not partial.whole
            and rules.whole_after < 1
            and (partial.asked_blocks >= rules.whole_after * partial.blocks)
        ):
            partial.want_whole()

    def leave(self) -> None:
        """One reader less. The fill goes on."""
        self._readers -= 1
        self._close_if_idle()

    def retire(self) -> None:
        """No new readers come here; those that are here finish."""
        self._retired = True
        self._close_if_idle()

    async def ready(self, position: int, end: int, span: ByteSpan) -> int:
        """See `FileBody.ready`."""
        partial, small = self.partial, self._is_small(span)
        serial, wait_seconds = partial.trouble_serial, _FIRST_WAIT_SECONDS
        limit = min(end, position + _WINDOW_BYTES)
        while True:
            if partial.state == State.DISCARDED:
                raise error_of(partial.trouble)
            released = partial.release(position, limit, may_move_hold=small)
            if released > position:
                return released - position
            if partial.trouble_serial != serial:
                raise error_of(partial.trouble)
            partial.want(position, min(limit, position + _WANT_BYTES))
            self._held_back(position)
            self._lead_or_follow()
            await self.changed(wait_seconds)
            wait_seconds = min(_LONGEST_WAIT_SECONDS, wait_seconds * 2)

    @property
    def is_proven(self) -> bool:
        return self.partial.state in (State.VERIFIED, State.SEALED)

    async def prefix(self, count: int) -> None:
        """See `FileBody.prefix`."""
        await self._until(lambda: self.partial.present_end(0, count) >= count, ByteSpan(0, count))

    async def settled(self) -> None:
        """See `FileBody.whole`."""
        self.partial.want_whole()
        await self._until(lambda: self.is_proven, None)

    async def _until(self, is_met: Callable[[], bool], wanted: ByteSpan | None) -> None:
        """Return when the partial is so far. Raises as `ready`."""
        partial = self.partial
        serial, wait_seconds = partial.trouble_serial, _FIRST_WAIT_SECONDS
        while partial.state == State.DISCARDED or not is_met():
            if partial.state == State.DISCARDED or partial.trouble_serial != serial:
                raise error_of(partial.trouble)
            if wanted is not None:
                partial.want(wanted.start, wanted.end)
            self._lead_or_follow()
            await self.changed(wait_seconds)
            wait_seconds = min(_LONGEST_WAIT_SECONDS, wait_seconds * 2)

    def _is_small(self, span: ByteSpan) -> bool:
        return self.fills.is_small(self.partial.size_bytes, span)

    def _held_back(self, position: int) -> None:
        """A reader that waits at the hold waits for the hash, which needs the whole file."""
        partial = self.partial
        if position // BLOCK_BYTES == partial.hold and partial.is_full(partial.hold):
            partial.want_whole()

    # -- leading or following --------------------------------------------------------------------------------

    @property
    def filling(self) -> bool:
        return self._leader is not None

    @property
    def is_ending(self) -> bool:
        """Whether it is over for the leader here, who is about to give up the lead."""
        return self._leader is not None and self._leader.ended

    def _lead_or_follow(self) -> None:
        if self._leader is not None:
            self._leader.nudge()
            return
        if self.fills.rules.offline and not self.local:
            raise UpstreamUnreachable("this gateway is offline, and the file is not in its store")
        if self.partial.not_before > time.time():  # upstream wants to be left alone
            raise error_of(self.partial.trouble)
        if not self.partial.try_lead():
            return
        limits = LeaderLimits(self.fills.rules.connections, self.fills.make_room, self.fills.judge)
        self._leader = Leader(self.partial, self.make_source(), limits, _Watch(self, self._loop))
        self._leader.nudge()
        self._loop.call_later(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        if self._leader is None:
            return
        if self._leader.tick():
            self._loop.call_later(_TICK_SECONDS, self._tick)
            return
        self._leader = None
        self.partial.stop_leading()
        self.wake()
        self._close_if_idle()

    async def stop(self) -> None:
        """End the fetching, keep the progress."""
        if self._leader is not None:
            await asyncio.to_thread(self._leader.stop, _STOP_SECONDS)
            self._leader = None
            self.partial.stop_leading()
        self.wake()

    # -- waiting ---------------------------------------------------------------------------------------------

    async def changed(self, wait_seconds: float) -> None:
        """Until something changed, or so long."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        timer = self._loop.call_later(wait_seconds, _release, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    @property
    def awaited(self) -> bool:
        return bool(self._waiters)

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _release(waiter)

    def _close_if_idle(self) -> None:
        if self._readers == 0 and self._leader is None and self.partial.data_fd >= 0:
            self.fills.drop(self)
            self.partial.close()


class _Watch:
    """Carries a leader's news from its threads to the event loop and to the counters."""

    def __init__(self, fill: Fill, loop: asyncio.AbstractEventLoop) -> None:
        self._fill = fill
        self._loop = loop

    def progressed(self) -> None:
        if self._fill.awaited:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._fill.wake)

    def fetched(self, count: int) -> None:
        self._fill.fills.watcher.fetched(count)

    def retried(self, error: UpstreamError) -> None:
        self._fill.fills.watcher.retried(error)

    def sealed(self) -> None:
        fill = self._fill
        fill.fills.watcher.sealed(fill.partial.etag, fill.partial.size_bytes, time.monotonic() - fill._began)
        self.progressed()

    def failed(self, error: MoongateError) -> None:
        self._fill.fills.watcher.failed(self._fill.partial.etag, error)
        self.progressed()

    def tainted(self) -> None:
        self._fill.fills.watcher.tainted(self._fill.partial.etag)


def _nothing() -> None:
    """Nobody wants to know."""


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
