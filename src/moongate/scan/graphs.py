"""Judges graphs of operations: ONNX models, TensorFlow SavedModels and frozen graphs.

Their operations are arithmetic, as a rule. A few read and write files, call Python or need a library of
their own; and ONNX may point at files outside itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan.archives import leaves
from moongate.scan.inspection import Inspection, Place
from moongate.scan.keras import judge_embedded
from moongate.weights.protobuf import BadMessage, fields
from moongate.weights.ranged import Ranged

MAX_FIELDS: Final = 3_000_000
_MAX_TEXT = 4096
_BUSY_OPS = re.compile(
    r"PyFunc|^ReadFile|^WriteFile|MatchingFiles|^Reader(?:Read|Restore)|WholeFileReader|TextLine|FixedLengthRecord|"
    r"TFRecord|Sql|Snapshot|SaveDataset|LoadDataset|DataService|SummaryFileWriter|SummaryDbWriter|ImmutableConst|Rpc|"
    r"^Debug(?:Identity|Nan|Numeric)|^PrintV2|^Print$|FileSystem|^IO>|Shell|Command|Execute|LoadLibrary|Kafka|"
    r"HostLibrary|ReadVariableXla|LMDB|Fact\Z|^Gcs|BigQuery|BigTable|Ignite|LoadAndRemap|^Azure|Mongo|Http|^S3"
)
_DOMAINS = frozenset(
    ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training",
     "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "com.microsoft.mlfeaturizers",
     "com.microsoft.experimental", "org.pytorch.aten", "pkg.onnxscript.torch_lib",
     "pkg.onnxscript.torch_lib.common", "pkg.torch",
     "com.microsoft.extensions")
)  # fmt: skip
_PYTHON_OP = re.compile(r"(?i)py(?:thon)?_?(?:op|func|call|custom)|python|script|lambda|shell|exec|system")


def _text(content: Ranged, span: ByteSpan) -> str:
    return content.read(ByteSpan(span.start, min(span.end, span.start + _MAX_TEXT))).decode(
        "utf-8", "replace"
    )


def _within(content: Ranged, spans: Sequence[ByteSpan], number: int) -> list[ByteSpan]:
    """The length-delimited fields of that number in any of the messages."""
    return [
        field.span
        for span in spans
        for field in fields(content, span)
        if field.number == number and field.span
    ]


def scan_graph(inspection: Inspection, content: Ranged, place: Place) -> bool:
    """Whether content is one of these graphs; if so, it has been judged."""
    head = content.read(ByteSpan(0, 2))
    if not head or head[0] not in {0x08, 0x0A, 0x12, 0x3A}:
        return False
    whole = ByteSpan(0, content.size_bytes)
    try:
        numbers: dict[int, list[ByteSpan]] = {}
        for count, field in enumerate(fields(content, whole)):
            numbers.setdefault(field.number, []).append(field.span or ByteSpan(0, 0))
            if count > MAX_FIELDS:
                return False
        if max(numbers) > 30:
            return False
        if 7 in numbers and set(numbers) <= {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}:
            return _scan_onnx(inspection, content, place, numbers)
        return _scan_tensorflow(inspection, content, place, numbers)
    except (BadMessage, ValueError):
        return False


def _scan_tensorflow(
    inspection: Inspection, content: Ranged, place: Place, numbers: dict[int, list[ByteSpan]]
) -> bool:
    if head_is_saved_model(content) and 2 in numbers:
        graphs = [span for span in _within(content, numbers[2], 2) if span]
    elif numbers.get(1) and _looks_like_nodes(content, numbers[1]):
        graphs = [ByteSpan(0, content.size_bytes)]
    else:
        return False
    inspection.ledger.saw("tensorflow")
    for op, name in _tensorflow_ops(content, graphs):
        if _BUSY_OPS.search(op):
            inspection.ledger.add("graph-operation", f"the node {name[:80]!r} does {op}", member=place.member)
    judge_embedded(content, inspection.ledger, place.member)
    return True


def head_is_saved_model(content: Ranged) -> bool:
    return content.read(ByteSpan(0, 1)) in {b"\x08", b"\x12"}


def _looks_like_nodes(content: Ranged, spans: Sequence[ByteSpan]) -> bool:
    try:
        return all(
            re.fullmatch(r"[A-Z_][\w>.]*", _text(content, op)) is not None
            for span in spans[:3]
            for op in _within(content, [span], 2)[:1] or [ByteSpan(0, 0)]
        )
    except BadMessage:
        return False


def _tensorflow_ops(content: Ranged, graphs: Sequence[ByteSpan]) -> Iterator[tuple[str, str]]:
    nodes = _within(content, graphs, 1)
    libraries = _within(content, graphs, 2)
    nodes += _within(content, _within(content, libraries, 1), 3)
    for node in nodes:
        named = {
            field.number: field.span
            for field in fields(content, node)
            if field.number in {1, 2} and field.span
        }
        if 2 in named:
            yield _text(content, named[2]), _text(content, named[1]) if 1 in named else ""


def _scan_onnx(
    inspection: Inspection, content: Ranged, place: Place, numbers: dict[int, list[ByteSpan]]
) -> bool:
    inspection.ledger.saw("onnx")
    functions = numbers.get(25, [])
    own = {_text(content, span) for span in _within(content, functions, 10)}
    own |= {_text(content, span) for span in _within(content, functions, 9)}
    work = [*numbers[7]]
    looked = 0
    while work and looked < MAX_FIELDS:
        graph = work.pop()
        looked += 1
        for tensor in _within(content, [graph], 5) + _within(content, _within(content, [graph], 15), 1):
            _judge_tensor(inspection, content, tensor, place)
        work += _judge_nodes(inspection, content, _within(content, [graph], 1), own, place)
    work_nodes = _within(content, functions, 7)
    _judge_nodes(inspection, content, work_nodes, own, place)
    return True


def _judge_nodes(
    inspection: Inspection, content: Ranged, nodes: Sequence[ByteSpan], own: set[str], place: Place
) -> list[ByteSpan]:
    """Findings about nodes; the graphs inside them."""
    graphs: list[ByteSpan] = []
    for node in nodes:
        op, domain = "", ""
        for field in fields(content, node):
            if field.span is None:
                continue
            if field.number == 4:
                op = _text(content, field.span)
            elif field.number == 7:
                domain = _text(content, field.span)
            elif field.number == 5:
                for inner in fields(content, field.span):
                    if inner.span and inner.number in {6, 11}:
                        graphs.append(inner.span)
                    elif inner.span and inner.number in {5, 10}:
                        _judge_tensor(inspection, content, inner.span, place)
        if domain not in _DOMAINS and domain not in own:
            words = f"an operation {domain[:60]}::{op[:60]}"
            rule = "graph-operation" if _PYTHON_OP.search(f"{domain} {op}") else "graph-unknown"
            inspection.ledger.add(rule, words, member=place.member)
        elif _PYTHON_OP.search(op) and op in {"PythonOp", "PyOp", "PyCustomOp"}:
            inspection.ledger.add("graph-operation", f"an operation {op}", member=place.member)
    return graphs


def _is_outside(location: str) -> bool:
    return leaves(location) or ":" in location or location.startswith("~")


def _judge_tensor(inspection: Inspection, content: Ranged, tensor: ByteSpan, place: Place) -> None:
    for entry in _within(content, [tensor], 13):
        words = {field.number: _text(content, field.span) for field in fields(content, entry) if field.span}
        location = words.get(2, "")
        if words.get(1) == "location" and _is_outside(location):
            inspection.ledger.add(
                "outside-file", f"its data is read from {location[:200]!r}", member=place.member
            )
