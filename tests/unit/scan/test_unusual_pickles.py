"""Functions that a pickle may call, of the standard library and of what models need; places to hide one."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib

import pytest

from moongate.scan.engine import judge
from moongate.weights.ranged import Held
from support.pickled import EVIL, text, zipped
from support.scan_samples.assembly import names
from support.scan_samples.containers import tarred, torch_zip

CALLS = [
    "_posixsubprocess:fork_exec",
    "pty:spawn",
    "code:interact",
    "asyncio:create_subprocess_shell",
    "webbrowser:open",
    "ctypes:CDLL",
    "cffi:FFI",
    "runpy:run_path",
    "idlelib.pyshell:ModifiedInterpreter.runcode",
    "pip._internal.cli.main:main",
    "pip:main",
    "torch.hub:load",
    "torch.utils.cpp_extension:load_inline",
    "torch._inductor.codecache:compile_file",
    "numpy.testing._private.utils:runstring",
    "numpy.distutils.exec_command:exec_command",
    "numpy.f2py.crackfortran:myeval",
    "numpy:load",
    "pandas:read_pickle",
    "pandas:eval",
    "joblib:load",
    "transformers:AutoModel.from_pretrained",
    "transformers.utils.hub:cached_file",
    "dill:loads",
    "cloudpickle:loads",
    "sklearn.datasets:fetch_openml",
    "scipy.io:loadmat",
    "cProfile:run",
    "trace:Trace.run",
    "lib2to3.pgen2.grammar:Grammar.loads",
    "logging.config:listen",
    "logging.config:dictConfig",
    "shelve:open",
    "xml.dom.minidom:parse",
    "http.server:test",
    "ensurepip:bootstrap",
    "venv:create",
    "zipimport:zipimporter",
    "importlib.machinery:SourceFileLoader",
    "_pickle:loads",
    "_io:FileIO",
    "io:open_code",
    "nt:system",
    "posix:execv",
    "signal:raise_signal",
    "faulthandler:_sigsegv",
    "tempfile:mkdtemp",
    "shutil:rmtree",
    "pathlib:Path.write_text",
    "fileinput:input",
    "getpass:getuser",
    "platform:popen",
    "distutils.spawn:spawn",
    "setuptools.sandbox:run_setup",
    "sqlite3:connect",
    "turtle:textinput",
    "unittest.mock:_importer",
    "test.support.script_helper:assert_python_ok",
    "doctest:debug_script",
    "bdb:Bdb.run",
    "pdb:run",
    "profile:run",
    "timeit:timeit",
    "types:CodeType",
    "types:FunctionType",
    "marshal:loads",
    "multiprocessing.util:spawnv_passfds",
    "concurrent.futures.process:_process_worker",
    "smtplib:SMTP",
    "ftplib:FTP",
    "telnetlib:Telnet",
    "poplib:POP3",
    "socketserver:TCPServer",
    "xmlrpc.client:ServerProxy",
    "aiohttp.client:ClientSession",
    "requests.api:get",
    "urllib3:request",
    "httpx:get",
    "git.cmd:Git.execute",
    "paramiko:SSHClient",
    "fabric:Connection",
    "invoke:run",
    "sh:ls",
    "plumbum.cmd:ls",
    "tensorflow.python.ops.script_ops:py_func",
    "keras.models:load_model",
    "tensorflow:load_op_library",
    "torch.ops:load_library",
    "onnxruntime:InferenceSession",
    "mlflow.pyfunc:load_model",
    "ray:init",
    "dask.base:compute",
    "yaml:unsafe_load",
    "jsonpickle:decode",
    "fsspec:open",
    "s3fs:S3FileSystem",
    "gradio:Interface.load",
    "datasets:load_dataset",
    "huggingface_hub:hf_hub_download",
    "IPython:start_ipython",
    "jedi:Interpreter",
    "nltk:download",
    "spacy.cli:download",
    "matplotlib:use",
    "PIL.ImageShow:show",
    "numba.pycc:CC",
    "jax:jit",
    "functools:reduce",
    "builtins:eval",
    "__builtin__:apply",
    "operator:methodcaller",
    "_operator:attrgetter",
    "itertools:starmap",
    "collections:namedtuple",
    "string:Formatter.format",
    "weakref:finalize",
    "atexit:register",
    "threading:Timer",
    "sys:setprofile",
    "gc:callbacks.append",
    "_xxsubinterpreters:run_string",
    "_testcapi:run_in_subinterp",
    "readline:read_init_file",
    "lzma:open",
    "codecs:open",
    "zipfile:ZipFile",
    "mailcap:findmatch",
    "pydoc:pipepager",
    "nturl2path:url2pathname",
    "uuid:_get_command_stdout",
    "ossaudiodev:open",
    "crypt:crypt",
    "commands:getoutput",
    "popen2:popen3",
    "os:spawnlp",
    "torch.distributed.rpc:rpc_sync",
    "torch.jit:load",
    "torch.serialization:load",
    "torch._dynamo.guards:GuardBuilder.get",
    "torch.fx.experimental.symbolic_shapes:ShapeEnv.evaluate_guards_expression",
    "torch.utils._config_module:ConfigModule.load_config",
    "torch.utils.collect_env:run",
    "torch.utils.bottleneck.__main__:run_cprofile",
    "torch.utils.data.datapipes.utils.decoder:basichandlers",
    "torch.distributed.run:main",
    "torch._C:_cuda_ipc_collect",
]


def verdict(data: bytes, name: str = "model.pkl") -> str:
    return judge(Held(data), name).verdict


@pytest.mark.parametrize("called", CALLS)
@pytest.mark.parametrize("arguments", [b"", text("x"), text("x") + text("w")])
def test_what_a_pickle_may_not_call(called: str, arguments: bytes) -> None:
    module, _, name = called.partition(":")
    assert verdict(b"\x80\x04" + names(module, name) + b"(" + arguments + b"tR.") == "dangerous"


ARRAY = (
    b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
)
PLACES = {
    "an old checkpoint": tarred({"pickle": EVIL, "storages": b"x", "tensors": b"x"}),
    "a model of NeMo": gzip.compress(tarred({"model_config.yaml": b"a: 1", "model.ckpt": torch_zip(EVIL)})),
    "compressed twice": zlib.compress(zlib.compress(EVIL)),
    "an array, compressed": zipped({"a.npy": ARRAY + EVIL}, 8),
    "behind a mark of text": b"\xef\xbb\xbf" + EVIL,
    "behind a sound": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(28) + EVIL,
    "behind a picture": b"\x89PNG\r\n\x1a\n" + bytes(60) + b"IEND\xaeB`\x82" + EVIL,
    "in msgpack": b"\x81\xa6params\xc7" + bytes([len(EVIL)]) + b"\x01" + EVIL,
    "in a database": b"SQLite format 3\0" + bytes(2000) + EVIL + bytes(100),
}


@pytest.mark.parametrize("place", PLACES)
def test_where_a_pickle_may_hide(place: str) -> None:
    assert verdict(PLACES[place], "model.bin") == "dangerous"


def test_a_pickle_that_is_only_spelt_is_for_review() -> None:
    spelt = base64.b64encode(EVIL + b" " * 40).decode()
    header = json.dumps(
        {"__metadata__": {"cfg": spelt}, "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}
    )
    tensors = struct.pack("<Q", len(header)) + header.encode() + bytes(4)
    for data, name in (
        (f"data: !!binary |\n  {spelt}\n".encode(), "c.yaml"),
        (spelt.encode(), "x.txt"),
        ((EVIL + b"\x80\x04N." * 10).hex().encode(), "x.txt"),
        (tensors, "m.safetensors"),
    ):
        assert verdict(data, name) == "suspicious"
