"""A family of models as files: a base, fine-tunes of it, and a quantised one. The same bytes in every run.

Content is noise, which no compression makes smaller: what travels and what is kept is what the chunks are.
The files are safetensors, as weights are: whatever else bears that name is searched for what it may hide.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.plan import MIB

CHANGED_SHARE = 0.05
"""What a fine-tune changes of the base, in place."""

STRETCH_EVERY_BYTES = 32 * MIB
"""A fine-tune changes one stretch, as long as a tensor may be, in each of these."""

QUANTISED_SHARE = 0.25
"""The size of the quantised file; a tenth of it is the base's own bytes, as norms and embeddings stay."""

_KEPT_SHARE = 0.1
_BLOCK_BYTES = 4 * MIB
_HEADER_BYTES = 256


@dataclass(frozen=True, slots=True)
class Made:
    """A file that was made."""

    at: Path
    sha256: str
    size_bytes: int


def make_base(folder: Path, size_bytes: int, seed: int) -> Made:
    """Noise of this size."""
    chance = np.random.default_rng(seed)
    pieces = (chance.bytes(min(_BLOCK_BYTES, size_bytes - at)) for at in range(0, size_bytes, _BLOCK_BYTES))
    return _written(folder, _safetensors("U8", 1, size_bytes), pieces)


def make_weights(folder: Path, size_bytes: int, seed: int) -> Made:
    """float32 numbers as weights are, which Xet stores some percent smaller."""
    chance = np.random.default_rng(seed)
    lengths = (min(_BLOCK_BYTES, size_bytes - at) for at in range(0, size_bytes, _BLOCK_BYTES))
    pieces = (chance.normal(0.0, 0.02, length // 4).astype("<f4").tobytes() for length in lengths)
    return _written(folder, _safetensors("F32", 4, size_bytes), pieces)


def make_fine_tune(folder: Path, base: Made, number: int) -> tuple[Made, int]:
    """The base with stretches of other bytes, elsewhere for every number; and how many bytes those are."""
    data = np.fromfile(base.at, np.uint8)
    chance = np.random.default_rng([number, base.size_bytes])
    stretches = max(1, base.size_bytes // STRETCH_EVERY_BYTES)
    length = int(base.size_bytes * CHANGED_SHARE) // stretches
    part = base.size_bytes // stretches
    for first in range(0, stretches * part, part):
        start = first + int(chance.integers(_HEADER_BYTES, part - length))
        data[start : start + length] = np.frombuffer(chance.bytes(length), np.uint8)
    header = data[:_HEADER_BYTES].tobytes()
    return _written(folder, header, [data.data]), stretches * length


def make_quantised(folder: Path, base: Made) -> Made:
    """A file of a quarter of the base's size: new bytes, and a tenth of them from the base's beginning."""
    size_bytes = int(base.size_bytes * QUANTISED_SHARE)
    kept = np.fromfile(base.at, np.uint8, int(size_bytes * _KEPT_SHARE))
    noise = np.random.default_rng([base.size_bytes]).bytes(size_bytes - kept.size)
    return _written(folder, _safetensors("U8", 1, size_bytes), [kept.data, noise])


def _safetensors(dtype: str, item_bytes: int, size_bytes: int) -> bytes:
    """The beginning of a file of this size that holds one tensor."""
    data_bytes = size_bytes - _HEADER_BYTES
    tensor = {"dtype": dtype, "shape": [data_bytes // item_bytes], "data_offsets": [0, data_bytes]}
    text = json.dumps({"weight": tensor}).encode().ljust(_HEADER_BYTES - 8)
    return len(text).to_bytes(8, "little") + text


def _written(folder: Path, header: bytes, pieces: Iterable[bytes | memoryview]) -> Made:
    """The pieces in a file, but for its beginning, which is the header's."""
    making, digest, size_bytes = folder / "making", hashlib.sha256(), 0
    with making.open("wb") as stream:
        left = header
        for given in pieces:
            piece, left = (left + bytes(given[len(left) :]), b"") if left else (given, b"")
            digest.update(piece)
            stream.write(piece)
            size_bytes += len(piece)
    sha256 = digest.hexdigest()
    return Made(making.rename(folder / sha256), sha256, size_bytes)
