"""Graphs of less common frameworks, and parts of graphs that other readers leave out."""

from __future__ import annotations

import json

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.scan_samples.graphs import field


def verdict(data: bytes | str, name: str = "file") -> str:
    return judge(Held(data.encode() if isinstance(data, str) else data), name).verdict


def nodes(*ops: str) -> bytes:
    return b"".join(field(1, field(1, f"n{place}") + field(2, op)) for place, op in enumerate(ops))


def metagraph(*ops: str) -> bytes:
    graph = nodes(*ops) + field(4, field(1, 22))
    return field(1, field(1, field(1, "x")) + field(5, "2.1")) + field(2, graph)


def with_asset(path: str) -> bytes:
    asset = field(1, field(1, "x:0")) + field(2, path)
    return field(1, 1) + field(2, field(2, nodes("Const")) + field(6, asset))


def paddle(*kinds: str) -> bytes:
    operations = (field(4, field(1, field(1, "X") + field(2, "x")) + field(3, kind)) for kind in kinds)
    return field(1, field(1, 0) + field(2, 0) + b"".join(operations)) + field(4, field(1, 0))


def coreml(kind: int, told: bytes) -> bytes:
    return field(1, 7) + field(2, field(1, field(1, "image"))) + field(kind, told)


def symbols(op: str, **attrs: str) -> str:
    first = {"op": "null", "name": "data", "inputs": []}
    second = {"op": op, "name": "x", "attrs": attrs, "inputs": [[0, 0, 0]]}
    return json.dumps({"nodes": [first, second], "arg_nodes": [0], "heads": [[1, 0, 0]]})


def openvino(kind: str, version: str = "opset1", data: str = "") -> str:
    layer = f'<layer id="0" name="x" type="{kind}" version="{version}"><data {data}/></layer>'
    return f'<?xml version="1.0"?>\n<net name="m" version="11"><layers>{layer}</layers><edges/></net>'


LAYER = field(1, field(1, "c") + field(500, field(10, "Mine")))
PIR = {"program": {"regions": [{"blocks": [{"ops": [{"#": "1.py_func", "A": []}]}]}]}}
DANGEROUS = {
    "a MetaGraph alone": metagraph("Const", "ReadFile"),
    "an asset above": with_asset("../../etc/passwd"),
    "an asset from the root": with_asset("/etc/passwd"),
    "Paddle calls Python": paddle("feed", "py_func", "fetch"),
    "Paddle writes": paddle("feed", "save_combine"),
    "Paddle as JSON": json.dumps({"base_code": {"magic": "pir"}, **PIR}),
    "Core ML leads out": coreml(556, field(1, field(1, field(1, "../../tmp/x")) + field(2, "/tmp"))),
    "MXNet calls an address": symbols("_Native", info="0x7fff00001234"),
    "OpenVINO loads a library": openvino("Mine", "extension", 'library="/srv/x.so"'),
    "OpenVINO runs Python": openvino("Python", "extension"),
}
ODD = {
    "a layer of Core ML": coreml(500, LAYER),
    "a layer inside a pipeline": coreml(202, field(1, coreml(500, LAYER))),
    "a model of Core ML": coreml(555, field(10, "Mine")),
    "a layer of MXNet": symbols("Custom", op_type="mine"),
    "a layer of OpenVINO": openvino("Mine", "extension"),
}
ORDINARY = {
    "a MetaGraph": metagraph("Const", "MatMul", "SaveV2", "RestoreV2"),
    "an asset": with_asset("vocab.txt"),
    "Paddle": paddle("feed", "conv2d", "relu", "fetch"),
    "Core ML": coreml(500, field(1, field(1, "c") + field(100, field(1, 3)))),
    "MXNet": symbols("FullyConnected", num_hidden="3"),
    "OpenVINO": openvino("Const", data='element_type="f32" shape="1,3" offset="0" size="12"'),
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_touches_files_or_calls_python_is_dangerous(name: str) -> None:
    assert verdict(DANGEROUS[name]) == "dangerous"


@pytest.mark.parametrize("name", ODD)
def test_what_needs_code_of_others_is_for_review(name: str) -> None:
    assert verdict(ODD[name]) == "suspicious"


@pytest.mark.parametrize("name", ORDINARY)
def test_arithmetic_is_clean(name: str) -> None:
    assert verdict(ORDINARY[name]) == "clean"
