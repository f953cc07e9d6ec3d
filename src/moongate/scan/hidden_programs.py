"""Finds programs for the machine inside other data: behind an image, among weights, as bytes of a pickle.

A mark of two or four bytes stands in any large file by chance, so the fields behind it must fit as well.
What devices run (the code of a GPU inside a compiled model) is no program for the machine.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged

HEAD_BYTES: Final = 1 << 10
"""How much of a program's beginning has to be there to be known."""

_STEP_BYTES = 8 << 20
_MARKS = re.compile(rb"\x7fELF[\x01\x02][\x01\x02]\x01|MZ")
# i386, PowerPC, S390, ARM, SPARC V9, x86-64, AArch64, RISC-V; and what COFF calls those that Windows runs on.
_ELF_MACHINES = frozenset((3, 20, 21, 22, 40, 43, 62, 183, 243))
_PE_MACHINES = frozenset((0x014C, 0x01C0, 0x01C4, 0x8664, 0xAA64))


def programs_in(content: Ranged, most_bytes: int) -> Iterator[tuple[str, int]]:
    """What kind of program and where; in the first `most_bytes` of content."""
    at, end = 0, min(content.size_bytes, most_bytes)
    while at < end:
        data = content.read(ByteSpan(at, min(content.size_bytes, at + _STEP_BYTES + HEAD_BYTES)))
        for found in _MARKS.finditer(data, 0, min(len(data), _STEP_BYTES)):
            if kind := kind_of(data[found.start() : found.start() + HEAD_BYTES]):
                yield kind, at + found.start()
        at += _STEP_BYTES


def kind_of(head: bytes) -> str | None:
    """What a program that begins so is made for; None where it is none."""
    if head.startswith(b"\x7fELF") and len(head) >= 24:
        kind, machine, version = struct.unpack_from("<HHI" if head[5] == 1 else ">HHI", head, 16)
        return "Linux" if 1 <= kind <= 4 and machine in _ELF_MACHINES and version == 1 else None
    if head.startswith(b"MZ") and len(head) >= 64:
        place = struct.unpack_from("<I", head, 60)[0]
        if head[place : place + 4] == b"PE\x00\x00" and place + 6 <= len(head):
            return "Windows" if struct.unpack_from("<H", head, place + 4)[0] in _PE_MACHINES else None
    return None
