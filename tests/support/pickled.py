"""Pickles written by hand, operation by operation, with harmless arguments; nothing here is ever loaded."""

from __future__ import annotations

import io
import zipfile


def text(words: str) -> bytes:
    """SHORT_BINUNICODE."""
    raw = words.encode()
    return b"\x8c" + bytes((len(raw),)) + raw


def calls(module: str, name: str, protocol: int = 4) -> bytes:
    """A stream that calls module.name('true')."""
    if protocol < 4:
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X\x04\x00\x00\x00true\x85R."
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text("true") + b"\x85R."


EVIL = calls("posix", "system")


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()
