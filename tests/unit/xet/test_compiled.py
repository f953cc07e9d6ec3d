"""The compiled loops beside numpy: the same bytes, whatever was asked of them before, and never required."""

from __future__ import annotations

import random

import pytest

from moongate.xet import compiled
from moongate.xet.chunker import Chunker, chunk_lengths


def test_each_way_is_taken(way: str) -> None:
    with compiled.borrowed() as loops:
        assert (loops is not None) == (way == "compiled")


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
