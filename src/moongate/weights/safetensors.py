"""The header of a safetensors file: eight bytes of length, then JSON that names every tensor.

    {"__metadata__": {text: text}, name: {"dtype": "BF16", "shape": [2, 3], "data_offsets": [from, to]}, …}

Tolerant of dtypes that we do not know (they are counted, their sizes are not checked) and of gaps between
tensors; a header whose tensors overlap, lie outside the file, or are of another size than they claim is bad.
Source: the safetensors format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from moongate.core.spans import ByteSpan
from moongate.weights.reading import BadHeader, Reader

MAX_HEADER_BYTES: Final = 25_000_000
"""The Hub's clients take no longer header either."""

_METADATA = "__metadata__"
_MAX_DIMENSIONS = 64
_MAX_COUNT = 1 << 60
_MAX_DTYPE_CHARS = 32

_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "BOOL": 8, "I8": 8, "U8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SafetensorsFacts:
    """How many parameters of each dtype, and what the writer noted."""

    parameters: Mapping[str, int]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.parameters.values())


def read_safetensors(size_bytes: int) -> Reader[SafetensorsFacts]:
    """The facts of a safetensors file of that size; see `reading`.

    Raises:
        BadHeader: it is no safetensors file, or its header contradicts itself or the file's size.
    """
    if size_bytes < 10:
        raise BadHeader("the file is too short to be safetensors")
    prefix = yield ByteSpan(0, 8)
    header_bytes = int.from_bytes(prefix, "little")
    if len(prefix) != 8 or not 2 <= header_bytes <= size_bytes - 8:
        raise BadHeader("the safetensors header is longer than the file")
    if header_bytes > MAX_HEADER_BYTES:
        raise BadHeader(f"the safetensors header is longer than {MAX_HEADER_BYTES} bytes")
    header = yield ByteSpan(8, 8 + header_bytes)
    if len(header) != header_bytes:
        raise BadHeader("the safetensors header is cut off")
    return _facts(header, size_bytes - 8 - header_bytes)


def _facts(header: bytes, data_bytes: int) -> SafetensorsFacts:
    try:
        told = orjson.loads(header)
    except orjson.JSONDecodeError:
        raise BadHeader("the safetensors header is not JSON") from None
    if not isinstance(told, dict):
        raise BadHeader("the safetensors header is no object")
    metadata = told.pop(_METADATA, {})
    parameters: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    for tensor in told.values():
        dtype, count, place = _tensor(tensor, data_bytes)
        parameters[dtype] = parameters.get(dtype, 0) + count
        places.append(place)
    _refuse_overlaps(places)
    return SafetensorsFacts(parameters, _texts(metadata))


def _tensor(tensor: object, data_bytes: int) -> tuple[str, int, tuple[int, int]]:
    if not isinstance(tensor, dict):
        raise BadHeader("the safetensors header holds something that is no tensor")
    dtype, offsets = tensor.get("dtype"), tensor.get("data_offsets")
    if not isinstance(dtype, str) or not 0 < len(dtype) <= _MAX_DTYPE_CHARS:
        raise BadHeader("a tensor has no dtype")
    count = _count(tensor.get("shape"))
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(at) is int for at in offsets):
        raise BadHeader("a tensor has no offsets")
    start, end = offsets
    if not 0 <= start <= end <= data_bytes:
        raise BadHeader("a tensor lies outside the file")
    bits = _BITS.get(dtype)
    if bits is not None and (count * bits + 7) // 8 != end - start:
        raise BadHeader("a tensor is of another size than its shape")
    return dtype, count, (start, end)


def _count(shape: object) -> int:
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        raise BadHeader("a tensor has no sensible shape")
    count = 1
    for length in shape:
        if type(length) is not int or length < 0:
            raise BadHeader("a tensor has no sensible shape")
        count *= length
        if count > _MAX_COUNT:
            raise BadHeader("a tensor is absurdly large")
    return count


def _refuse_overlaps(places: list[tuple[int, int]]) -> None:
    reached = 0
    for start, end in sorted(place for place in places if place[0] < place[1]):
        if start < reached:
            raise BadHeader("tensors overlap")
        reached = end


def _texts(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict):
        raise BadHeader("the safetensors metadata is no object")
    return {name: value for name, value in metadata.items() if isinstance(value, str)}
