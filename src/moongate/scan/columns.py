"""Judges tables of columns, parquet and Arrow: their schemas, and whether binary values are pickles.

Values are sampled: the first page of each binary column in parquet, the beginning of the file in Arrow. A
reader of tables gives bytes to whoever asked, and they unpickle; a pickle that runs code has no other use.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan.inspection import Inspection, Place
from moongate.scan.ledger import Ledger
from moongate.scan.pickles import probe
from moongate.weights.parquet_pages import first_pages
from moongate.weights.ranged import Held, Part, Ranged
from moongate.weights.unpacking import DECODERS, unpack

MOST_PAGES: Final = 64
_SCHEMA_BYTES = 1 << 20
_ARROW_BYTES = 4 << 20
_MOST_BUFFERS = 200
_BUFFER_BYTES = 256 << 10
_AT = re.compile(r"a pickle at byte \d+ ")
# A compressed buffer of Arrow's: its length unpacked, then a frame.
_BUFFER = re.compile(rb"[\s\S]{5}\x00\x00\x00(?:(\x28\xb5\x2f\xfd)|\x04\x22\x4d\x18)")


def scan_parquet(inspection: Inspection, content: Ranged, place: Place) -> None:
    _judge_schema(inspection, content, place)
    _judge_values(inspection, list(islice(first_pages(content), MOST_PAGES)), place)


def scan_arrow(inspection: Inspection, content: Ranged, place: Place) -> None:
    _judge_schema(inspection, content, place)
    data = content.read(ByteSpan(0, min(content.size_bytes, _ARROW_BYTES)))
    _judge_values(inspection, [data, *islice(_buffers(data), _MOST_BUFFERS)], place)


def _buffers(data: bytes) -> Iterator[bytes]:
    for found in _BUFFER.finditer(data):
        method = "zstd" if found.group(1) else "lz4"
        if found.start() % 8 == 0 and method in DECODERS:
            yield unpack(Part(Held(data), ByteSpan(found.start() + 8, len(data))), method, _BUFFER_BYTES).data


def _judge_values(inspection: Inspection, pieces: Sequence[bytes], place: Place) -> None:
    """Looked through as one, so that what looking may cost is bounded once."""
    trial = Ledger()
    probe(Held(b"\n".join(pieces)), trial, place.member)
    if trial.is_dangerous:
        words = f"one of its values is a pickle that {_AT.sub('', trial.report().findings[0].what)}"
        inspection.ledger.add("pickle-nested", words, member=place.member, severity=Severity.HIGH)


def _judge_schema(inspection: Inspection, content: Ranged, place: Place) -> None:
    """An extension type of Python's in the schema is a pickle that a reader may load."""
    inspection.ledger.saw("columns")
    size = content.size_bytes
    ends = (
        content.read(ByteSpan(0, min(size, _SCHEMA_BYTES))),
        content.read(ByteSpan(max(0, size - _SCHEMA_BYTES), size)),
    )
    for data in ends:
        if b"arrow.py_extension_type" in data or b"arrow.py_extension_type" in _decoded_schemas(data):
            words = "its schema holds a pickled extension type"
            inspection.ledger.add("pickle-nested", words, member=place.member, severity=Severity.HIGH)
            return


def _decoded_schemas(data: bytes) -> bytes:
    """Parquet keeps Arrow's schema in base64."""
    pieces = []
    for found in re.finditer(rb"[A-Za-z0-9+/]{64,}={0,2}", data):
        try:
            pieces.append(base64.b64decode(found.group()[: len(found.group()) // 4 * 4]))
        except (binascii.Error, ValueError):
            continue
    return b"".join(pieces)
