"""Xet's codecs on one core: cutting chunks, and all the checks of a fill, beside hashlib's sha256.

`docs/benchmarks.md` tells what was tried.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np

from bench.plan import MIB
from bench.rounds import Reading, alternate
from bench.rows import Section, Target
from bench.stage import OURS, Stage
from moongate.xet.chunker import chunk_lengths
from moongate.xet.decoding import fitting, new_decoder
from moongate.xet.hashes import chunk_hash, file_hash
from moongate.xet.xorb import HEADER_BYTES, Compression, StoredChunk, encode_chunk, read_headers

NAME = "xet_codecs"
_SHA256 = "hashlib sha256"
_SAMPLE_BYTES = 48 * MIB
_CUTTING = Target("at least", 300.0, "value")
_CHECKING = Target("at least", 500.0, "value")


def measure(stage: Stage) -> Section:
    """CPU rates of cutting, and of decoding and hashing what was stored in each way."""
    section = Section(
        NAME,
        "Xet's codecs on one core",
        f"{_SAMPLE_BYTES // MIB} MiB in memory, by CPU time of one thread. Checking is all a fill does: read "
        "headers, decode, hash every chunk, the file's Xet id, the file's sha256.",
    )
    noise = random.Random(1).randbytes(_SAMPLE_BYTES)
    _compare(stage, section, "cut chunks", noise, lambda: chunk_lengths(noise), _CUTTING)
    for what, compression, raw in (
        ("check a xorb stored raw", "none", noise),
        ("check float32 weights (BG4-LZ4)", "bg4-lz4", _weights()),
        ("check text (LZ4)", "lz4", _text()),
    ):
        packed = memoryview(_packed(raw, compression))
        _compare(stage, section, what, raw, lambda packed=packed: _checked(packed), _CHECKING)
    return section


def _compare(
    stage: Stage, section: Section, what: str, raw: bytes, work: Callable[[], object], target: Target
) -> None:
    contenders = {
        OURS: lambda _: _timed(len(raw), work),
        _SHA256: lambda _: _timed(len(raw), lambda: hashlib.sha256(raw).digest()),
    }
    rounds = alternate(stage.plan.rounds, contenders)
    section.compare(what, "MB/s", "mb_per_second", rounds, OURS, _SHA256, target)


def _timed(size_bytes: int, work: Callable[[], object]) -> Reading:
    started = time.thread_time()
    work()
    return {"mb_per_second": size_bytes / 1e6 / (time.thread_time() - started)}


def _checked(packed: memoryview) -> tuple[bytes, bytes]:
    """The Xet id and the sha256 of a file whose chunks these are."""
    digest, leaves, decoder = hashlib.sha256(), [], new_decoder()
    for run in _runs(packed):
        start, end = run[0].data_start - HEADER_BYTES, run[-1].end
        decoder.stored[: end - start] = packed[start:end]
        leaves += [(chunk_hash(raw), len(raw)) for raw in decoder.decode(run, start)]
        digest.update(decoder.together())
    return file_hash(leaves), digest.digest()


def _runs(packed: memoryview) -> Iterator[list[StoredChunk]]:
    """The chunks by the mebibyte, as a fill reads them, or as many as can be decoded at once."""
    for _, grouped in groupby(read_headers(packed), lambda chunk: chunk.data_start // MIB):
        run = list(grouped)
        while run:
            some = fitting(run)
            yield run[:some]
            run = run[some:]


def _packed(raw: bytes, compression: Compression) -> bytes:
    """The file's chunks, one after another, as a run of xorbs would have them."""
    packed, at = bytearray(), 0
    for length in chunk_lengths(raw):
        packed += encode_chunk(raw[at : at + length], compression)
        at += length
    return bytes(packed)


def _weights() -> bytes:
    values = np.random.default_rng(1).normal(0.0, 0.02, _SAMPLE_BYTES // 4)
    return values.astype("<f4").tobytes()


def _text() -> bytes:
    words = [b"alpha", b"beta", b"gamma", b"delta", b"token", b"0.12345", b"\n", b"model"]
    chosen = random.Random(1).choices(words, k=_SAMPLE_BYTES // 4)
    return b" ".join(chosen)[:_SAMPLE_BYTES]
