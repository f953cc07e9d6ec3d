"""Judges PDF: scripts, programs that are started, and files that a document carries.

What it does is told by names in its objects, which lie in the file or, compressed, in streams of objects.
Those are unpacked within bounds and searched like the file itself: readers of PDF differ in what they read.
Source: ISO 32000-1, 7.3 to 7.5 and 12.6.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan.inspection import Inspection, Place
from moongate.weights.ranged import Held, Ranged

MOST_BYTES: Final = 32 << 20
MOST_STREAMS: Final = 5_000
_MOST_UNPACKED_BYTES = 32 << 20
_STREAM_BYTES = 4 << 20
_DICTIONARY_BYTES = 2048
_MOST_CARRIED = 64
_STARTS = re.compile(rb"/S\s{0,99}/Launch\b|/Launch\s{0,99}<<|/Type\s{0,99}/Action[^>]{0,200}/Launch")
_SCRIPT = re.compile(rb"/(?:JavaScript|JS)\b|/RichMedia\b")
_HEX_NAME = re.compile(rb"#([0-9A-Fa-f]{2})")
_STREAM = re.compile(rb"(?<!end)stream(?:\r\n|\n|\r)")
_FILTER = re.compile(rb"/(FlateDecode|Fl|ASCIIHexDecode|AHx|ASCII85Decode|A85)\b")
_CARRIED = re.compile(rb"/EmbeddedFile\b")
_PICTURE = re.compile(rb"/(?:Image|XRef|FontFile\d?|Length1|ICCBased|Metadata)\b")
# A stream of objects begins with their numbers and places.
_OBJECTS = re.compile(rb"[\s\x00]{0,99}\d{1,10}[\s\x00]{1,99}\d{1,10}\b")


def judge_pdf(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger = inspection.ledger
    ledger.saw("pdf")
    data = content.read(ByteSpan(0, min(content.size_bytes, MOST_BYTES)))
    objects, carried = [data], 0
    for about, unpacked in _streams(data, inspection.may_unpack(_MOST_UNPACKED_BYTES)):
        inspection.unpacked(len(unpacked))
        if _CARRIED.search(about) and carried < _MOST_CARRIED:
            carried += 1
            inspection.look(Held(unpacked), place.inside(f"(attachment {carried})"))
        elif _OBJECTS.match(unpacked):
            objects.append(unpacked)
    text = _plain(b"\n".join(objects))
    if _STARTS.search(text):
        words = "it starts a program when it is opened"
        ledger.add("active-content", words, member=place.member, severity=Severity.HIGH)
    elif _SCRIPT.search(text):
        ledger.add("active-content", "it is a document with a script", member=place.member)
    elif re.search(rb"/Encrypt\b", text) and re.search(rb"/ObjStm\b", text):
        words = "its objects are encrypted"
        ledger.add("archive-encrypted", words, member=place.member)


def _plain(data: bytes) -> bytes:
    """With the letters of names that were written as numbers."""
    if b"#" not in data:
        return data
    return _HEX_NAME.sub(lambda found: bytes((int(found.group(1), 16),)), data)


def _streams(data: bytes, left: int) -> Iterator[tuple[bytes, bytes]]:
    """What is said of each stream that is no picture or font, and what is in it, as far as it unpacks."""
    packed_left = 2 * MOST_BYTES
    for count, found in enumerate(_STREAM.finditer(data)):
        if count >= MOST_STREAMS or left <= 0 or packed_left <= 0:
            return
        about = data[max(0, found.start() - _DICTIONARY_BYTES) : found.start()]
        about = _plain(about[max(0, about.rfind(b"obj")) :])
        if _PICTURE.search(about) and not _CARRIED.search(about):
            continue
        filters = _FILTER.findall(about)
        if not filters and not _CARRIED.search(about):
            continue
        end = data.find(b"endstream", found.end(), found.end() + _STREAM_BYTES)
        raw = data[found.end() : end if end >= 0 else found.end() + _STREAM_BYTES]
        unpacked = _unfiltered(raw, filters, min(left, _STREAM_BYTES))
        left -= len(unpacked)
        packed_left -= len(raw)
        yield about, unpacked


def _unfiltered(data: bytes, filters: list[bytes], max_bytes: int) -> bytes:
    for name in filters[:4]:
        try:
            if name.startswith(b"F"):
                data = zlib.decompressobj().decompress(data.lstrip(b"\r\n"), max_bytes)
            elif name in {b"ASCIIHexDecode", b"AHx"}:
                digits = re.sub(rb"[^0-9A-Fa-f]", b"", data.partition(b">")[0])
                data = bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
            else:
                letters = data.strip().removeprefix(b"<~").partition(b"~")[0]
                data = base64.a85decode(letters, ignorechars=b" \t\n\r\v\f\x00")
        except (zlib.error, ValueError):
            return b""
    return data
