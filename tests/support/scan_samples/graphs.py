"""Graphs of operations: ONNX, SavedModels, TFLite."""

from __future__ import annotations

import struct


def field(number: int, data: bytes | str | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    raw = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes((value & 0x7F | 0x80,)), value >> 7
    return out + bytes((value,))


def onnx(*nodes: bytes, tensors: tuple[bytes, ...] = (), more: bytes = b"", domain: str = "") -> bytes:
    graph = b"".join(field(1, node) for node in nodes) + field(2, "g")
    graph += b"".join(field(5, tensor) for tensor in tensors)
    opset = field(8, (field(1, domain) if domain else b"") + field(2, 17))
    return field(1, 8) + field(2, "test") + field(7, graph) + opset + more


def node(op: str, domain: str = "", name: str = "n") -> bytes:
    return (
        field(1, "x") + field(2, "y") + field(3, name) + field(4, op) + (field(7, domain) if domain else b"")
    )


def external(location: str) -> bytes:
    """A tensor whose data lies in another file."""
    entry = field(13, field(1, "location") + field(2, location))
    return field(1, 4) + field(2, 1) + field(8, "w") + entry + field(14, 1)


def saved_model(*ops: str, in_library: bool = False, meta: bytes = b"") -> bytes:
    nodes = [field(1, f"n{place}") + field(2, op) for place, op in enumerate(ops)]
    if in_library:
        function = field(1, field(1, "f")) + b"".join(field(3, one) for one in nodes)
        graph = field(2, field(1, function))
    else:
        graph = b"".join(field(1, one) for one in nodes)
    return field(1, 1) + field(2, meta + field(2, graph))


MALICIOUS: dict[str, bytes] = {
    "onnx_ext_abs.onnx": onnx(node("Relu"), tensors=(external("/etc/passwd"),)),
    "tf_pyfunc/saved_model.pb": saved_model("PyFunc"),
    "tf_readfile/saved_model.pb": saved_model("Placeholder", "ReadFile"),
    "tf_writefile/saved_model.pb": saved_model("Const", "WriteFile"),
}

BENIGN: dict[str, bytes] = {
    "model.onnx": onnx(node("MatMul"), node("Relu")),
    "model_ext.onnx": onnx(node("Relu"), tensors=(external("weights.bin"),)),
    "model_ml.onnx": onnx(node("TreeEnsembleClassifier", "ai.onnx.ml"), domain="ai.onnx.ml"),
    "model_ms.onnx": onnx(node("FusedMatMul", "com.microsoft"), domain="com.microsoft"),
    "tf_ok/saved_model.pb": saved_model("Placeholder", "MatMul", "BiasAdd", "Relu", "Softmax", "NoOp"),
    "tf_ok2/saved_model.pb": saved_model("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"),
    "model.tflite": struct.pack("<I", 28) + b"TFL3" + bytes(64),
}
