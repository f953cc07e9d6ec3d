"""The compiled loops beside numpy: the same bytes, whatever was asked of them before, and never required."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest

from moongate.xet import compiled
from moongate.xet.chunker import Chunker, chunk_lengths
from moongate.xet.groups import grouped, weaver
from moongate.xet.loops import MOST_LENGTHS, ROOM_BYTES
from moongate.xet.xorb import BadXorb, decode_chunks, encode_chunk, read_headers


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "numpy":
        monkeypatch.setitem(sys.modules, "wasmtime", None)
    else:
        pytest.importorskip("wasmtime")
    compiled.forget_all()
    yield request.param
    compiled.forget_all()


def test_each_way_is_taken(way: str) -> None:
    with compiled.borrowed() as loops:
        assert (loops is not None) == (way == "compiled")


def test_many_pieces_are_woven_whatever_the_room(way: str) -> None:
    chance = random.Random(1)
    lengths = [
        0,
        1,
        2,
        3,
        4,
        5,
        63,
        64,
        65,
        66,
        67,
        255,
        131072,
        *(chance.randrange(131073) for _ in range(40)),
    ]
    raws = [chance.randbytes(length) for length in lengths] + [b"abcdefg"] * (MOST_LENGTHS + 1)
    assert sum(lengths) > 2 * ROOM_BYTES
    outs = [memoryview(bytearray(len(raw))) for raw in raws]
    with weaver(max(lengths)) as weaving:
        for raw, out in zip(raws, outs, strict=True):
            weaving.add(grouped(raw), out)
        weaving.finish()
    assert [bytes(out) for out in outs] == raws


def test_a_batch_that_failed_leaves_nothing_behind(way: str) -> None:
    good = encode_chunk(b"abcd" * 5000, "bg4-lz4")
    bad = bytearray(good)
    bad[5] += 1  # the raw length
    data = memoryview(good + bytes(bad))
    for _ in range(3):
        with pytest.raises(BadXorb):
            decode_chunks(data, read_headers(data))
    view = memoryview(good)
    assert decode_chunks(view, read_headers(view)) == [b"abcd" * 5000]


def test_streams_do_not_mix(way: str) -> None:
    contents = [random.Random(seed).randbytes(700_000 + seed) for seed in range(3)]
    chunkers, lengths = [Chunker() for _ in contents], [list[int]() for _ in contents]
    for at in range(0, 700_003, 9001):
        for content, chunker, found in zip(contents, chunkers, lengths, strict=True):
            found.extend(chunker.feed(content[at : at + 9001]))
    for content, chunker, found in zip(contents, chunkers, lengths, strict=True):
        assert found + chunker.finish() == chunk_lengths(content)


def test_what_does_not_compile_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    wasmtime = pytest.importorskip("wasmtime")

    def refuse(*_: object) -> None:
        raise wasmtime.WasmtimeError("no executable memory here")

    compiled.forget_all()
    monkeypatch.setattr(wasmtime, "Module", refuse)
    data = random.Random(5).randbytes(300_000)
    without = chunk_lengths(data)
    with compiled.borrowed() as loops:
        assert loops is None
    monkeypatch.undo()
    compiled.forget_all()
    assert chunk_lengths(data) == without
