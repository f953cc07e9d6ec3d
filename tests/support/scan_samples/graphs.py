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


def tflite(*custom: str) -> bytes:
    """A model with one built-in operation and some custom ones."""

    def table(fields: dict[int, bytes]) -> bytes:
        """Its virtual table, then its fields; offsets in them count from where they stand."""
        places, body = [0] * (max(fields) + 1), b""
        for number, data in fields.items():
            places[number] = 4 + len(body)
            body += data
        virtual = struct.pack(f"<HH{len(places)}H", 4 + 2 * len(places), 4 + len(body), *places)
        virtual += bytes(-len(virtual) % 4)
        return virtual + struct.pack("<i", len(virtual)) + body

    texts = [struct.pack("<I", len(name)) + name.encode() + bytes(4 - len(name) % 4) for name in custom]
    codes = [table({0: struct.pack("<I", 3)})]
    for text in texts:
        code = table({0: struct.pack("<I", 32), 1: struct.pack("<I", 8), 3: struct.pack("<I", 32)})
        codes.append(code + text)
    model = table({0: struct.pack("<I", 3), 1: struct.pack("<I", 4)})
    vector_at = 8 + len(model)
    vector, at = struct.pack("<I", len(codes)), 4 * (1 + len(codes))
    for number, code in enumerate(codes):
        virtual = int.from_bytes(code[:2], "little")
        begins = at + virtual + -virtual % 4
        vector += struct.pack("<I", begins - 4 * (1 + number))
        at += len(code)
    root = 8 + len(model) - 12
    assert vector_at == root + 12
    return struct.pack("<I", root) + b"TFL3" + model + vector + b"".join(codes)
