"""Judges Python source by its syntax tree: what it calls, under whatever name it was imported.

A file of a model or a dataset is run by whoever loads it with trust_remote_code; it needs no programs. What
serves a page (a Space) or is a program of its own may start the programs that such things start, and asks for
a look where it works out what to start.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Final

from moongate.core.verdicts import Severity
from moongate.scan.ledger import Ledger
from moongate.scan.spaces import fetches_and_runs

MAX_SOURCE_CHARS: Final = 4 << 20

_STARTS = re.compile(
    r"(?:os\.(?:system|popen|exec\w+|spawn\w+|posix_spawn\w*|startfile)|subprocess\.(?!PIPE|DEVNULL|STDOUT)\w+|"
    r"commands\.\w+|pty\.spawn|asyncio\.create_subprocess_\w+|platform\.popen|pexpect\.\w+|"
    r"(?:IPython\.)?get_ipython\.system)\Z"
)
_RUNS = re.compile(
    r"(?:posix\.\w+|nt\.system|runpy\.\w+|code\.(?:interact|Interactive\w+|compile_command)|"
    r"(?:builtins\.|__builtins__\.)?(?:eval|exec|execfile)|(?:builtins|__builtins__)\.(?:compile|__import__)|"
    r"pip\.main|pip\._internal\.\w+|types\.(?:CodeType|FunctionType)|importlib\.machinery\.SourceFileLoader)\Z"
)
_TOUCHES = re.compile(
    r"(?:ctypes\.(?!c_|sizeof|byref|POINTER|Structure|util)\w+|cffi\.FFI|marshal\.loads?|paramiko\.\w+|"
    r"socket\.(?:socket|create_connection)|telnetlib\.\w+|webbrowser\.open)\Z"
)
_LOADS = re.compile(
    r"(?:pickle|cPickle|_pickle|dill|cloudpickle|shelve|jsonpickle)\.(?:loads?|Unpickler|open|decode)\Z"
)
_SENDS = re.compile(
    r"(?:requests|httpx|aiohttp|urllib3)(?:\.\w+)*\.(?:post|put|request|get|patch|urlopen)\Z|"
    r"urllib\.request\.\w+\Z|http\.client\.\w+\Z|smtplib\.\w+\Z|ftplib\.\w+\Z"
)
_READS = re.compile(r"(?:\.ssh/|\.aws/|\.netrc|\.kube/|\.docker/config|\.git-credentials|"
                    r"/etc/(?:passwd|shadow)|huggingface/token|wallet\.dat|Login Data|/id_rsa)")  # fmt: skip
_DECODES = re.compile(
    r"(?:base64\.\w*decode|zlib\.decompress|codecs\.decode|bytes\.fromhex|binascii\.\w+|marshal\.loads)\Z"
)
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL", re.IGNORECASE)
_DROP = re.compile(
    r"http://(?!localhost|127\.|0\.0\.0\.0)|https?://\d+\.\d+\.\d+\.\d+|discord(?:app)?\.com/api/webhooks|"
    r"api\.telegram\.org/bot|pastebin\.|\.ngrok|webhook\.site|requestbin|burpcollaborator|oast\.|interact\.sh|"
    r"pipedream"
)
_PAGES = frozenset(
    [
        *(
            "gradio",
            "streamlit",
            "fastapi",
            "flask",
            "spaces",
            "uvicorn",
            "chainlit",
            "panel",
            "nicegui",
            "bottle",
        ),
        *("django", "starlette", "dash", "shiny", "quart", "gunicorn", "tornado", "sanic"),
    ]
)
_MODELS = frozenset(
    ("torch", "transformers", "datasets", "tensorflow", "keras", "diffusers", "jax", "flax", "timm")
)
_TOOLS = frozenset(
    [
        *(
            "ffmpeg",
            "ffprobe",
            "git",
            "pip",
            "pip3",
            "python",
            "python3",
            "nvidia-smi",
            "nvcc",
            "ls",
            "mkdir",
            "cp",
        ),
        *(
            "mv",
            "unzip",
            "tar",
            "which",
            "conda",
            "apt",
            "apt-get",
            "make",
            "cmake",
            "ninja",
            "sox",
            "lscpu",
            "df",
        ),
        *(
            "du",
            "uname",
            "hostname",
            "sleep",
            "convert",
            "magick",
            "tesseract",
            "pdftotext",
            "espeak",
            "espeak-ng",
        ),
        *(
            "huggingface-cli",
            "hf",
            "accelerate",
            "torchrun",
            "deepspeed",
            "llama-quantize",
            "llama-cli",
            "ollama",
        ),
        *(
            "cat",
            "head",
            "tail",
            "wc",
            "find",
            "touch",
            "chmod",
            "ln",
            "gunzip",
            "gzip",
            "node",
            "npm",
            "wget",
        ),
        *("curl", "aria2c", "uv", "g++", "gcc"),
    ]
)


def judge_python(text: str, ledger: Ledger, member: str) -> bool:
    """Whether the text is Python; if so, it has been judged."""
    if len(text) > MAX_SOURCE_CHARS or not text.strip():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if not any(
        isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Call)
        for node in ast.walk(tree)
    ):
        return False
    ledger.saw("python")
    _Reader(ledger, member).read(tree)
    return True


class _Reader:
    """Follows names to what they were imported as."""

    def __init__(self, ledger: Ledger, member: str) -> None:
        self._ledger = ledger
        self._member = member
        self._names: dict[str, str] = {}
        self._sends = self._takes = self._drop = ""
        self._is_program = self._is_of_model = False

    def read(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        for node in nodes:
            self._learn(node)
        self._is_program = self._serves_or_starts(nodes)
        self._is_of_model = any(name.partition(".")[0] in _MODELS for name in self._names.values())
        for node in nodes:
            if isinstance(node, ast.Call):
                self._judge_call(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._judge_text(node.value)
        self._judge_environment(nodes)
        if self._sends and self._takes:
            words = f"reads {self._takes} and sends something with {self._sends}"
            self._ledger.add("code-exfiltrates", words, member=self._member)

    def _serves_or_starts(self, nodes: list[ast.AST]) -> bool:
        """Whether this is a page's server or a program of its own, not a part of a model."""
        tops = {name.partition(".")[0] for name in self._names.values()}
        guarded = any(
            isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == "__name__"
            for node in nodes
        )
        return bool(tops & _PAGES) or (guarded and not tops & {"setuptools", "distutils", "datasets"})

    def _judge_text(self, text: str) -> None:
        if _READS.search(text):
            self._takes = self._takes or text[:80]
        if _DROP.search(text):
            self._drop = self._drop or text[:80]
        if len(text) > 8 and (found := fetches_and_runs(text)):
            self._ledger.add("shell-fetch-and-run", f"holds {found[:120]!r}", member=self._member)

    def _judge_environment(self, nodes: list[ast.AST]) -> None:
        """The whole environment, or a secret of it that goes to a place where such things are dropped."""
        parents = {id(child): node for node in nodes for child in ast.iter_child_nodes(node)}
        for node in nodes:
            if not isinstance(node, ast.Attribute | ast.Name) or self._name(node) != "os.environ":
                continue
            user = parents.get(id(node))
            if isinstance(user, ast.Subscript | ast.Attribute | ast.Compare | ast.Import | ast.ImportFrom):
                continue
            if isinstance(user, ast.keyword) and user.arg == "env":
                continue
            if isinstance(user, ast.Dict | ast.BinOp) or (
                isinstance(user, ast.Call)
                and self._name(user.func) in {"dict", "str", "json.dumps", "repr", "list"}
            ):
                self._takes = self._takes or "the whole environment"
        if self._drop and self._sends and any(
            isinstance(node, ast.Constant) and isinstance(node.value, str) and _SECRET_NAME.search(node.value)
            and len(node.value) < 64
            for node in nodes
        ):  # fmt: skip
            self._takes = self._takes or "a secret of the environment"

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                shown = alias.asname or alias.name.partition(".")[0]
                self._names[shown] = alias.name if alias.asname else shown
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                self._names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif (
            isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        ):
            name = self._name(node.value)
            if name:
                self._names.setdefault(node.targets[0].id, name)

    def _name(self, node: ast.AST) -> str:
        """The dotted name that an expression stands for; empty if it is none."""
        match node:
            case ast.Name():
                return self._names.get(node.id, node.id)
            case ast.Attribute():
                base = self._name(node.value)
                return f"{base}.{node.attr}" if base else ""
            case ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value=str(module)), *_]):
                return module
            case ast.Call(func=ast.Name(id="getattr"), args=[base, ast.Constant(value=str(attribute)), *_]):
                inner = self._name(base)
                return f"{inner}.{attribute}" if inner else ""
            case ast.Call(func=ast.Name(id="get_ipython")):
                return "get_ipython"
            case ast.Call(func=ast.Name(id="globals" | "vars" | "locals")):
                return ""
            case ast.Call() if self._name(node.func) == "importlib.import_module" and node.args:
                first = node.args[0]
                return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        return ""

    def _judge_call(self, node: ast.Call) -> None:
        name = self._name(node.func)
        if _STARTS.match(name):
            self._judge_start(name, node)
        elif _RUNS.match(name):
            self._judge_run(name, node)
        elif _TOUCHES.match(name):
            self._find("code-runs", f"calls {name}", node, Severity.MEDIUM if self._is_program else None)
        elif name in {"__import__", "importlib.import_module"} and _is_worked_out(node, 0):
            words = f"imports a module whose name it works out ({name})"
            self._find("code-hides", words, node, Severity.LOW if name != "__import__" else None)
        elif name == "getattr" and _is_worked_out(node, 1) and self._name(node.args[0]) in _POWERFUL:
            words = f"takes a name it works out from {self._name(node.args[0])}"
            self._find("code-runs", words, node, Severity.MEDIUM if self._is_program else None)
        elif _LOADS.match(name):
            self._judge_load(name, node)
        elif _SENDS.match(name):
            self._sends = self._sends or name
        elif _DECODES.match(name) and any(_is_long(argument) for argument in node.args):
            self._find("code-hides", f"decodes a long text with {name}", node)
        elif isinstance(node.func, ast.Subscript) and _mentions_builtins(node.func):
            self._find("code-hides", "calls something it looks up among the builtins", node)

    def _judge_start(self, name: str, node: ast.Call) -> None:
        """A program is started: which, if that can be told."""
        program = _program(node.args[0]) if node.args else None
        severity: Severity | None = None
        if program in _TOOLS:
            severity = Severity.LOW if self._is_program else Severity.MEDIUM
        elif program is None and (self._is_program or not self._is_of_model):
            severity = Severity.MEDIUM
        self._find("code-runs", f"calls {name} ({program or 'with what it works out'})", node, severity)

    def _judge_run(self, name: str, node: ast.Call) -> None:
        inner = [self._name(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]
        if any(_DECODES.match(one) or _SENDS.match(one) for one in inner):
            self._find("code-hides", f"runs what it decodes or fetches with {name}", node)
        else:
            mild = self._is_program and _is_worked_out(node, 0)
            self._find("code-runs", f"calls {name}", node, Severity.MEDIUM if mild else None)

    def _judge_load(self, name: str, node: ast.Call) -> None:
        fetched = any(
            isinstance(call, ast.Call) and _SENDS.match(self._name(call.func)) for call in ast.walk(node)
        )
        words = f"calls {name}{' on what it fetches' if fetched else ''}"
        self._find("code-unpickles", words, node, Severity.HIGH if fetched else None)

    def _find(self, rule: str, words: str, node: ast.Call, severity: Severity | None = None) -> None:
        self._ledger.add(rule, f"{words} (line {node.lineno})", member=self._member, severity=severity)


_POWERFUL = frozenset(("os", "subprocess", "builtins", "__builtins__", "sys"))


def _is_worked_out(node: ast.Call, place: int) -> bool:
    return len(node.args) > place and not isinstance(node.args[place], ast.Constant)


def _is_long(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and len(str(node.value)) > 200


def _mentions_builtins(node: ast.AST) -> bool:
    return any(
        (isinstance(inner, ast.Constant) and inner.value in {"__builtins__", "__import__", "eval", "exec"})
        or (
            isinstance(inner, ast.Attribute)
            and inner.attr in {"__builtins__", "__globals__", "__subclasses__"}
        )
        for inner in ast.walk(node)
    )


def _program(node: ast.AST) -> str | None:
    """The name of the program in a command; None where it is worked out."""
    words = next(_literal_starts(node), "").split()
    while words and ("=" in words[0] or words[0] == "sudo"):
        words.pop(0)
    return words[0].rsplit("/", 1)[-1] if words else None


def _literal_starts(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]) | ast.JoinedStr(values=[first, *_]):
            yield from _literal_starts(first)
        case ast.BinOp(left=left):
            yield from _literal_starts(left)
        case ast.Attribute(attr="executable"):
            yield "python"
        case ast.Call(func=ast.Attribute(attr="split" | "format", value=inner)):
            yield from _literal_starts(inner)
        case ast.Call(func=ast.Attribute(attr="split"), args=[first, *_]):
            yield from _literal_starts(first)
