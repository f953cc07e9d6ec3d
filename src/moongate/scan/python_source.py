"""Judges Python source by its syntax tree: what it calls, under whatever name it was imported."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

from moongate.scan.ledger import Ledger

MAX_SOURCE_CHARS: Final = 4 << 20

_RUNS = re.compile(
    r"(?:os\.(?:system|popen|exec\w+|spawn\w+|posix_spawn\w*|startfile)|subprocess\.\w+|commands\.\w+|pty\.spawn|"
    r"posix\.\w+|nt\.system|ctypes\.\w+|cffi\.FFI|runpy\.\w+|code\.\w+|builtins\.(?:eval|exec|compile|__import__)|"
    r"eval|exec|execfile|asyncio\.create_subprocess_\w+|platform\.popen|pip\.main|pip\._internal\.\w+|"
    r"marshal\.loads?|socket\.(?:socket|create_connection)|telnetlib\.\w+|paramiko\.\w+|pexpect\.\w+|types\.(?:CodeType|"
    r"FunctionType)|importlib\.machinery\.SourceFileLoader|webbrowser\.open)\Z"
)
_LOADS = re.compile(
    r"(?:pickle|cPickle|_pickle|dill|cloudpickle|shelve|jsonpickle)\.(?:loads?|Unpickler|open|decode)\Z"
)
_SENDS = re.compile(
    r"(?:requests|httpx|aiohttp|urllib3)(?:\.\w+)*\.(?:post|put|request|get|patch|urlopen|Session|ClientSession)\Z|"
    r"urllib\.request\.\w+\Z|http\.client\.\w+\Z|smtplib\.\w+\Z|ftplib\.\w+\Z"
)
_READS = re.compile(r"(?:\.ssh|\.aws|\.netrc|\.kube|\.docker/config|\.git-credentials|/etc/(?:passwd|shadow)|"
                    r"huggingface/token|wallet\.dat|Login Data|id_rsa)")  # fmt: skip
_DECODES = re.compile(r"(?:base64\.\w*decode|zlib\.decompress|codecs\.decode|bytes\.fromhex|binascii\.\w+)\Z")


_CODE = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Call)


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
        self._sends = self._takes = ""

    def read(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        for node in nodes:
            self._learn(node)
        for node in nodes:
            if isinstance(node, ast.Call):
                self._judge_call(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _READS.search(node.value):
                self._takes = self._takes or node.value[:80]
            elif isinstance(node, ast.Attribute | ast.Name) and self._name(node) == "os.environ":
                self._takes = self._takes or "os.environ"
        if self._sends and self._takes:
            words = f"reads {self._takes} and sends something with {self._sends}"
            self._ledger.add("code-exfiltrates", words, member=self._member)

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
            case ast.Call() if self._name(node.func) == "importlib.import_module" and node.args:
                first = node.args[0]
                return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        return ""

    def _judge_call(self, node: ast.Call) -> None:
        name = self._name(node.func)
        if _RUNS.match(name):
            self._find("code-runs", f"calls {name}", node)
        elif (
            name in {"__import__", "importlib.import_module"}
            and node.args
            and not isinstance(node.args[0], ast.Constant)
        ):
            self._find("code-hides", f"imports a module whose name it works out ({name})", node)
        elif (
            name == "getattr"
            and len(node.args) > 1
            and not isinstance(node.args[1], ast.Constant)
            and self._name(node.args[0]) in {"os", "subprocess", "builtins", "__builtins__", "sys"}
        ):
            self._find("code-runs", f"takes a name it works out from {self._name(node.args[0])}", node)
        elif _LOADS.match(name):
            self._find("code-unpickles", f"calls {name}", node)
        elif _SENDS.match(name):
            self._sends = self._sends or name
        elif _DECODES.match(name) and any(
            isinstance(a, ast.Constant) and len(str(a.value)) > 200 for a in node.args
        ):
            self._find("code-hides", f"decodes a long text with {name}", node)

    def _find(self, rule: str, words: str, node: ast.Call) -> None:
        self._ledger.add(rule, f"{words} (line {node.lineno})", member=self._member)


_POWERFUL = frozenset(("os", "subprocess", "builtins", "__builtins__", "sys"))


def _is_worked_out(node: ast.Call, place: int) -> bool:
    return len(node.args) > place and not isinstance(node.args[place], ast.Constant)


def _is_long(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and len(str(node.value)) > 200
