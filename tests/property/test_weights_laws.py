"""Laws of the readers of weight files' headers, for whatever bytes there are."""

from __future__ import annotations

import contextlib
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from moongate.weights.gguf import read_gguf
from moongate.weights.reading import BadHeader, Reader, facts_of
from moongate.weights.safetensors import read_safetensors
from support.weights import gguf, reader_of, safetensors, safetensors_of, string, texts, uint32

_NAMES = st.text(min_size=1, max_size=20)
_SHAPES = st.lists(st.integers(0, 6), max_size=4)


def _read_or_refuse(reader: Reader[object], data: bytes) -> None:
    with contextlib.suppress(BadHeader):
        facts_of(reader, reader_of(data))


@given(st.dictionaries(_NAMES, st.tuples(st.sampled_from(["F32", "BF16", "I8", "F64"]), _SHAPES), max_size=8))
def test_every_tensor_is_counted_once(tensors: dict[str, tuple[str, list[int]]]) -> None:
    data = safetensors(tensors)
    counted = facts_of(read_safetensors(len(data)), reader_of(data))
    assert counted.total == sum(math.prod(shape) for _, shape in tensors.values())


@given(
    st.lists(st.tuples(_NAMES, st.lists(st.integers(0, 1000), max_size=8), st.integers(0, 40)), max_size=8)
)
def test_every_gguf_tensor_is_counted_once(tensors: list[tuple[str, list[int], int]]) -> None:
    data = gguf([("general.architecture", string("x"))], tensors)
    facts = read_gguf(len(data))
    total = sum(math.prod(shape) for _, shape, _ in tensors)
    if all(math.prod(shape) <= 1 << 60 for _, shape, _ in tensors):
        assert facts_of(facts, reader_of(data)).total == total


@given(st.binary(max_size=300), st.integers(0, 8))
def test_any_bytes_are_read_or_refused(noise: bytes, zeros: int) -> None:
    for data in (noise, safetensors_of(noise, zeros), b"GGUF\3\0\0\0" + noise):
        _read_or_refuse(read_safetensors(len(data)), data)
        _read_or_refuse(read_gguf(len(data)), data)


_WHOLE_GGUF = gguf(
    [("general.architecture", string("x")), ("w", texts(["a", "bc"])), ("x.context_length", uint32(5))],
    [("t", [3, 4], 1)],
)
_WHOLE_SAFETENSORS = safetensors({"a": ("F32", [2]), "b": ("I8", [3])}, {"format": "pt"})


@given(st.data())
@settings(max_examples=300)
def test_one_changed_byte_is_read_or_refused(data: st.DataObject) -> None:
    for whole, read in ((_WHOLE_GGUF, read_gguf), (_WHOLE_SAFETENSORS, read_safetensors)):
        at, value = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
        changed = whole[:at] + bytes([value]) + whole[at + 1 :]
        _read_or_refuse(read(len(changed)), changed)
        _read_or_refuse(read(at), whole[:at])
