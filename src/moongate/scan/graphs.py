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
from moongate.scan.ledger import Ledger
from moongate.scan.other_graphs import scan_other_graph
from moongate.weights.protobuf import BadMessage, fields
from moongate.weights.ranged import Ranged

MAX_FIELDS: Final = 3_000_000
_MAX_TEXT = 4096
BUSY_OPERATIONS = re.compile(
    r"PyFunc|^ReadFile|^WriteFile|MatchingFiles|^Reader(?:Read|Restore)|WholeFileReader|TextLine|FixedLengthRecord|"
    r"TFRecord|Sql|Snapshot|SaveDataset|LoadDataset|DataService|SummaryFileWriter|SummaryDbWriter|ImmutableConst|Rpc|"
    r"^Debug(?:Identity|Nan|Numeric)|^PrintV2|^Print$|FileSystem|^IO>|Shell|Command|Execute|LoadLibrary|Kafka|"
    r"HostLibrary|ReadVariableXla|LMDB|Fact\Z|^Gcs|BigQuery|BigTable|Ignite|LoadAndRemap|CacheDataset|RegisterDataset|DistributedSave|^Azure|Mongo|Http|^S3"
)
_DOMAINS = frozenset(
    ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training",
     "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "com.microsoft.mlfeaturizers",
     "com.microsoft.experimental", "org.pytorch.aten", "pkg.onnxscript.torch_lib",
     "pkg.onnxscript.torch_lib.common", "pkg.torch",
     "com.microsoft.extensions")
)  # fmt: skip
_OPERATION = re.compile(r"[A-Za-z_][\w>.]*")
_TEXT_OP = re.compile(r"""\bop\s*:\s*["']([\w>]{1,80})["']""")
_PYTHON_LAYER = re.compile(r"\bpython_param\s*:?\s*\{")
_ASSET = 6
_MOST_ASSETS = 10_000
_MAX_NODE_BYTES = 1 << 20
PYTHON_OPERATION = re.compile(
    r"(?i)py(?:thon)?_?(?:op|func|call|custom)|python|script|lambda|shell|exec|system"
)


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
    """Whether content is one of these graphs; if so, it has been judged.

    Readers take fields in any order and step over those that they do not know, and so does this.
    """
    whole = ByteSpan(0, content.size_bytes)
    try:
        numbers: dict[int, list[ByteSpan]] = {}
        for count, field in enumerate(fields(content, whole)):
            numbers.setdefault(field.number, []).append(field.span or ByteSpan(0, 0))
            if count > MAX_FIELDS:
                return False
    except (BadMessage, ValueError):
        return False
    if _is_onnx(content, numbers):
        return _scan_onnx(inspection, content, place, numbers)
    return scan_other_graph(inspection, content, place, numbers) or _scan_tensorflow(
        inspection, content, place, numbers
    )


def _is_onnx(content: Ranged, numbers: dict[int, list[ByteSpan]]) -> bool:
    """Whether there is a graph in field 7; by what is in it where there are fields that are not ONNX's."""
    graphs = [span for span in numbers.get(7, []) if span]
    if not graphs:
        return False
    if set(numbers) <= {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}:
        return True
    return _looks_like_nodes(content, _tried(content, graphs, 1), 4)


def _tried(content: Ranged, spans: Sequence[ByteSpan], number: int) -> list[ByteSpan]:
    """As `_within`, of what may be no messages at all."""
    try:
        return _within(content, spans, number)
    except (BadMessage, ValueError):
        return []


def _scan_tensorflow(
    inspection: Inspection, content: Ranged, place: Place, numbers: dict[int, list[ByteSpan]]
) -> bool:
    own = [span for span in numbers.get(2, []) if span]
    saved = _tried(content, own, 2)
    if _looks_like_nodes(content, _tried(content, own, 1), 2):
        # A MetaGraph alone (`.meta`) has its graph where a SavedModel has one with it.
        graphs = [*saved, *own]
    elif saved and (
        set(numbers) <= {1, 2}
        or _looks_like_nodes(content, _tried(content, saved, 1), 2)
        or _tried(content, saved, 2)
    ):
        graphs = saved
    elif numbers.get(1) and _looks_like_nodes(content, numbers[1], 2):
        graphs = [ByteSpan(0, content.size_bytes)]
    else:
        return False
    inspection.ledger.saw("tensorflow")
    try:
        for op, name, node in _tensorflow_ops(content, graphs):
            if BUSY_OPERATIONS.search(op) and not (
                op.startswith("Print") and not _prints_to_file(content, node)
            ):
                words = f"the node {name[:80]!r} does {op}"
                inspection.ledger.add("graph-operation", words, member=place.member)
    except BadMessage:
        words = "a part of the graph could not be read"
        inspection.ledger.add("archive-unreadable", words, member=place.member)
    _judge_assets(inspection, content, [*own, ByteSpan(0, content.size_bytes)], place)
    judge_embedded(content, inspection.ledger, place.member)
    return True


def _judge_assets(
    inspection: Inspection, content: Ranged, metagraphs: Sequence[ByteSpan], place: Place
) -> None:
    """The files that a SavedModel reads while it is loaded; they lie in its own folder of assets."""
    for asset in _tried(content, metagraphs, _ASSET)[:_MOST_ASSETS]:
        for name in _tried(content, [asset], 2):
            text = _text(content, name)
            if text.isprintable() and _is_outside(text):
                words = f"it reads the file {text[:200]!r} while loading"
                inspection.ledger.add("outside-file", words, member=place.member)


def _prints_to_file(content: Ranged, node: ByteSpan) -> bool:
    return b"file:" in content.read(ByteSpan(node.start, min(node.end, node.start + _MAX_NODE_BYTES)))


def _looks_like_nodes(content: Ranged, spans: Sequence[ByteSpan], operation: int) -> bool:
    """Whether the first few have the name of an operation in that field."""
    named = [
        op
        for span in spans[:3]
        if span
        for op in (_tried(content, [span], operation)[:1] or [ByteSpan(0, 0)])
    ]
    return bool(named) and all(_OPERATION.fullmatch(_text(content, op)) is not None for op in named)


def _tensorflow_ops(content: Ranged, graphs: Sequence[ByteSpan]) -> Iterator[tuple[str, str, ByteSpan]]:
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
            yield _text(content, named[2]), _text(content, named[1]) if 1 in named else "", node


def judge_graph_text(text: str, ledger: Ledger, member: str) -> None:
    """A graph in the text form of protocol buffers, which TensorFlow and Caffe load as well."""
    for op in dict.fromkeys(_TEXT_OP.findall(text) if "node" in text else ()):
        if BUSY_OPERATIONS.search(op) and not op.startswith("Print"):
            ledger.add("graph-operation", f"a node does {op}", member=member)
    if "python_param" in text and (found := _PYTHON_LAYER.search(text)):
        ledger.add("graph-operation", "a layer runs Python", member=member, offset=found.start())


def _scan_onnx(
    inspection: Inspection, content: Ranged, place: Place, numbers: dict[int, list[ByteSpan]]
) -> bool:
    inspection.ledger.saw("onnx")
    functions = [span for span in numbers.get(25, []) if span]
    trainings = [span for span in numbers.get(20, []) if span]
    try:
        own = {_text(content, span) for span in _within(content, functions, 10)}
        own |= {_text(content, span) for span in _within(content, functions, 9)}
        work = [span for span in numbers[7] if span]
        work += _within(content, trainings, 1) + _within(content, trainings, 2)
        work += _judge_nodes(inspection, content, _within(content, functions, 7), own, place)
        looked = 0
        while work and looked < MAX_FIELDS:
            graph = work.pop()
            looked += 1
            sparse = _within(content, [graph], 15)
            tensors = _within(content, [graph], 5) + _within(content, sparse, 1) + _within(content, sparse, 2)
            for tensor in tensors:
                _judge_tensor(inspection, content, tensor, place)
            work += _judge_nodes(inspection, content, _within(content, [graph], 1), own, place)
    except BadMessage:
        words = "a part of the graph could not be read"
        inspection.ledger.add("archive-unreadable", words, member=place.member)
    return True


def _judge_nodes(
    inspection: Inspection, content: Ranged, nodes: Sequence[ByteSpan], own: set[str], place: Place
) -> list[ByteSpan]:
    """Findings about nodes; the graphs inside them."""
    graphs: list[ByteSpan] = []
    for node in nodes:
        op, domain, attributes = "", "", []
        for field in fields(content, node):
            if field.span is None:
                continue
            if field.number == 4:
                op = _text(content, field.span)
            elif field.number == 7:
                domain = _text(content, field.span)
            elif field.number == 5:
                attributes.append(field.span)
        graphs += _within(content, attributes, 6) + _within(content, attributes, 11)
        sparse = _within(content, attributes, 22) + _within(content, attributes, 23)
        tensors = _within(content, attributes, 5) + _within(content, attributes, 10)
        for tensor in tensors + _within(content, sparse, 1) + _within(content, sparse, 2):
            _judge_tensor(inspection, content, tensor, place)
        if op == "EPContext":
            _judge_context(inspection, content, attributes, place)
        if domain not in _DOMAINS and domain not in own:
            words = f"an operation {domain[:60]}::{op[:60]}"
            rule = "graph-operation" if PYTHON_OPERATION.search(f"{domain} {op}") else "graph-unknown"
            inspection.ledger.add(rule, words, member=place.member)
        elif PYTHON_OPERATION.search(op) and op in {"PythonOp", "PyOp", "PyCustomOp"}:
            inspection.ledger.add("graph-operation", f"an operation {op}", member=place.member)
    return graphs


def _judge_context(
    inspection: Inspection, content: Ranged, attributes: Sequence[ByteSpan], place: Place
) -> None:
    """What a device compiled before, in a file beside the model or inside it."""
    for attribute in attributes:
        words = {
            field.number: _text(content, field.span) for field in fields(content, attribute) if field.span
        }
        location = words.get(4, "")
        if words.get(1) == "ep_cache_context" and location.isprintable() and _is_outside(location):
            told = f"its device's code is read from {location[:200]!r}"
            inspection.ledger.add("outside-file", told, member=place.member)


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
