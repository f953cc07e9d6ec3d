"""The header of a GGUF file: typed key-value pairs, then a line for every tensor.

Of a tokenizer's hundred thousand words only the lengths are looked at; arrays of numbers and long texts are
stepped over without being asked for. Versions 2 and 3, either byte order.
Source: the GGUF format.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.reading import BadHeader, Reader

MAX_ASKED_BYTES: Final = 64 << 20
"""What a reader asks for in all. The longest tokenizers that are in use take less than half."""

_WINDOW_BYTES = 1 << 20
_MAX_ASKS = 512
_MAX_PAIRS = 1 << 16
_MAX_TENSORS = 1 << 16
_MAX_TEXTS = 1 << 21
_MAX_ARRAYS = 1 << 12
_MAX_KEY_BYTES = 1 << 16
_MAX_KEPT_BYTES = 256 << 10
_MAX_DEPTH = 4
_MAX_DIMENSIONS = 8
_USUAL_DIMENSIONS = 4
"""What ggml takes."""
_LAST_TYPE = 127
_MAX_ODDITIES = 20
_MAX_COUNT = 1 << 60

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_WHOLE = frozenset("BbHhIiQq")

# What `general.file_type` means, and what a tensor's type is called; both by llama.cpp.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
_TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
    27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip
# How many values a block of each type holds, and how many bytes it takes; by ggml.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
_TEMPLATE = b"tokenizer.chat_template"
_MAX_NOTE_BYTES = 8 << 10
_MAX_KEPT = 1024
_ALIGNMENT = b"general.alignment"
_KEPT_NUMBERS = frozenset((b"general.file_type", b"split.count", b"general.alignment"))

_Walk = Generator[ByteSpan, bytes, None]


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What a GGUF file says of its model; None where it does not say.

    total: its parameters, counted from the shapes of the tensors that this file holds.
    texts: what it says in words, by key; long texts are left out, except templates.
    skipped: the keys of those that were left out.
    reach: where the last tensor of a known type ends in the file; None where there are no tensors.
    oddities: what no writer does and readers disagree about or refuse, in words.
    """

    total: int
    architecture: str | None = None
    context_length: int | None = None
    quantization: str | None = None
    chat_template: str | None = None
    split_count: int = 1
    skipped: tuple[str, ...] = ()
    reach: int | None = None
    oddities: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


def read_gguf(size_bytes: int) -> Reader[GgufFacts]:
    """The facts of a GGUF file of that size; see `reading`.

    Raises:
        BadHeader: it is no GGUF file, or its header contradicts itself, the file's size or our bounds.
    """
    window = _Window(size_bytes)
    yield from window.have(24)
    if window.take(4) != b"GGUF":
        raise BadHeader("not a GGUF file")
    version = window.number("I")
    if version & 0xFFFF == 0:
        window.order, version = ">", int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in (2, 3):
        raise BadHeader("a GGUF version that is not known here")
    tensors, pairs = window.number("Q"), window.number("Q")
    if tensors > _MAX_TENSORS or pairs > _MAX_PAIRS:
        raise BadHeader("the GGUF header claims absurdly many entries")
    kept: dict[bytes, object] = {}
    for _ in range(pairs):
        yield from _pair(window, kept)
    counts: Counter[int] = Counter()
    places: list[tuple[int, int]] = []
    for _ in range(tensors):
        place = yield from _tensor(window, counts)
        places.append(place)
    step = _alignment(kept.get(_ALIGNMENT))
    reach = -(-window.at // step) * step + max(end for _, end in places) if places else None
    _judge_places(window, places, step, kept.get(_ALIGNMENT))
    return _facts(kept, counts, window, reach)


def _alignment(told: object) -> int:
    return told if isinstance(told, int) and 0 < told <= 1 << 20 else 32


def _judge_places(window: _Window, places: list[tuple[int, int]], step: int, told: object) -> None:
    if told is not None and (told != step or step & (step - 1)):
        window.odd(f"its alignment is {told}")
    if any(start % step for start, _ in places):
        window.odd("a tensor is not aligned")
    reached = 0
    for start, end in sorted(place for place in places if place[0] < place[1]):
        if start < reached:
            window.odd("tensors overlap")
            return
        reached = end


class _Window:
    """The bytes from where the walk stands, as many as were asked for; what lies behind is let go."""

    def __init__(self, size_bytes: int) -> None:
        self.order = "<"
        self.skipped: list[str] = []
        self.oddities: dict[str, None] = {}
        self.keys: set[bytes] = set()
        self.names: set[bytes] = set()
        self._size_bytes = size_bytes
        self._data = b""
        self._base = 0
        self._at = 0
        self._asked_bytes = 0
        self._asks = 0
        self._texts = 0
        self._arrays = 0

    @property
    def at(self) -> int:
        return self._base + self._at

    def have(self, length: int) -> _Walk:
        """Makes the next `length` bytes ready to be taken."""
        missing = length - (len(self._data) - self._at)
        if missing <= 0:
            return
        start = self._base + len(self._data)
        end = min(self._size_bytes, start + max(missing, _WINDOW_BYTES))
        self._asks += 1
        self._asked_bytes += end - start
        if start + missing > end:
            raise BadHeader("the GGUF header is longer than the file")
        if self._asks > _MAX_ASKS or self._asked_bytes > MAX_ASKED_BYTES + _WINDOW_BYTES:
            raise BadHeader("the GGUF header is absurdly long")
        self._data, self._base, self._at = self._data[self._at :], self._base + self._at, 0
        more = yield ByteSpan(start, end)
        if len(more) != end - start:
            raise BadHeader("the GGUF header is cut off")
        self._data += more

    def take(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self, code: str) -> int:
        """The whole number that stands here, by its letter in `struct`."""
        form = struct.Struct(self.order + code)
        value: int = form.unpack(self.take(form.size))[0]
        return value

    def skip(self, length: int) -> None:
        """Steps over bytes, which need not be here."""
        position = self._base + self._at + length
        if position > self._size_bytes:
            raise BadHeader("the GGUF header is longer than the file")
        if position <= self._base + len(self._data):
            self._at += length
        else:
            self._data, self._base, self._at = b"", position, 0

    def odd(self, words: str) -> None:
        self.oddities.setdefault(words)

    def once(self, seen: set[bytes], name: bytes, what: str) -> None:
        """Notes a name; that it was there before is odd."""
        if name in seen:
            self.odd(f"{what} {name[:80].decode('utf-8', 'replace')!r} is there twice")
        seen.add(name)

    def count_texts(self, count: int) -> None:
        self._texts += count
        if self._texts > _MAX_TEXTS:
            raise BadHeader("the GGUF header holds absurdly many texts")

    def count_arrays(self, count: int) -> None:
        self._arrays += count
        if self._arrays > _MAX_ARRAYS:
            raise BadHeader("the GGUF header holds absurdly many arrays")

    def texts_here(self, count: int) -> int:
        """Steps over up to `count` texts that lie wholly in what is here; how many those were."""
        data, at, end = self._data, self._at, len(self._data)
        read = struct.Struct(self.order + "Q").unpack_from
        done = 0
        while done < count and at + 8 <= end:
            after = at + 8 + read(data, at)[0]
            if after > end:
                break
            at, done = after, done + 1
        self._at = at
        return done


def _pair(window: _Window, kept: dict[bytes, object]) -> _Walk:
    yield from window.have(8)
    length = window.number("Q")
    if length > _MAX_KEY_BYTES:
        raise BadHeader("a GGUF key is absurdly long")
    yield from window.have(length + 4)
    key, kind = window.take(length), window.number("I")
    window.once(window.keys, key, "the key")
    if kind == _STRING:
        yield from _text(window, key, kept)
    elif kind == _ARRAY and b"template" in key:
        yield from _templates(window, key, kept)
    elif kind == _ARRAY:
        yield from _array(window, _MAX_DEPTH)
    else:
        code = _scalar(kind)
        if code in _WHOLE and (key in _KEPT_NUMBERS or key.endswith(b".context_length")):
            yield from window.have(_bytes_of(code))
            kept[key] = window.number(code)
        else:
            window.skip(_bytes_of(code))


def _text(window: _Window, key: bytes, kept: dict[bytes, object]) -> _Walk:
    yield from window.have(8)
    length = window.number("Q")
    is_template = b"template" in key
    if length <= (_MAX_KEPT_BYTES if is_template else _MAX_NOTE_BYTES) and len(kept) < _MAX_KEPT:
        yield from window.have(length)
        kept[key] = window.take(length).decode("utf-8", "replace")
    else:
        window.skipped.append(key[:128].decode("utf-8", "replace"))
        window.skip(length)


def _templates(window: _Window, key: bytes, kept: dict[bytes, object]) -> _Walk:
    """An array of texts that are templates: each is kept as if it had a key of its own."""
    yield from window.have(12)
    kind, count = window.number("I"), window.number("Q")
    if kind != _STRING or count > _MAX_KEPT:
        raise BadHeader("an array of templates holds something else")
    for place in range(count):
        yield from _text(window, _TEMPLATE + b"." + key[:64] + b"." + str(place).encode(), kept)


def _array(window: _Window, depth: int) -> _Walk:
    if depth == 0:
        raise BadHeader("the GGUF header is nested absurdly deep")
    yield from window.have(12)
    kind, count = window.number("I"), window.number("Q")
    if kind == _STRING:
        window.count_texts(count)
        while (count := count - window.texts_here(count)) > 0:
            yield from window.have(8)
            window.skip(window.number("Q"))
            count -= 1
    elif kind == _ARRAY:
        window.count_arrays(count)
        for _ in range(count):
            yield from _array(window, depth - 1)
    else:
        window.skip(count * _bytes_of(_scalar(kind)))


def _tensor(window: _Window, counts: Counter[int]) -> Generator[ByteSpan, bytes, tuple[int, int]]:
    """Where the tensor's data begins and ends, counted from where all data begins."""
    yield from window.have(8)
    length = window.number("Q")
    if length > _MAX_KEY_BYTES:
        raise BadHeader("a tensor's name is absurdly long")
    yield from window.have(length + 4)
    window.once(window.names, window.take(length), "the tensor")
    dimensions = window.number("I")
    if dimensions > _MAX_DIMENSIONS:
        raise BadHeader("a tensor has absurdly many dimensions")
    yield from window.have(8 * dimensions + 12)
    if dimensions > _USUAL_DIMENSIONS:
        window.odd(f"a tensor has {dimensions} dimensions")
    shape = [window.number("Q") for _ in range(dimensions)]
    count = prod(shape)
    if max(shape, default=0) > _MAX_COUNT or count > _MAX_COUNT:
        raise BadHeader("a tensor is absurdly large")
    kind = window.number("I")
    counts[kind] += count
    if kind > _LAST_TYPE:
        window.odd(f"a tensor is of type {kind}")
    block, length = _BLOCKS.get(kind, (1, 0))
    if shape and shape[0] % block:
        window.odd("a tensor's rows are no whole number of blocks")
    start = window.number("Q")
    return start, start + -(-count // block) * length


def _scalar(kind: int) -> str:
    code = _SCALARS.get(kind)
    if code is None:
        raise BadHeader("the GGUF header holds a value of an unknown type")
    return code


def _bytes_of(code: str) -> int:
    return struct.calcsize("=" + code)


def _facts(kept: dict[bytes, object], counts: Counter[int], window: _Window, reach: int | None) -> GgufFacts:
    architecture = kept.get(b"general.architecture")
    template = kept.get(b"tokenizer.chat_template")
    name = architecture if isinstance(architecture, str) and len(architecture) <= 64 else None
    context = kept.get(f"{name}.context_length".encode()) if name else None
    split = kept.get(b"split.count")
    return GgufFacts(
        total=sum(counts.values()),
        architecture=name,
        context_length=context if isinstance(context, int) and context > 0 else None,
        quantization=_quantization(kept.get(b"general.file_type"), counts),
        chat_template=template if isinstance(template, str) else None,
        split_count=split if isinstance(split, int) and split > 1 else 1,
        skipped=tuple(window.skipped[:_MAX_KEPT]),
        reach=reach,
        oddities=tuple(window.oddities)[:_MAX_ODDITIES],
        texts={key.decode("utf-8", "replace"): text for key, text in kept.items() if isinstance(text, str)},
    )


def _quantization(file_type: object, counts: Counter[int]) -> str | None:
    """By the file's own word, or else by the type that most of its parameters have."""
    if isinstance(file_type, int) and file_type in _FILE_TYPES:
        return _FILE_TYPES[file_type]
    most = counts.most_common(1)
    return _TENSOR_TYPES.get(most[0][0]) if most else None
