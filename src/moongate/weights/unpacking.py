"""Decompresses within bounds, into memory, and says how it went: whole, cut at the bound, or broken.

gzip, zlib, raw deflate and deflate64, bzip2, xz, lzma, lzip, lz4 and zstd frames, and what `compress`
wrote. Several streams in a row count as one.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lz4.frame import LZ4FrameDecompressor

from moongate.core.spans import ByteSpan
from moongate.weights.compress_lzw import unpacked_lzw
from moongate.weights.deflate64 import inflate64
from moongate.weights.ranged import Ranged

MAX_UNPACKED_BYTES: Final = 64 << 20
_STEP_BYTES = 256 << 10
_WINDOW_BITS = 27


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out.

    cut: more would have come. broken: the stream did not end as it should. used: bytes of input taken.
    """

    data: bytes
    cut: bool
    broken: bool
    used: int


class _Decoder(Protocol):
    eof: bool
    unused_data: bytes | None

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Zlib:
    """zlib's decoder with the manners of the others."""

    def __init__(self, window_bits: int) -> None:
        self._decoder = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


class _ZipLzma:
    """LZMA as members of zip archives carry it: a version, the length of the settings, the settings."""

    def __init__(self) -> None:
        self._decoder: lzma.LZMADecompressor | None = None
        self._begun = b""

    @property
    def eof(self) -> bool:
        return self._decoder is not None and self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return self._decoder is None or self._decoder.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data if self._decoder else b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if self._decoder is None:
            self._begun += data
            if len(self._begun) < 9:
                return b""
            data = self._begun[9:]
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_settings(self._begun[4:9])])
        return self._decoder.decompress(data, max_length)


class _Lzip:
    """One member of lzip: a mark, the size of the dictionary, LZMA with an end of its own, checks."""

    needs_input = True
    _LETTERS_AND_PLACES = 93  # lc=3, lp=0, pb=2, always

    def __init__(self) -> None:
        self._decoder: lzma.LZMADecompressor | None = None
        self._begun = b""

    @property
    def eof(self) -> bool:
        return self._decoder is not None and self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        """What stands behind the checks; of them, nothing where they are cut off."""
        return self._decoder.unused_data[20:] if self._decoder else b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if self._decoder is None:
            self._begun += data
            if len(self._begun) < 6:
                return b""
            letter, data = self._begun[5], self._begun[6:]
            size = (1 << (letter & 31)) - ((1 << (letter & 31)) >> 4) * (letter >> 5)
            raw = bytes((self._LETTERS_AND_PLACES,)) + min(size, 0xFFFFFFFF).to_bytes(4, "little")
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_settings(raw)])
        given = self._decoder.decompress(data, max_length)
        self.needs_input = self._decoder.needs_input
        return given


def _zstd_module() -> Any:
    """What Python 3.14 brings, and a package gives to older ones; None where neither is there."""
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ImportError):
            return importlib.import_module(name)
    return None


_ZSTD: Final = _zstd_module()


def _zstd() -> object:
    """Frames with windows of up to 128 MB; longer ones need a program to be asked for it, too."""
    longest = _ZSTD.DecompressionParameter.window_log_max
    return _ZSTD.ZstdDecompressor(options={longest: _WINDOW_BITS})


def _settings(raw: bytes) -> dict[str, int]:
    """The filter that five bytes of settings describe."""
    bits, size = raw[0], int.from_bytes(raw[1:5], "little")
    if bits >= 225 or size > 256 << 20:
        raise ValueError("settings that cannot be")
    return {"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096), "lc": bits % 9, "lp": bits // 9 % 5,
            "pb": bits // 45}  # fmt: skip


def _lzma_alone() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=256 << 20)


DECODERS: Final[dict[str, Callable[[], object]]] = {
    "gzip": lambda: _Zlib(31),
    "zlib": lambda: _Zlib(15),
    "deflate": lambda: _Zlib(-15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20),
    "lzma": _lzma_alone,
    "lz4": LZ4FrameDecompressor,
    "zip lzma": _ZipLzma,
    "lzip": _Lzip,
    "deflate64": object,
    "compress": object,
    **({} if _ZSTD is None else {"zstd": _zstd}),
}

_BROKEN = (
    *(() if _ZSTD is None else (_ZSTD.ZstdError,)),
    zlib.error,
    OSError,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    MemoryError,
)


def unpack(content: Ranged, method: str, max_bytes: int = MAX_UNPACKED_BYTES) -> Unpacked:
    """The first `max_bytes` of what content decompresses to; never raises."""
    if method in _WHOLE:
        data = content.read(ByteSpan(0, min(content.size_bytes, MAX_UNPACKED_BYTES)))
        return _WHOLE[method](data, max_bytes)
    decoder: _Decoder = DECODERS[method]()  # type: ignore[assignment]
    pieces: list[bytes] = []
    length, at, broken = 0, 0, False
    fed = True
    while True:
        data = content.read(ByteSpan(at, at + _STEP_BYTES)) if fed else b""
        if fed and not data:
            broken = not decoder.eof
            break
        at += len(data)
        try:
            piece = decoder.decompress(data, max_bytes + 1 - length)
        except _BROKEN:
            broken = True
            break
        pieces.append(piece)
        length += len(piece)
        if length > max_bytes:
            return Unpacked(b"".join(pieces)[:max_bytes], True, False, at)
        if decoder.eof:
            at -= len(decoder.unused_data or b"")
            if method == "gzip":
                at = _past_zeros(content, at)
            elif method in _SKIPPING:
                at = past_skippable(content, at)
            if method not in _MAGICS or not _goes_on(content, at, method):
                break
            decoder = DECODERS[method]()  # type: ignore[assignment]
            fed = True
        else:
            fed = bool(getattr(decoder, "needs_input", True)) or not piece
    return Unpacked(b"".join(pieces), False, broken, at)


def _inflated64(data: bytes, max_bytes: int) -> Unpacked:
    out, cut, broken, used = inflate64(data, max_bytes)
    return Unpacked(out, cut, broken, used)


def _uncompressed(data: bytes, max_bytes: int) -> Unpacked:
    out, cut, broken = unpacked_lzw(data, max_bytes)
    return Unpacked(out, cut, broken, len(data))


_WHOLE: Final = {"deflate64": _inflated64, "compress": _uncompressed}
"""What is no stream, but read at once."""


_MAGICS = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\x00", "lz4": b"\x04\x22\x4d\x18",
           "zstd": b"\x28\xb5\x2f\xfd", "lzip": b"LZIP\x01"}  # fmt: skip
_SKIPPING = frozenset(("lz4", "zstd"))
_MOST_SKIPPED = 10_000


def past_skippable(content: Ranged, at: int) -> int:
    """Where the next frame could begin: readers of lz4 and zstd step over frames of other people's data."""
    for _ in range(_MOST_SKIPPED):
        head = content.read(ByteSpan(at, at + 8))
        if len(head) < 8 or head[1:4] != b"\x2a\x4d\x18" or head[0] & 0xF0 != 0x50:
            break
        at = min(at + 8 + int.from_bytes(head[4:], "little"), content.size_bytes)
    return at


def _past_zeros(content: Ranged, at: int) -> int:
    """Where the next stream could begin: readers of gzip step over zeros between them."""
    while (data := content.read(ByteSpan(at, at + _STEP_BYTES))) and not any(data):
        at += len(data)
    return at + len(data) - len(data.lstrip(b"\x00"))


def _goes_on(content: Ranged, at: int, method: str) -> bool:
    magic = _MAGICS[method]
    return content.read(ByteSpan(at, at + len(magic))) == magic
