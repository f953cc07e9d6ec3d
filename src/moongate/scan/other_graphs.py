"""Judges graphs of operations that fewer people use: Paddle, Core ML, MXNet, OpenVINO.

Each has operations that call Python, read or write files, or need code that does not come with the model.
Sources: Paddle framework.proto; Core ML Model.proto, NeuralNetwork.proto; MXNet's symbol JSON; OpenVINO IR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan.archives import leaves
from moongate.scan.inspection import Inspection, Place
from moongate.scan.ledger import Ledger
from moongate.weights.protobuf import BadMessage, fields
from moongate.weights.ranged import Ranged

_MOST_TEXT = 1024
_MOST_OPERATIONS: Final = 500_000
_PADDLE_BUSY = frozenset(
    "py_func py_layer pylayer save load save_combine load_combine run_program listen_and_serv "  # noqa: SIM905
    "send recv distributed_lookup_table fetch_barrier go create_py_reader read create_custom_reader "
    "open_files create_recordio_file_reader dlnne_engine".split()
)
_PADDLE_OPERATION = re.compile(r"[a-z_][a-z0-9_.]*\Z")
# Core ML: a model's kind is a field of it; those that hold layers, or models, or the name of a class.
_NETWORKS = (303, 403, 500)
_PIPELINES = (200, 201, 202)
_CUSTOM_MODEL, _LINKED_MODEL, _CUSTOM_LAYER = 555, 556, 500
_MOST_MODELS = 1000
_MXNET_NATIVE = frozenset(("_Native", "_NDArray"))
_MXNET_CUSTOM = frozenset(("Custom", "_contrib_custom", "_FusedOp"))
_PIR_BUSY = re.compile(r"(?:\d+\.)?(?:py_func|pylayer|py_layer|save\w*|load\w*)_?\Z")
_LAYER = re.compile(r"<layer\b[^>]{0,2000}>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(type|version)\s*=\s*["']([^"']{0,200})["']""", re.IGNORECASE)
_PYTHON_TYPE = re.compile(r"python|script|lambda|shell|exec|system", re.IGNORECASE)
_LIBRARY = re.compile(
    r"""\b(?:library|lib|so|dll|plugin|extension|path|file\w*|location)\s*=\s*["']([^"']{1,400})["']""",
    re.IGNORECASE,
)
_NATIVE = re.compile(r"\.(?:so(?:\.\d+)*|dll|dylib|pyd|exe)\Z", re.IGNORECASE)
_KNOWN_VERSIONS = re.compile(
    r"opset\d+\Z|experimental\Z|ie_internal_opset\Z|gpu_opset\Z|type_relaxed_opset\Z"
)


def scan_other_graph(
    inspection: Inspection, content: Ranged, place: Place, numbers: Mapping[int, Sequence[ByteSpan]]
) -> bool:
    """Whether a protocol buffer with those fields is Paddle's or Core ML's; if so, it has been judged."""
    try:
        return _scan_paddle(inspection, content, place, numbers) or _scan_coreml(
            inspection, content, place, numbers
        )
    except (BadMessage, ValueError):
        return False


def _within(content: Ranged, spans: Sequence[ByteSpan], number: int) -> list[ByteSpan]:
    return [
        field.span
        for span in spans
        for field in fields(content, span)
        if field.number == number and field.span
    ]


def _text(content: Ranged, span: ByteSpan) -> str:
    return content.read(ByteSpan(span.start, min(span.end, span.start + _MOST_TEXT))).decode(
        "utf-8", "replace"
    )


def _scan_paddle(
    inspection: Inspection, content: Ranged, place: Place, numbers: Mapping[int, Sequence[ByteSpan]]
) -> bool:
    """A program is blocks, a block has operations, an operation a type."""
    if not set(numbers) <= {1, 4, 5} or not numbers.get(1):
        return False
    operations = _within(content, [span for span in numbers[1] if span], 4)
    kinds = [_text(content, span) for span in _within(content, operations[:_MOST_OPERATIONS], 3)]
    if not kinds or not all(_PADDLE_OPERATION.match(kind) for kind in kinds[:3]):
        return False
    inspection.ledger.saw("paddle")
    for kind in dict.fromkeys(kinds):
        if kind in _PADDLE_BUSY:
            inspection.ledger.add("graph-operation", f"an operation does {kind}", member=place.member)
    return True


def _scan_coreml(
    inspection: Inspection, content: Ranged, place: Place, numbers: Mapping[int, Sequence[ByteSpan]]
) -> bool:
    kinds = {number for number in numbers if number >= 200}
    if 1 not in numbers or 2 not in numbers or not kinds or not set(numbers) - kinds <= {1, 2, 10}:
        return False
    inspection.ledger.saw("coreml")
    work, looked = [ByteSpan(0, content.size_bytes)], 0
    while work and looked < _MOST_MODELS:
        model = work.pop()
        looked += 1
        parts = [field for field in fields(content, model) if field.span]
        for field in parts:
            span = field.span
            if span is None:
                continue
            if field.number in _PIPELINES:
                inner = _within(content, [span], 1)
                work += (
                    inner
                    if field.number == _PIPELINES[2]
                    else _within(content, [span], 1) + _within(content, inner, 1)
                )
            elif field.number in _NETWORKS:
                for custom in _within(content, _within(content, [span], 1), _CUSTOM_LAYER):
                    _tell_class(inspection, content, custom, place, "a layer")
            elif field.number == _CUSTOM_MODEL:
                _tell_class(inspection, content, span, place, "the model")
            elif field.number == _LINKED_MODEL:
                _judge_linked(inspection, content, span, place)
    return True


def _tell_class(inspection: Inspection, content: Ranged, custom: ByteSpan, place: Place, what: str) -> None:
    named = next((_text(content, span) for span in _within(content, [custom], 10)), "?")
    words = f"{what} needs the class {named[:80]} of whoever loads it"
    inspection.ledger.add("graph-unknown", words, member=place.member)


def _judge_linked(inspection: Inspection, content: Ranged, linked: ByteSpan, place: Place) -> None:
    """A model that lies in another file, by name and by where it is looked for."""
    for text in _texts(content, linked, 4):
        if text.isprintable() and (leaves(text) or "~" in text):
            inspection.ledger.add("outside-file", f"it loads {text[:200]!r}", member=place.member)


def _texts(content: Ranged, span: ByteSpan, depth: int) -> Iterator[str]:
    for field in fields(content, span):
        if field.span is None:
            continue
        try:
            inner = list(_texts(content, field.span, depth - 1)) if depth else []
        except (BadMessage, ValueError):
            inner = []
        yield from inner or [_text(content, field.span)]


def judge_json_graph(node: Mapping[str, object], ledger: Ledger, member: str) -> None:
    """A node of MXNet's symbols, or an operation of Paddle's newer programs."""
    op, name = node.get("op"), node.get("#")
    if isinstance(op, str) and "inputs" in node:
        if op in _MXNET_NATIVE:
            ledger.add("graph-operation", f"an operation {op} calls an address in memory", member=member)
        elif op in _MXNET_CUSTOM:
            ledger.add("graph-unknown", "an operation runs Python of whoever loads it", member=member)
    if isinstance(name, str) and _PIR_BUSY.match(name):
        ledger.add("graph-operation", f"an operation does {name[:80]}", member=member)


def judge_openvino(text: str, ledger: Ledger, member: str) -> None:
    """OpenVINO's XML: layers of other libraries, and files that they name."""
    if "<net" not in text[:4096] or "<layer" not in text:
        return
    ledger.saw("openvino")
    for found in _LAYER.finditer(text):
        told = {key.lower(): value for key, value in _ATTRIBUTE.findall(found.group())}
        kind, version = told.get("type", ""), told.get("version", "opset1")
        if _KNOWN_VERSIONS.match(version):
            continue
        rule = "graph-operation" if _PYTHON_TYPE.search(kind) else "graph-unknown"
        ledger.add(rule, f"a layer {kind[:60]} of {version[:60]}", member=member)
    for path in dict.fromkeys(_LIBRARY.findall(text)):
        if _NATIVE.search(path):
            ledger.add("graph-operation", f"it names the library {path[:200]!r}", member=member)
        elif leaves(path):
            ledger.add("outside-file", f"it names the file {path[:200]!r}", member=member)
