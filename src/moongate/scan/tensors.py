"""Judges files of plain tensors by their headers: safetensors, GGUF and numpy.

They cannot run code as long as they are what they claim; what contradicts itself is made to break a reader.
"""

from __future__ import annotations

import ast
import json
import re
from math import prod
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan import templates
from moongate.scan.inspection import Inspection, Place
from moongate.scan.pickles import judge_pickles
from moongate.scan.spelt_pickles import judge_spelt_pickles
from moongate.weights.gguf import read_gguf
from moongate.weights.ranged import Part, Ranged
from moongate.weights.reading import BadHeader, facts_of
from moongate.weights.safetensors import read_safetensors

MAX_NUMPY_HEADER_BYTES: Final = 64 << 10
_PADDING_BYTES = 64
CODE: Final = re.compile(
    r"\b(?:import\s+(?:os|sys|subprocess|socket|pickle|ctypes|base64|requests)\b|from\s+(?:os|subprocess)\s+import|"
    r"os\.(?:system|popen)|subprocess\.|(?:eval|exec)\s*\(\s*(?:compile|input|open|base64|bytes|requests|['\"]|__)|__import__|base64\.b64decode|pickle\.loads|"
    r"(?:curl|wget)\s+\S*https?://|rm\s+-rf|/bin/(?:ba)?sh|powershell|nc\s+-e|<script|javascript:)",
    re.IGNORECASE,
)


_MAX_ARRAY_BYTES = 1 << 60
_MOST_ARRAYS = 10_000
_LONG = re.compile(r"(?<=[(, ])(\d{1,20})L(?=[,)])")
_DTYPE = re.compile(r"[<>|=]?([?bBiufcmMSaUV])(\d{1,9})(?:\[\w+\])?\Z")
# Old readers of numpy evaluated the header.
_CALLS = re.compile(rb"([A-Za-z_][\w.]*)\s*\(")


def scan_safetensors(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger = inspection.ledger
    ledger.saw("safetensors")
    seen: list[bytes] = []

    def read(span: ByteSpan) -> bytes:
        seen.append(content.read(span))
        return seen[-1]

    try:
        facts = facts_of(read_safetensors(content.size_bytes), read)
    except BadHeader as bad:
        ledger.add("header-lies", bad.message, member=place.member)
        return
    prefix, header = seen  # what is long is read once
    length = int.from_bytes(prefix, "little")
    if not header.startswith(b"{"):
        ledger.add("header-lies", "the header does not begin with a brace", member=place.member)
    _judge_layout(inspection, header, content.size_bytes - 8 - length, place)
    for key, value in facts.metadata.items():
        judge_note(inspection, key, value, place)


def judge_note(inspection: Inspection, key: str, value: str, place: Place) -> None:
    """A text of a header that no loader runs."""
    judge_spelt_pickles(value, inspection.ledger, place.member)
    found = CODE.search(value) or CODE.search(key)
    if found:
        words = f"the note {key[:60]!r} holds {found.group()[:60]!r}"
        inspection.ledger.add("header-code", words, member=place.member)


def _judge_layout(inspection: Inspection, header: bytes, data_bytes: int, place: Place) -> None:
    """No key twice, no holes, nothing behind the last tensor."""
    doubles: list[str] = []

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        seen: dict[str, object] = {}
        for key, value in pairs:
            if key in seen:
                doubles.append(key)
            seen[key] = value
        return seen

    try:
        told = json.loads(header, object_pairs_hook=once)
    except (ValueError, RecursionError):
        inspection.ledger.add("header-lies", "readers of JSON disagree about the header", member=place.member)
        return
    if doubles:
        words = f"the header names {doubles[0][:80]!r} twice"
        inspection.ledger.add("header-lies", words, member=place.member)
    notes = told.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in notes.values()):
        inspection.ledger.add("header-lies", "a note of the header is no text", member=place.member)
    reached = 0
    for start, end in sorted(tensor["data_offsets"] for tensor in told.values()):
        if start > reached:
            inspection.ledger.add("header-lies", f"no tensor claims byte {reached}", member=place.member)
        reached = max(reached, end)
    if reached != data_bytes:
        words = f"{data_bytes - reached} bytes stand behind the last tensor"
        inspection.ledger.add("header-lies", words, member=place.member)


def scan_gguf(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger = inspection.ledger
    ledger.saw("gguf")
    try:
        facts = facts_of(read_gguf(content.size_bytes), content.read)
    except BadHeader as bad:
        ledger.add("header-lies", bad.message, member=place.member)
        return
    for oddity in facts.oddities:
        ledger.add("header-lies", oddity, member=place.member)
    for key in facts.skipped:
        if "template" in key:
            ledger.add("too-large", f"the template {key[:60]!r} is absurdly long", member=place.member)
    if facts.reach is not None and facts.reach > content.size_bytes:
        words = f"its tensors reach to byte {facts.reach} of {content.size_bytes}"
        ledger.add("header-lies", words, member=place.member)
    _judge_gguf_tail(inspection, content, facts.reach, place)
    for key, value in facts.texts.items():
        if "template" in key or templates.looks_like_template(value):
            templates.judge_template(value, ledger, place.member, f"the template {key[:60]!r}")
        elif value.startswith(("file:", "/", "../")):
            words = f"the note {key[:60]!r} points to {value[:80]!r}"
            ledger.add("header-code", words, member=place.member)
        else:
            judge_note(inspection, key, value, place)


def _judge_gguf_tail(inspection: Inspection, content: Ranged, reach: int | None, place: Place) -> None:
    """What stands behind the last tensor, its padding apart, is looked at as what it is."""
    if reach is not None and content.size_bytes - reach > _PADDING_BYTES:
        tail = Part(content, ByteSpan(reach, content.size_bytes))
        inspection.look(tail, place.inside("(behind the tensors)"))


def scan_numpy(inspection: Inspection, content: Ranged, place: Place) -> None:
    """A `.npy` file: a header in Python's notation, then numbers, or a pickle of objects; and once more."""
    inspection.ledger.saw("numpy")
    at = 0
    for _ in range(_MOST_ARRAYS):
        behind = _scan_array(inspection, Part(content, ByteSpan(at, content.size_bytes)), place)
        if behind is None:
            return
        at += behind
    inspection.ledger.add("too-large", "more arrays than we look at", member=place.member)


def _scan_array(inspection: Inspection, content: Ranged, place: Place) -> int | None:
    """One array; where the next one begins, if there is one."""
    ledger = inspection.ledger
    start = content.read(ByteSpan(0, 12))
    wide = start[6:7] != b"\x01"
    length = int.from_bytes(start[8:12] if wide else start[8:10], "little")
    data_at = (12 if wide else 10) + length
    if data_at > content.size_bytes:
        ledger.add("header-lies", "the header is longer than the file", member=place.member)
        return None
    if length > MAX_NUMPY_HEADER_BYTES:
        words = f"the header takes {length} bytes and is read as Python's notation"
        ledger.add("header-code", words, member=place.member)
    header = content.read(ByteSpan(data_at - length, min(data_at, data_at - length + MAX_NUMPY_HEADER_BYTES)))
    if (found := _CALLS.search(header)) is not None:
        words = f"the header calls {found.group(1).decode('latin-1')[:60]}"
        ledger.add("header-code", words, member=place.member, severity=Severity.HIGH)
    told = _told(header)
    descr = told.get("descr")
    if descr is None or _names_objects(descr):
        part = Part(content, ByteSpan(data_at, content.size_bytes))
        judge_pickles(part, ledger, place.member, sure=True, inner=inspection.loaded(place))
        return None
    return _behind(inspection, content, data_at, told, place)


def _told(header: bytes) -> dict[str, object]:
    """What a header says; nothing where it cannot be read."""
    try:
        # Python 2 wrote its long numbers with a letter.
        told = ast.literal_eval(_LONG.sub(r"\1", header.decode("latin-1").strip()))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {}
    return told if isinstance(told, dict) else {}


def _behind(
    inspection: Inspection, content: Ranged, data_at: int, told: dict[str, object], place: Place
) -> int | None:
    """Whether there are as many bytes as the shape says; what stands behind them is looked at.

    Arrays may be saved one after the other into one file: where the next one begins is given back.
    """
    shape, item_bytes = told.get("shape"), _item_bytes(told.get("descr"))
    length = -1
    if isinstance(shape, tuple) and all(type(one) is int and one >= 0 for one in shape):
        length = prod(shape) * max(item_bytes or 0, 1)
    if not 0 <= length <= _MAX_ARRAY_BYTES:
        inspection.ledger.add("header-lies", "the array has no sensible shape", member=place.member)
        return None
    end = data_at + length
    if item_bytes is None:
        return None
    if end > content.size_bytes:
        words = f"the array claims {length} bytes, {content.size_bytes - data_at} are there"
        inspection.ledger.add("header-lies", words, member=place.member, severity=Severity.MEDIUM)
    if end >= content.size_bytes:
        return None
    if content.read(ByteSpan(end, end + 6)) == b"\x93NUMPY":
        return end
    inspection.look(Part(content, ByteSpan(end, content.size_bytes)), place.inside("(behind the array)"))
    return None


def _item_bytes(descr: object) -> int | None:
    """How many bytes one value takes; None where that cannot be told."""
    if isinstance(descr, str):
        found = _DTYPE.match(descr)
        return int(found.group(2)) * (4 if found.group(1) == "U" else 1) if found else None
    if not isinstance(descr, list):
        return None
    total = 0
    for part in descr:
        size = _item_bytes(part[1]) if isinstance(part, tuple) and len(part) in {2, 3} else None
        times = part[2] if size is not None and len(part) == 3 else ()
        times = (times,) if isinstance(times, int) else times
        if size is None or not isinstance(times, tuple) or not all(type(one) is int for one in times):
            return None
        total += size * prod(times)
    return total


def _names_objects(descr: object) -> bool:
    if isinstance(descr, str):
        return "O" in descr.lstrip("|<>=")[:1] or descr.lstrip("|<>=")[:1] not in set("?bBiufcmMOSaUV")
    if isinstance(descr, list | tuple):
        return any(_names_objects(part[1] if isinstance(part, tuple) else part) for part in descr if part)
    return True
