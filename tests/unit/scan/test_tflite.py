"""What a model of TensorFlow Lite needs beyond the built-in operations is named."""

from __future__ import annotations

import pytest

from moongate.scan.engine import judge
from moongate.weights.flat_buffers import FlatBuffer
from moongate.weights.ranged import Held
from support.scan_samples.graphs import tflite


def verdict(data: bytes) -> str:
    return judge(Held(data), "model.tflite").verdict


@pytest.mark.parametrize(
    "name", ["FlexReadFile", "FlexWriteFile", "FlexPyFunc", "FlexEagerPyFunc", "MyPythonOp", "ShellExec"]
)
def test_operations_that_touch_files_or_run_code_are_refused(name: str) -> None:
    assert verdict(tflite("FlexAddV2", name)) == "dangerous"


def test_custom_operations_are_known_or_told() -> None:
    for known in ("TFLite_Detection_PostProcess", "FlexErf", "Convolution2DTransposeBias", "FlexPrint"):
        assert verdict(tflite(known)) == "clean"
    assert verdict(tflite()) == "clean"
    assert verdict(tflite("FrobnicateV2")) == "suspicious"
    assert verdict(tflite("TFLite_Detection_PostProcess", "")) == "suspicious"
    assert [finding.rule for finding in judge(Held(tflite("FrobnicateV2"))).findings] == ["graph-unknown"]


def test_no_offset_of_a_buffer_is_believed() -> None:
    whole = tflite("FlexErf", "Mine")
    buffer = FlatBuffer(Held(whole))
    assert len(buffer.tables(buffer.root(), 1)) == 3
    for at in range(len(whole)):
        for letter in (0, 1, 127, 255):
            judge(Held(whole[:at] + bytes((letter,)) + whole[at + 1 :]), "model.tflite")
    assert verdict(b"\xff\xff\xff\x7f" + whole[4:]) == "unscanned"
