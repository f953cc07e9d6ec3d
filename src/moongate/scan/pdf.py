"""Judges PDF: scripts, programs that are started, and files that a document carries.

What it does is told by names in its objects, which lie in the file or, compressed, in streams of objects.
Those are unpacked within bounds and searched like the file itself: readers of PDF differ in what they read.
What the bounds leave out is told.
Source: ISO 32000-1, 7.3 to 7.5 and 12.6.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan.inspection import Inspection, Place
from moongate.weights.ranged import Held, Ranged

MOST_BYTES: Final = 32 << 20
MOST_STREAMS: Final = 5_000
_MOST_UNPACKED_BYTES = 32 << 20
_STREAM_BYTES = 4 << 20
_HEAD_BYTES = 4096
_LETTERS_COST = 64  # letters of ASCII85 are unpacked by Python
_MOST_HEX_NAMES = 1_000_000
_DICTIONARY_BYTES = 2048
_MOST_CARRIED = 64
_STARTS = re.compile(rb"/S\s{0,99}/Launch\b|/Launch\s{0,99}<<|/Type\s{0,99}/Action[^>]{0,200}/Launch")
_SCRIPT = re.compile(rb"/(?:JavaScript|JS)\b|/RichMedia\b")
_HEX_NAME = re.compile(rb"#([0-9A-Fa-f]{2})")
_STREAM = re.compile(rb"(?<!end)stream(?:\r\n|\n|\r)")
_FILTER = re.compile(rb"/(FlateDecode|Fl|ASCIIHexDecode|AHx|ASCII85Decode|A85)\b")
_LETTERS = frozenset((b"ASCII85Decode", b"A85"))
_CARRIED = re.compile(rb"/EmbeddedFile\b")
_PICTURE = re.compile(rb"/(?:Image|XRef|FontFile\d?|Length1|ICCBased|Metadata)\b")
_BYTES = [bytes((number,)) for number in range(256)]
# A stream of objects begins with their numbers and places.
_OBJECTS = re.compile(rb"[\s\x00]{0,99}\d{1,10}[\s\x00]{1,99}\d{1,10}\b")


def judge_pdf(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger = inspection.ledger
    ledger.saw("pdf")
    data = content.read(ByteSpan(0, min(content.size_bytes, MOST_BYTES)))
    objects, carried = [data], 0
    left_out = f"what follows its first {MOST_BYTES} bytes" if content.size_bytes > MOST_BYTES else ""
    for stream in _streams(data, inspection.may_unpack(_MOST_UNPACKED_BYTES)):
        inspection.unpacked(len(stream.unpacked))
        left_out = left_out or stream.left_out
        if stream.is_carried and carried < _MOST_CARRIED:
            carried += 1
            inspection.look(Held(stream.unpacked), place.inside(f"(attachment {carried})"))
        elif stream.is_carried:
            left_out = f"more than {_MOST_CARRIED} attachments"
        else:
            objects.append(stream.unpacked)
    text, is_all = _plain(b"\n".join(objects))
    left_out = left_out or ("" if is_all else "names that are written as numbers")
    if _STARTS.search(text):
        words = "it starts a program when it is opened"
        ledger.add("active-content", words, member=place.member, severity=Severity.HIGH)
    elif _SCRIPT.search(text):
        ledger.add("active-content", "it is a document with a script", member=place.member)
    elif re.search(rb"/Encrypt\b", text) and re.search(rb"/ObjStm\b", text):
        words = "its objects are encrypted"
        ledger.add("archive-encrypted", words, member=place.member)
    if left_out:
        ledger.add("too-large", f"not looked at: {left_out}", member=place.member)


class _Stream(NamedTuple):
    """left_out: what of it, or of those behind it, was not unpacked."""

    unpacked: bytes
    is_carried: bool
    left_out: str = ""


def _plain(data: bytes) -> tuple[bytes, bool]:
    """With the letters of names that were written as numbers, and whether those are all of them."""
    if b"#" not in data:
        return data, True
    text, count = _HEX_NAME.subn(lambda found: _BYTES[int(found.group(1), 16)], data, count=_MOST_HEX_NAMES)
    return text, count < _MOST_HEX_NAMES


def _streams(data: bytes, left: int) -> Iterator[_Stream]:
    """The streams that are files, or may be of objects, as far as they unpack."""
    packed_left = 2 * MOST_BYTES
    for count, found in enumerate(_STREAM.finditer(data)):
        if count >= MOST_STREAMS or left <= 0 or packed_left <= 0:
            yield _Stream(b"", is_carried=False, left_out="more streams than we unpack")
            return
        about = data[max(0, found.start() - _DICTIONARY_BYTES) : found.start()]
        about, _ = _plain(about[max(0, about.rfind(b"obj")) :])
        filters, is_carried = _FILTER.findall(about), _CARRIED.search(about) is not None
        if not is_carried and (_PICTURE.search(about) or not filters):
            continue
        cost = _LETTERS_COST if _LETTERS & set(filters) else 1
        most = found.end() + min(_STREAM_BYTES, packed_left // cost)
        end = data.find(b"endstream", found.end(), most)
        raw = data[found.end() : end if end >= 0 else most]
        packed_left -= max(1, len(raw)) * cost
        if not is_carried and not _OBJECTS.match(_unfiltered(raw[:_HEAD_BYTES], filters, _HEAD_BYTES)):
            if end < 0 and packed_left <= 0:  # perhaps only because so little of it was looked at
                yield _Stream(b"", is_carried=False, left_out="the end of a long stream")
            continue
        unpacked = _unfiltered(raw, filters, min(left, _STREAM_BYTES))
        left -= len(unpacked)
        is_cut = end < 0 or len(unpacked) >= _STREAM_BYTES or left <= 0
        yield _Stream(unpacked, is_carried, "the end of a long stream" if is_cut else "")


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
