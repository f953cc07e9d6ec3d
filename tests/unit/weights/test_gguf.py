"""GGUF headers: what they tell, and which are refused."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from moongate.core.spans import ByteSpan
from moongate.weights.gguf import GgufFacts, read_gguf
from moongate.weights.reading import BadHeader, facts_of
from support.weights import gguf, reader_of, string, texts, uint32

MIB = 1 << 20


def _read(data: bytes, size_bytes: int | None = None) -> GgufFacts:
    return facts_of(read_gguf(size_bytes or len(data)), reader_of(data))


def _llama(order: str = "<", more: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    return gguf(
        [
            ("general.architecture", string("llama", order)),
            ("llama.context_length", uint32(8192, order)),
            ("other.context_length", uint32(1, order)),
            ("general.file_type", uint32(15, order)),
            *more,
            ("tokenizer.chat_template", string("{{ messages }}", order)),
        ],
        [("token_embd.weight", [64, 100], 12), ("output_norm.weight", [64], 0)],
        order=order,
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_file_tells(order: str) -> None:
    assert replace(_read(_llama(order)), oddities=()) == GgufFacts(
        total=6464,
        architecture="llama",
        context_length=8192,
        quantization="Q4_K_M",
        chat_template="{{ messages }}",
        reach=len(_llama(order)) // 32 * 32 + 32 + 64 * 100 // 256 * 144,
        texts={"general.architecture": "llama", "tokenizer.chat_template": "{{ messages }}"},
    )


def test_a_tokenizer_in_the_middle_is_stepped_over() -> None:
    words = texts([f"word{n}" for n in range(200_000)])
    scores = struct.pack("<IIQ", 9, 6, 3 * MIB) + bytes(12 * MIB)
    data = _llama(more=(("tokenizer.ggml.tokens", words), ("tokenizer.ggml.scores", scores)))
    facts = facts_of(read_gguf(len(data)), reader_of(data, most_bytes=len(words) + 3 * MIB))
    assert facts.total == 6464
    assert facts.chat_template == "{{ messages }}"


def test_words_longer_than_what_is_read_at_once() -> None:
    data = _llama(more=(("long", texts(["x" * (3 * MIB), "y", "z" * (MIB - 10), ""])),))
    assert _read(data).context_length == 8192


def test_without_a_file_type_the_most_common_one_counts() -> None:
    data = gguf([], [("a", [10], 0), ("b", [1000], 30)])
    assert _read(data).quantization == "BF16"
    assert _read(gguf()) == GgufFacts(total=0)


def test_an_absurd_template_is_left_out() -> None:
    data = gguf([("tokenizer.chat_template", string("x" * (300 << 10)))])
    assert _read(data).chat_template is None


def test_a_split_file_says_so() -> None:
    data = gguf([("split.count", struct.pack("<IH", 2, 3))], [("a", [5], 0)])
    assert _read(data).split_count == 3


def _nested(depth: int, count: int = 1) -> bytes:
    return struct.pack("<I", 9) + struct.pack("<IQ", 9, count) * depth + struct.pack("<IQ", 0, 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GGML" + bytes(40), "not a GGUF"),
        (gguf(version=1), "version"),
        (gguf(version=99), "version"),
        (gguf(counts=(1 << 40, 0)), "absurdly many entries"),
        (gguf(counts=(0, 1 << 63)), "absurdly many entries"),
        (gguf(counts=(0, 5)), "longer than the file"),
        (gguf(counts=(5, 0)), "longer than the file"),
        (gguf([("k", struct.pack("<IQ", 8, 1 << 62))]), "longer than the file"),
        (gguf([("k", struct.pack("<IIQ", 9, 0, 1 << 63))]), "longer than the file"),
        (gguf([("k", struct.pack("<IIQ", 9, 8, 1 << 63))]), "absurdly many texts"),
        (gguf([("k", _nested(1, 1 << 63))]), "absurdly many arrays"),
        (gguf([("k", _nested(40))]), "nested absurdly deep"),
        (gguf([("k", struct.pack("<I", 99))]), "unknown type"),
        (gguf([("k" * 70_000, uint32(1))]), "key is absurdly long"),
        (gguf([], [("t" * 70_000, [1], 0)]), "name is absurdly long"),
        (gguf([], [("t", [1] * 9, 0)]), "dimensions"),
        (gguf([], [("t", [1 << 40, 1 << 40], 0)]), "absurdly large"),
    ],
)
def test_a_header_that_cannot_be_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadHeader, match=why):
        _read(data)


def test_many_far_apart_words_do_not_keep_us_reading() -> None:
    """A file of a terabyte whose every word is longer than what is read at once."""
    head = gguf([("k", struct.pack("<IIQ", 9, 8, 1 << 20))])
    asked = 0

    def read(span: ByteSpan) -> bytes:
        nonlocal asked
        asked += 1
        begin = head if span.start == 0 else b""
        return (begin + struct.pack("<Q", 2 * MIB) * (span.length // 8 + 1))[: span.length]

    with pytest.raises(BadHeader, match="absurdly long"):
        facts_of(read_gguf(1 << 40), read)
    assert asked < 200
