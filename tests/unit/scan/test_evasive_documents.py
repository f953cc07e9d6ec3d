"""Configurations, graphs and templates written so that only their loader sees what they do."""

from __future__ import annotations

import json
import struct

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import zipped
from support.scan_samples.documents import HDF5, LAMBDA, dense, layer, model
from support.scan_samples.graphs import external, field, node, onnx, saved_model
from support.scan_samples.headers import gguf, safetensors

SYSTEM = {"module": "os", "class_name": "function", "config": "system"}
CALLING = model(layer("Dense", {"activation": SYSTEM}))
OUT = "{{ cycler.__init__.__globals__ }}"


def verdict(data: bytes | str, name: str = "file") -> str:
    return judge(Held(data.encode() if isinstance(data, str) else data), name).verdict


def keras(config: bytes) -> bytes:
    return zipped({"metadata.json": b"{}", "config.json": config})


def acting(**function: str) -> bytes:
    return keras(
        json.dumps(model(layer("Dense", {"activation": {"class_name": "function", **function}}))).encode()
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_json_is_read_in_every_encoding_that_python_takes(encoding: str) -> None:
    assert verdict(keras(json.dumps(CALLING).encode(encoding))) == "dangerous"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", 10**400])
def test_json_is_read_as_laxly_as_python_does(value: object) -> None:
    assert verdict(keras(json.dumps({"a": value, **CALLING}).encode())) == "dangerous"
    assert verdict(json.dumps({"a": value, "chat_template": OUT})) == "dangerous"


def test_hdf5_is_searched_among_letters_of_any_language() -> None:
    for config in (CALLING, model(LAMBDA)):
        words = json.dumps({"name": "modèle", **config}, ensure_ascii=False).encode()
        for hidden in (words, words.replace(b"class_name", b"class_na\\u006de"), b"{ x {" + words):
            assert verdict(HDF5 + bytes(900) + hidden + bytes(99)) == "dangerous"
    good = json.dumps({"name": "modèle", **model(dense())}, ensure_ascii=False).encode()
    assert verdict(HDF5 + bytes(900) + good + bytes(99)) == "clean"


KERAS = {
    "loads": acting(module="keras.models", config="load_model"),
    "fetches": acting(module="keras.applications", config="VGG16"),
    "a builtin": acting(module="builtins", config="exec"),
    "by its registered name": keras(
        json.dumps(model({"class_name": "X", "registered_name": "keras>Lambda"})).encode()
    ),
    "a tokenizer's files": keras(
        json.dumps(model(layer("BytePairTokenizer", {"merges": "/etc/passwd"}, "keras_hub"))).encode()
    ),
    "YAML": b"class_name: Sequential\nconfig:\n  layers:\n  - class_name: Lambda\n",
    "metadata": field(1, field(2, "root") + field(4, json.dumps(model(LAMBDA)))),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras(name: str) -> None:
    assert verdict(KERAS[name]) == "dangerous"
    assert verdict(acting(module="keras.activations", config="relu")) == "clean"
    assert verdict(acting(module="builtins", config="mean_absolute_error")) == "clean"


PYTHON = field(1, node("PyOp", "ai.onnx.contrib")) + field(2, "g")
BRANCH = field(1, "c") + field(4, "If") + field(5, field(1, "then_branch") + field(6, PYTHON))
READS = field(1, "n") + field(2, "ReadFile")
GRAPHS = {
    "an unknown field": onnx(node("PyOp", "ai.onnx.contrib")) + field(100, "x"),
    "another order": field(8, field(2, 17)) + field(7, PYTHON) + field(1, 8),
    "an unknown field first": field(31, "x") + field(7, PYTHON),
    "a long tag": b"\xba\x00" + field(7, PYTHON)[1:] + field(1, 8),
    "a group": b"\x7b\x7c" + field(7, PYTHON) + field(1, 8),
    "in a function": onnx(node("Relu"), more=field(25, field(1, "f") + field(7, BRANCH) + field(10, "x"))),
    "in training": onnx(node("Relu"), more=field(20, field(1, PYTHON))),
    "indices": field(1, 8) + field(7, field(1, node("Relu")) + field(15, field(2, external("/etc/passwd")))),
    "a device's context": onnx(
        node("EPContext", "com.microsoft") + field(5, field(1, "ep_cache_context") + field(4, "../../x"))
    ),
    "a SavedModel behind a field": field(77, "x") + saved_model("ReadFile"),
    "a frozen graph in another order": field(4, field(1, 22)) + field(1, READS),
    "in text": b'node {\n  name: "w"\n  op: "WriteFile"\n}\n',
    "printed to a file": field(1, 1)
    + field(2, field(2, field(1, field(2, "PrintV2") + field(5, "file:///tmp/x")))),
    "borrowed by TFLite": struct.pack("<I", 28) + b"TFL3" + bytes(40) + b"FlexReadFile\x00",
    "a layer of Caffe": b'layer {\n  type: "Python"\n  python_param {\n    module: "os"\n  }\n}\n',
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name: str) -> None:
    assert verdict(GRAPHS[name]) == "dangerous"


def test_printing_to_the_terminal_is_no_harm() -> None:
    assert verdict(saved_model("PrintV2")) == "clean"


TEMPLATES = (
    "{{ '{#' }}" + OUT + "{{ '#}' }}",
    "{{ '}}' ~ cycler.__init__ }}",
    "{% set x = '%}' ~ cycler.__init__ %}",
    "{% set u = '_' * 2 %}{{ x[u ~ 'class' ~ u] }}",
    "{% set u = '__' %}{% set k = u ~ 'class' ~ u %}{{ x[k] }}",
    "{{ x['__CLASS__'|lower] }}",
    "{{ x['__ssalc__'|reverse] }}",
    "{{ x['%c%cclass%c%c'|format(95, 95, 95, 95)] }}",
    "{% raw %}{{ ' {% endraw %}{{ x.__class__ }}",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates(template: str) -> None:
    assert verdict(template, "chat_template.jinja") == "dangerous"
    assert verdict(gguf({"tokenizer.chat_template": template})) == "dangerous"


@pytest.mark.parametrize(
    "template",
    [
        "{{ '__' }}{{ message['role'] ~ '__' ~ message['name'] }}",
        "{# this isn't {{ x.__class__ }} #}{{ x }}",
        "{{ {'a': {'b': 1}} | tojson }}",
    ],
)
def test_ordinary_templates(template: str) -> None:
    assert verdict(template, "chat_template.jinja") == "clean"


TEXTS = {
    "jsonpickle": '{"x": {"py/function": "os.system"}}',
    "a comment first": "<!-- c -->\n<!DOCTYPE x [<!ENTITY a 'b'>]><PMML/>",
    "UTF-7": "<?xml version='1.0' encoding='UTF-7'?>\n<PMML/>",
    "UTF-32": "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><PMML/>".encode("utf-32"),
    "a mainframe's": "<?xml version='1.0' encoding='cp037'?><!DOCTYPE x [<!ENTITY a 'b'>]><PMML/>".encode(
        "cp037"
    ),
    "XSLT": "<?xml version='1.0'?><x xmlns:r='http://xml.apache.org/xalan/java/java.lang.Runtime'/>",
    "MLflow": "flavors:\n  python_function:\n    loader_module: subprocess\n",
    "an evaluated value": "backbone:\n  - [-1, 1, \"__import__('os').system('true')\"]\n",
    "a tag in numbers": "x: !!python%2fobject/apply:os.system [x]\n",
    "Hydra in braces": "a: {_target_: builtins.eval, _args_: ['1']}\n",
    "numpy's header": b"\x93NUMPY\x01\x00\x30\x00"
    + b"{'descr': __import__('os').x(), 'shape': (1,), }".ljust(48)
    + b"\n",
    "blanks before safetensors": safetensors(
        '  {"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)
    ),
    "a formula": "name,val\n=cmd|' /C calc'!A0,1\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_other_texts(name: str) -> None:
    assert verdict(TEXTS[name]) == "dangerous"
