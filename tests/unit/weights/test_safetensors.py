"""Safetensors headers: what they tell, and which are refused."""

from __future__ import annotations

import json

import pytest

from moongate.weights.reading import BadHeader, facts_of
from moongate.weights.safetensors import MAX_HEADER_BYTES, SafetensorsFacts, read_safetensors
from support.weights import reader_of, safetensors, safetensors_of


def _read(data: bytes, size_bytes: int | None = None) -> SafetensorsFacts:
    return facts_of(read_safetensors(size_bytes or len(data)), reader_of(data))


def _tensor(dtype: object, shape: object, offsets: object) -> bytes:
    return json.dumps({"t": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


def test_parameters_are_counted_by_dtype() -> None:
    data = safetensors(
        {"a": ("F32", [2, 3]), "b": ("BF16", [4]), "c": ("F32", []), "none": ("I8", [0, 7])},
        {"format": "pt"},
    )
    facts = _read(data)
    assert facts.parameters == {"F32": 7, "BF16": 4, "I8": 0}
    assert facts.total == 11
    assert facts.metadata == {"format": "pt"}


def test_only_the_header_is_asked_for() -> None:
    data = safetensors({"large": ("F32", [1000, 1000])})
    header_bytes = int.from_bytes(data[:8], "little")
    facts = facts_of(read_safetensors(len(data)), reader_of(data, most_bytes=8 + header_bytes))
    assert facts.total == 1_000_000


def test_a_dtype_from_the_future_is_counted() -> None:
    assert _read(safetensors_of(_tensor("F2_NEW", [8], [0, 2]), 2)).parameters == {"F2_NEW": 8}


def test_half_bytes_are_rounded_up() -> None:
    assert _read(safetensors_of(_tensor("F4", [3], [0, 2]), 2)).parameters == {"F4": 3}


def test_gaps_between_tensors_are_no_trouble() -> None:
    header = json.dumps(
        {
            "a": {"dtype": "U8", "shape": [2], "data_offsets": [6, 8]},
            "b": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
        }
    ).encode()
    assert _read(safetensors_of(header, 8)).total == 4


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"[]", "no object"),
        (b"{]", "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b'{"a":' * 5000, "not JSON"),
        (b'{"t": 5}', "no tensor"),
        (b'{"__metadata__": 3}', "metadata"),
        (_tensor(None, [1], [0, 4]), "no dtype"),
        (_tensor("F" * 1000, [1], [0, 4]), "no dtype"),
        (_tensor("F32", None, [0, 4]), "shape"),
        (_tensor("F32", [True], [0, 4]), "shape"),
        (_tensor("F32", [-1], [0, 4]), "shape"),
        (_tensor("F32", [1] * 65, [0, 4]), "shape"),
        (_tensor("F32", [1 << 31, 1 << 31], [0, 4]), "absurdly large"),
        (_tensor("F32", [1], [0, 1 << 63]), "outside"),
        (_tensor("F32", [1], [4, 0]), "outside"),
        (_tensor("F32", [1], [0.0, 4.0]), "no offsets"),
        (_tensor("F32", [1], [0]), "no offsets"),
        (_tensor("F32", [2], [0, 4]), "another size"),
    ],
)
def test_a_header_that_cannot_be_is_refused(header: bytes, why: str) -> None:
    with pytest.raises(BadHeader, match=why):
        _read(safetensors_of(header, 16))


def test_overlapping_tensors_are_refused() -> None:
    header = json.dumps(
        {
            "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
            "b": {"dtype": "U8", "shape": [4], "data_offsets": [3, 7]},
        }
    ).encode()
    with pytest.raises(BadHeader, match="overlap"):
        _read(safetensors_of(header, 8))


@pytest.mark.parametrize("size_bytes", [0, 7, 9])
def test_what_is_too_short_is_refused(size_bytes: int) -> None:
    with pytest.raises(BadHeader, match="too short"):
        facts_of(read_safetensors(size_bytes), reader_of(bytes(size_bytes)))


def test_a_length_is_believed_by_nobody() -> None:
    with pytest.raises(BadHeader, match="longer than the file"):
        _read((1 << 60).to_bytes(8, "little") + b"{}")
    long = (MAX_HEADER_BYTES + 1).to_bytes(8, "little")
    with pytest.raises(BadHeader, match="longer than"):
        facts_of(read_safetensors(1 << 40), lambda span: long if span.start == 0 else pytest.fail("asked"))


def test_a_file_that_is_cut_off_is_refused() -> None:
    data = safetensors({"a": ("F32", [2, 3])})
    with pytest.raises(BadHeader, match="cut off"):
        facts_of(read_safetensors(len(data)), lambda span: data[span.start : min(span.end, 20)])
