"""How far a first look goes, and what it leaves alone: for who asks for one, without what looks.

A gateway never loads the scanners: they are for the process that may do nothing else.
"""

from __future__ import annotations

from typing import Final

MOST_BYTES: Final = 768 << 10
INERT: Final = frozenset({"safetensors", "gguf", "image", "video", "media", "parquet", "arrow"})
"""Formats that run nothing while they are read: they flow before anybody looked."""
