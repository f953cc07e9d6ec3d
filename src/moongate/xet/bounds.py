"""How long a chunk may be, but for the last one of a file, which may be shorter."""

from __future__ import annotations

from typing import Final

MIN_CHUNK_BYTES: Final = 8 << 10
MAX_CHUNK_BYTES: Final = 128 << 10
