"""Weight files made by hand: small, whole, and as odd as a test wants."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence

from moongate.core.spans import ByteSpan

_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I8": 1, "U8": 1, "F8_E4M3": 1}


def reader_of(data: bytes, most_bytes: int | None = None) -> Callable[[ByteSpan], bytes]:
    """What gives spans of these bytes; asserts that no span lies outside, and that no more is asked for."""
    asked = 0

    def read(span: ByteSpan) -> bytes:
        nonlocal asked
        asked += span.length
        assert span.end <= len(data)
        assert most_bytes is None or asked <= most_bytes
        return data[span.start : span.end]

    return read


def safetensors(
    tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file of zeros with these tensors, each a dtype and a shape."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = _BYTES[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return safetensors_of(json.dumps(header).encode(), at)


def safetensors_of(header: bytes, data_bytes: int = 0) -> bytes:
    """A file with this header, whatever it says, and that many zeros behind it."""
    return struct.pack("<Q", len(header)) + header + bytes(data_bytes)


def gguf(
    pairs: Sequence[tuple[str, bytes]] = (),
    tensors: Sequence[tuple[str, Sequence[int], int]] = (),
    *,
    version: int = 3,
    order: str = "<",
    counts: tuple[int, int] | None = None,
) -> bytes:
    """A GGUF file of these keys (see `value`) and tensors (name, shape, type), without their data."""
    told = counts or (len(tensors), len(pairs))
    parts = [b"GGUF", struct.pack(order + "IQQ", version, *told)]
    for key, packed in pairs:
        parts += [text(key, order), packed]
    for name, shape, kind in tensors:
        dimensions = struct.pack(f"{order}I{len(shape)}QIQ", len(shape), *shape, kind, 0)
        parts += [text(name, order), dimensions]
    return b"".join(parts)


def text(value: str, order: str = "<") -> bytes:
    """A GGUF text without its type."""
    data = value.encode()
    return struct.pack(order + "Q", len(data)) + data


def string(value: str, order: str = "<") -> bytes:
    """A GGUF value that is a text."""
    return struct.pack(order + "I", 8) + text(value, order)


def uint32(value: int, order: str = "<") -> bytes:
    """A GGUF value that is a number."""
    return struct.pack(order + "II", 4, value)


def texts(values: Sequence[str], order: str = "<") -> bytes:
    """A GGUF value that is a list of texts."""
    head = struct.pack(order + "IIQ", 9, 8, len(values))
    return head + b"".join(text(value, order) for value in values)
