"""Judges TensorFlow Lite by the operations that a model needs beyond the built-in ones.

Names that begin with `Flex` are operations of TensorFlow itself: some of them touch files or call Python.
What is custom otherwise needs a library that whoever runs the model brings; a few of them are known.
Source: TensorFlow Lite's schema.fbs (`Model.operator_codes`, `OperatorCode.custom_code`).
"""

from __future__ import annotations

import re
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan.graphs import BUSY_OPERATIONS, PYTHON_OPERATION
from moongate.scan.inspection import Inspection, Place
from moongate.weights.flat_buffers import BadBuffer, FlatBuffer
from moongate.weights.ranged import Ranged

_CUSTOM: Final = 32
_OPERATOR_CODES, _OLD_CODE, _CUSTOM_CODE, _CODE = 1, 0, 1, 3
_FLEX = re.compile(rb"Flex([A-Z]\w{1,80})")
_STEP_BYTES = 8 << 20
# What TensorFlow Lite, its task library, MediaPipe, Coral and TensorFlow Text bring.
_KNOWN = re.compile(
    r"TFLite_Detection_PostProcess|edgetpu-custom-op|ethos-u|Convolution2DTransposeBias|MaxPoolingWithArgmax2D|"
    r"MaxUnpooling2D|TransformTensorBilinear|TransformLandmarks|Landmarks2TransformMatrix|Mfcc|AudioSpectrogram|"
    r"NumericVerify|RandomStandardNormal|RandomUniform|Multinomial|I?Rfft2d|Complex|Real|Imag|Roll|Atan2|Cumsum|Gelu|"
    r"AveragePool3D|MaxPool3D|ExtractFeatures|Normalize|Predict|TFSentencepiece\w{1,60}|RaggedTensorToTensor|NGrams|"
    r"(?:tftext:|odml\.|aeq\.)[\w.>-]{1,80}"
)


def scan_tflite(inspection: Inspection, content: Ranged, place: Place) -> None:
    inspection.ledger.saw("tflite")
    try:
        names = _custom_operations(FlatBuffer(content))
    except BadBuffer:
        names = []
        words = "the operations of the model could not be read"
        inspection.ledger.add("archive-unreadable", words, member=place.member)
    for name in dict.fromkeys(names):
        _judge_operation(inspection, name, place)
    _search(inspection, content, place)


def _custom_operations(buffer: FlatBuffer) -> list[str]:
    names = []
    for code in buffer.tables(buffer.root(), _OPERATOR_CODES):
        builtin = max(buffer.value(code, _OLD_CODE, 1), buffer.value(code, _CODE, 4))
        if builtin == _CUSTOM:
            names.append(buffer.text(code, _CUSTOM_CODE))
    return names


def _judge_operation(inspection: Inspection, name: str, place: Place) -> None:
    ledger, flex = inspection.ledger, name.removeprefix("Flex")
    if flex != name:
        if _is_busy(flex):
            ledger.add("graph-operation", f"an operation does {flex[:80]}", member=place.member)
    elif PYTHON_OPERATION.search(name):
        ledger.add("graph-operation", f"an operation {name[:80]}", member=place.member)
    elif not _KNOWN.fullmatch(name):
        ledger.add("graph-unknown", f"an operation {name[:80]!r}", member=place.member)


def _is_busy(operation: str) -> bool:
    return BUSY_OPERATIONS.search(operation) is not None and not operation.startswith("Print")


def _search(inspection: Inspection, content: Ranged, place: Place) -> None:
    """Names of TensorFlow's operations wherever they stand: in what a table does not lead to as well."""
    at = 0
    while at < content.size_bytes:
        data = content.read(ByteSpan(at, at + _STEP_BYTES + 100))
        for found in _FLEX.finditer(data):
            operation = found.group(1).decode("ascii")
            if _is_busy(operation):
                words = f"an operation does {operation[:80]}"
                inspection.ledger.add("graph-operation", words, member=place.member)
        at += _STEP_BYTES
