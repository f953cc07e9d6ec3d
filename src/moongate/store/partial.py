"""A file on its way in: bytes that are here, bytes that are wanted, and one block that nobody gets yet.

A `Partial` is two files shared by every process of a node: the data, as long as the whole file will be,
and a small map of it, memory-mapped. Whoever leads the fill writes; everybody reads.

    map   0 magic · 8 size u64 · 16 block size u32 · 20 blocks u32 · 24 state u32 · 28 whole u32
          32 hold u32 · 36 troubles u32 · 40 trouble kind u32 · 44 not before u32 (unix time)
          64 trouble text, 256 bytes
          512 have[blocks] u32 · released[blocks] u8 · wanted[blocks] u8

Rules of this file:
- `have[b]` counts the bytes present from the start of block b. It is raised after the bytes are written, so a
  process that dies loses nothing but what was in its sockets.
- One block is *held*: until the whole file is verified, no reader gets it, so nobody can complete a file that
  is not proven. It is the last block; a small range that needs it early may move the hold to the last
  block that nobody was given yet, and never takes the last one left.
- The leader holds an exclusive lock on the map; the lock dies with the process.
- `verified` opens the hold; `sealed` means that the data file now stands among the blobs.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from moongate.core.digests import Etag
from moongate.core.errors import StoreFull, UpstreamBroken
from moongate.store.layout import Layout

BLOCK_BYTES = 1 << 20

_MAGIC = b"MGPART01"
_HEAD = struct.Struct("<8sQII")
_MAP_HEADER_BYTES = 512
_TEXT_AT, _TEXT_BYTES = 64, 256
_STATE, _WHOLE, _HOLD, _TROUBLES, _TROUBLE_KIND, _NOT_BEFORE = range(6, 12)  # u32 words of the header
_SYNC_FILE_RANGE_WRITE = 2


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux's call, which Python's os module lacks; None where the C library has no such thing."""
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    function.restype = ctypes.c_int
    call: Callable[[int, int, int, int], int] = function
    return call


_sync_file_range = _find_sync_file_range()


class State(IntEnum):
    """Where a fill stands. A process that dies while `VERIFIED` leaves a partial that is verified again."""

    FILLING = 0
    VERIFIED = 1
    SEALED = 2
    DISCARDED = 3


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a fill stopped, for every process that waits on it. `kind` is the filler's own numbering.

    not_before: unix time before which upstream must not be asked again; 0 when it did not say.
    """

    serial: int
    kind: int
    text: str
    not_before: int


class Partial:
    """One open partial file. Several may be open on the same etag, in one process or in many."""

    def __init__(self, layout: Layout, etag: Etag, size_bytes: int, data_fd: int, map_fd: int) -> None:
        self.etag = etag
        self.size_bytes = size_bytes
        self.data_fd = data_fd
        self._layout = layout
        self._map_fd = map_fd
        self._map = mmap.mmap(map_fd, 0)
        blocks = block_count(size_bytes)
        self.blocks = blocks
        view = memoryview(self._map)
        self._words = view[:_MAP_HEADER_BYTES].cast("I")
        released_at = _MAP_HEADER_BYTES + 4 * blocks
        self._have = view[_MAP_HEADER_BYTES:released_at].cast("I")
        self._released = view[released_at : released_at + blocks]
        self._wanted = view[released_at + blocks : released_at + 2 * blocks]
        self._wanted_at = released_at + blocks
        self._views = (self._words, self._have, self._released, self._wanted, view)
        self._thread_lock = threading.Lock()
        self._lock_fd = os.open(layout.partial_lock(etag), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._leading = False

    # -- life ------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, layout: Layout, etag: Etag, size_bytes: int) -> Partial | None:
        """The partial of this content, made when there is none; None when the blob was sealed meanwhile.

        A map that does not fit is thrown away with its data.

        Raises:
            StoreFull: the disk has no room even for an empty file.
            UpstreamBroken: somebody is filling this content with another length; one of the two was lied to.
        """
        with _locked(layout.partial_lock(etag)):
            if layout.blob(etag).exists():
                layout.partial_lock(etag).unlink(missing_ok=True)
                return None
            data_path, map_path = layout.partial_data(etag), layout.partial_map(etag)
            if not _fits(map_path, data_path, size_bytes):
                if _is_led(map_path):
                    raise UpstreamBroken(
                        f"{etag} is being filled with another length than {size_bytes} bytes"
                    )
                _create(data_path, map_path, size_bytes)
            data_fd = os.open(data_path, os.O_RDWR | os.O_CLOEXEC)
            map_fd = os.open(map_path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(data_fd, fcntl.LOCK_SH)  # tells eviction that somebody reads
        return cls(layout, etag, size_bytes, data_fd, map_fd)

    def close(self) -> None:
        """Let go of files and memory; gives up the lead. May be called twice."""
        if self._map_fd < 0:
            return
        for view in self._views:
            view.release()
        self._map.close()
        for fd in (self._map_fd, self.data_fd, self._lock_fd):
            os.close(fd)
        self._map_fd = self.data_fd = self._lock_fd = -1
        self._leading = False

    # -- leading ---------------------------------------------------------------------------------------------

    def try_lead(self) -> bool:
        """Become the one who fetches, unless another process is. The lock dies with the process."""
        if self._leading:
            return True
        try:
            fcntl.flock(self._map_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._leading = True
        if self.state == State.VERIFIED:  # its leader died before the rename: believe nothing, hash again
            self.set_state(State.FILLING)
        return True

    def stop_leading(self) -> None:
        if self._leading:
            fcntl.flock(self._map_fd, fcntl.LOCK_UN)
            self._leading = False

    def write(self, position: int, data: memoryview) -> None:
        """Keep bytes that follow what block `position // BLOCK_BYTES` already has; may span blocks.

        Raises:
            StoreFull: the disk has no room. Nothing that was kept is lost.
        """
        try:
            written = os.pwrite(self.data_fd, data, position)
            while written < len(data):
                written += os.pwrite(self.data_fd, data[written:], position + written)
        except OSError as error:
            raise StoreFull(f"the disk took no more bytes: {error.strerror}") from error
        self.note(position, len(data))

    def note(self, position: int, count: int) -> None:
        """Bytes were written, in order as `write` wants them, by other means than `write`."""
        end = position + count
        while position < end:
            block, offset = divmod(position, BLOCK_BYTES)
            taken = min(end - position, BLOCK_BYTES - offset)
            self._have[block] = offset + taken
            position += taken

    def reserve(self) -> None:
        """Take the disk space of the whole file now: writes are faster, and a full disk shows early."""
        try:
            os.posix_fallocate(self.data_fd, 0, self.size_bytes)
        except OSError as error:
            raise StoreFull(f"no room for {self.size_bytes} bytes: {error.strerror}") from error

    def write_back(self, position: int, length: int) -> None:
        """Start writing these bytes to disk in the background, so that the final sync is short."""
        if _sync_file_range is not None and position >= 0:
            _sync_file_range(self.data_fd, position, length, _SYNC_FILE_RANGE_WRITE)

    # -- what is here ----------------------------------------------------------------------------------------

    def length_of(self, block: int) -> int:
        return min(BLOCK_BYTES, self.size_bytes - block * BLOCK_BYTES)

    def have(self, block: int) -> int:
        """Bytes present from the start of this block."""
        return self._have[block]

    def is_full(self, block: int) -> bool:
        return self._have[block] >= self.length_of(block)

    def present_end(self, position: int, limit: int) -> int:
        """How far the bytes reach without a gap from `position`; at most `limit`."""
        have = self._have
        while position < limit:
            block, offset = divmod(position, BLOCK_BYTES)
            reach = have[block]
            if reach <= offset:
                break
            position = block * BLOCK_BYTES + reach
            if reach < BLOCK_BYTES:
                break
        return min(position, limit)

    def present_bytes(self) -> int:
        return sum(self._have)

    @property
    def complete(self) -> bool:
        return self.present_end(0, self.size_bytes) == self.size_bytes

    # -- what readers may get --------------------------------------------------------------------------------

    def release(self, position: int, limit: int, *, may_move_hold: bool) -> int:
        """The end of the bytes that a reader at `position` may be sent now; `position` when none.

        Marks them as given out, so that the hold never falls on bytes that somebody already has.
        """
        end = self.present_end(position, limit)
        if end <= position or self.state in (State.VERIFIED, State.SEALED):
            return end
        first, last = position // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        if 0 not in self._released[first : last + 1]:
            return end  # given out before; what is given out never becomes the hold
        with self._exclusively():
            if first <= self.hold <= last and not (may_move_hold and self._move_hold(first, last)):
                end = self.hold * BLOCK_BYTES
                last = self.hold - 1
            if end > position:
                self._released[first : last + 1] = b"\x01" * (last + 1 - first)
        return max(end, position)

    def _move_hold(self, first: int, last: int) -> bool:
        released = self._released
        for block in range(self.blocks - 1, -1, -1):
            if not released[block] and not first <= block <= last:
                self._words[_HOLD] = block
                return True
        return False

    @property
    def hold(self) -> int:
        """The block that nobody gets before the file is verified."""
        return self._words[_HOLD]

    # -- what readers want -----------------------------------------------------------------------------------

    def want(self, position: int, limit: int) -> None:
        """Ask the leader, wherever it is, for these bytes before others."""
        first, last = position // BLOCK_BYTES, (limit - 1) // BLOCK_BYTES
        for block in range(first, last + 1):
            if not self._wanted[block] and not self.is_full(block):
                self._wanted[block] = 1

    def next_wanted(self, start: int = 0) -> int:
        """The first wanted block from `start` on, or -1. Blocks that came meanwhile are unmarked."""
        while True:
            at = self._map.find(b"\x01", self._wanted_at + start, self._wanted_at + self.blocks)
            if at < 0:
                return -1
            block = at - self._wanted_at
            if not self.is_full(block):
                return block
            self._wanted[block] = 0

    def is_wanted(self, block: int) -> bool:
        return bool(self._wanted[block])

    @property
    def asked_blocks(self) -> int:
        """How many different blocks were given out so far."""
        return self._released.tobytes().count(1)

    @property
    def whole(self) -> bool:
        """Whether the whole file is to be fetched, rather than the wanted blocks alone."""
        return bool(self._words[_WHOLE])

    def want_whole(self) -> None:
        self._words[_WHOLE] = 1

    # -- how it stands ---------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return State(self._words[_STATE])

    def set_state(self, state: State) -> None:
        self._words[_STATE] = state

    @property
    def trouble(self) -> Trouble:
        """The last trouble; `serial` counts them, 0 meaning none so far."""
        raw = bytes(self._map[_TEXT_AT : _TEXT_AT + _TEXT_BYTES]).split(b"\0", 1)[0]
        words = self._words
        text = raw.decode("utf-8", "replace")
        return Trouble(words[_TROUBLES], words[_TROUBLE_KIND], text, words[_NOT_BEFORE])

    @property
    def trouble_serial(self) -> int:
        return self._words[_TROUBLES]

    @property
    def not_before(self) -> int:
        """Unix time before which nobody may ask upstream for this content again."""
        return self._words[_NOT_BEFORE]

    def report_trouble(self, kind: int, text: str, not_before: float = 0.0) -> None:
        """Tell every process that waits why this fill stopped."""
        raw = text.encode()[: _TEXT_BYTES - 1]
        self._map[_TEXT_AT : _TEXT_AT + _TEXT_BYTES] = raw.ljust(_TEXT_BYTES, b"\0")
        self._words[_TROUBLE_KIND] = kind
        self._words[_NOT_BEFORE] = math.ceil(not_before)
        self._words[_TROUBLES] += 1

    def seal(self) -> None:
        """Move the verified data among the blobs, for good. Only for a leader.

        Raises:
            StoreFull: the bytes could not be made durable; the partial stays as it is.
        """
        target = self._layout.blob(self.etag)
        try:
            os.fsync(self.data_fd)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            with _locked(self._layout.partial_lock(self.etag)):
                self._layout.partial_data(self.etag).rename(target)
                self._forget()
        except OSError as error:
            raise StoreFull(f"cannot seal a file: {error.strerror}") from error
        _sync_folder(target.parent)
        self.set_state(State.SEALED)

    def discard(self) -> None:
        """Keep nothing: remove data and map, and tell everybody. Only for a leader; may be called twice."""
        with _locked(self._layout.partial_lock(self.etag)):
            if self.state != State.DISCARDED:
                self._layout.partial_data(self.etag).unlink(missing_ok=True)
                self._forget()
        self.set_state(State.DISCARDED)

    def _forget(self) -> None:
        self._layout.partial_map(self.etag).unlink(missing_ok=True)
        self._layout.partial_lock(self.etag).unlink(missing_ok=True)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with self._thread_lock:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)


def block_count(size_bytes: int) -> int:
    return max(1, -(-size_bytes // BLOCK_BYTES))


def _map_bytes(size_bytes: int) -> int:
    return _MAP_HEADER_BYTES + 6 * block_count(size_bytes)


def _fits(map_path: Path, data_path: Path, size_bytes: int) -> bool:
    try:
        with map_path.open("rb") as file:
            head = file.read(_MAP_HEADER_BYTES)
            length = os.fstat(file.fileno()).st_size
        data_bytes = data_path.stat().st_size
    except FileNotFoundError:
        return False
    if len(head) < _MAP_HEADER_BYTES or length != _map_bytes(size_bytes) or data_bytes != size_bytes:
        return False
    magic, size, block_bytes, blocks = _HEAD.unpack_from(head)
    state = struct.unpack_from("<I", head, 4 * _STATE)[0]
    return (magic, size, block_bytes, blocks) == (
        _MAGIC,
        size_bytes,
        BLOCK_BYTES,
        block_count(size_bytes),
    ) and (state in (State.FILLING, State.VERIFIED))


def _is_led(map_path: Path) -> bool:
    try:
        fd = os.open(map_path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _create(data_path: Path, map_path: Path, size_bytes: int) -> None:
    map_path.unlink(missing_ok=True)
    data_path.unlink(missing_ok=True)
    blocks = block_count(size_bytes)
    head = bytearray(_map_bytes(size_bytes))
    _HEAD.pack_into(head, 0, _MAGIC, size_bytes, BLOCK_BYTES, blocks)
    struct.pack_into("<I", head, 4 * _HOLD, blocks - 1)
    try:
        fd = os.open(data_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size_bytes)
        finally:
            os.close(fd)
        map_path.write_bytes(head)
    except OSError as error:
        map_path.unlink(missing_ok=True)
        data_path.unlink(missing_ok=True)
        raise StoreFull(f"cannot begin a partial file: {error.strerror}") from error


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file; it may have been unlinked by a leader that ended, and then a new one is made."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink > 0:
                yield
                return
        finally:
            os.close(fd)
