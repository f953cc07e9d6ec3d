"""Judges Python source by its syntax tree: what it calls, under whatever name it was imported.

A file of a model or a dataset is run by whoever loads it with trust_remote_code; it needs no programs. What
serves a page (a Space) or is a program of its own may start the programs that such things start, and asks for
a look where it works out what to start.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from moongate.core.verdicts import Severity
from moongate.scan.ledger import Ledger
from moongate.scan.packages import folded, judge_package
from moongate.scan.python_flows import sent_secrets
from moongate.scan.python_names import Names
from moongate.scan.python_parsing import hiding_encoding, parsed_source
from moongate.scan.shell import judge_command, judge_installs

MAX_SOURCE_CHARS: Final = 1 << 20
"""A tree takes some hundred bytes for each letter, and seconds for each million of them."""


_STARTS = re.compile(
    r"(?:os\.(?:system|popen|exec\w+|spawn\w+|posix_spawn\w*|startfile)|subprocess\.(?!PIPE|DEVNULL|STDOUT)\w+|"
    r"commands\.\w+|pty\.spawn|asyncio\.(?:subprocess\.)?create_subprocess_\w+|platform\.popen|pexpect\.\w+|"
    r"(?:\w+\.)*subprocess_(?:shell|exec)|(?:IPython\.)?get_ipython\.system)\Z"
)
# Of those, what is dangerous in the hands of whoever is given it.
_HANDED = re.compile(
    r"(?:os\.(?:system|popen|exec\w+|spawn\w+|posix_spawn\w*|startfile)|pty\.spawn|"
    r"subprocess\.(?:run|call|check_call|check_output|getoutput|getstatusoutput)|"
    r"(?:builtins\.|__builtins__\.)?(?:eval|exec))\Z"
)
_RUNS = re.compile(
    r"(?:posix\.\w+|nt\.system|runpy\.\w+|code\.(?:interact|Interactive\w+|compile_command)|"
    r"(?:builtins\.|__builtins__\.)?(?:eval|exec|execfile)|(?:builtins|__builtins__)\.(?:compile|__import__)|"
    r"pip\.main|pip\._internal\.\w+|types\.(?:CodeType|FunctionType)|importlib\.machinery\.SourceFileLoader|"
    r"imp\.load_\w+|pdb\.run\w*)\Z"
)
# These run the text that they are given.
_RUNS_TEXT = re.compile(
    r"(?:timeit\.(?:timeit|repeat|Timer)|(?:cProfile|profile|trace|bdb)(?:\.\w+)*\.run\w*)\Z"
)
_TOUCHES = re.compile(
    r"(?:ctypes\.(?!c_|sizeof|byref|POINTER|Structure|util)[\w.]+|cffi\.FFI|marshal\.loads?|paramiko\.\w+|"
    r"socket\.(?:socket|create_connection)|telnetlib\.\w+|webbrowser\.open|pynput\.[\w.]+)\Z"
)
_LOADS = re.compile(
    r"(?:pickle|cPickle|_pickle|dill|cloudpickle|shelve|jsonpickle)\.(?:loads?|Unpickler|open|decode)\Z"
)
# These unpickle or make objects as well; of files beside them they are what every program does.
_LOADS_TOO = re.compile(
    r"torch\.(?:jit\.)?load\Z|joblib\.load\Z|(?:numpy|np)\.load\Z|pandas\.read_pickle\Z|"
    r"yaml\.(?:unsafe_load|full_load|load)(?:_all)?\Z|marshal\.loads\Z"
)
_SENDS = re.compile(
    r"(?:requests|httpx|aiohttp|urllib3)(?:\.\w+)*\.(?:post|put|request|get|patch|urlopen)\Z|"
    r"urllib\.request\.\w+\Z|http\.client\.\w+\Z|smtplib\.\w+\Z|ftplib\.\w+\Z"
)
_READS = re.compile(r"(?:\.ssh/|\.aws/|\.netrc|\.kube/|\.docker/config|\.git-credentials|"
                    r"/proc/self/environ|169\.254\.169\.254|metadata\.google\.internal|"
                    r"/etc/(?:passwd|shadow)|huggingface/token|wallet\.dat|Login Data|/id_rsa|"
                    r"\A(?:\.ssh|\.aws|\.gnupg|id_(?:rsa|dsa|ecdsa|ed25519))\Z)")  # fmt: skip
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


# What runs later because it was written there.
_PERSISTS = re.compile(
    r"\S*(?:\.(?:bashrc|zshrc|profile|bash_profile|bash_login|zprofile)|authorized_keys|/etc/(?:cron\S*|passwd|sudoers\S*|"
    r"ld\.so\.preload)|sitecustomize\.py|usercustomize\.py|LaunchAgents\S*|\.config/(?:systemd|autostart)\S*|"
    r"Startup\S*\.(?:bat|exe|vbs|lnk))\Z"
)
_MODEL_BASE = re.compile(
    r"(?:PreTrainedModel|PretrainedConfig|PreTrainedConfig|PreTrainedTokenizer\w*|GeneratorBasedBuilder|"
    r"ArrowBasedBuilder|DatasetBuilder|BeamBasedBuilder|ProcessorMixin|\w*FeatureExtract\w+|\w*ImageProcess\w+|"
    r"DiffusionPipeline|ModelMixin)\Z"
)
_MODELS_TOOLS = frozenset(
    "git pip pip3 nvidia-smi ffmpeg ffprobe ls which ninja nvcc g++ gcc cmake make unzip tar mkdir cp "  # noqa: SIM905
    "mv python python3 sox espeak espeak-ng lscpu uname".split()
)
_CIPHERS = re.compile(r"cryptography\.fernet|Crypto(?:dome)?\.Cipher|pyAesCrypt|nacl\.secret")


def judge_python(text: str, ledger: Ledger, member: str, *, is_named: bool = True) -> bool:
    """Whether the text is Python; if so, it has been judged.

    is_named: something says that it is. Otherwise what cannot be parsed and reads as prose is none.
    """
    if not text.strip():
        return False
    if len(text) > MAX_SOURCE_CHARS:
        begun = text[: text.rfind("\n", 0, MAX_SOURCE_CHARS) + 1] or text[:MAX_SOURCE_CHARS]
        if is_python := judge_python(begun, ledger, member, is_named=is_named) or is_named:
            ledger.add("too-large", f"only its first {len(begun)} letters were looked at", member=member)
        return is_python
    if encoding := hiding_encoding(text):
        ledger.saw("python")
        words = f"says that it is written in {encoding[:40]!r}, so that it reads as something else"
        ledger.add("code-hides", words, member=member)
        return True
    source = parsed_source(text, may_be_prose=not is_named)
    if source is None or not (source.left_out or _is_code(source.tree)):
        return False
    ledger.saw("python")
    _Reader(ledger, member).read(source.tree)
    for line in source.left_out:
        if found := _WORDS.search(line):
            ledger.add("code-runs", f"calls {found.group(1)}, in a line of another Python", member=member)
    return True


def _is_code(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Call)
        for node in ast.walk(tree)
    )


class _Reader:
    """Follows names to what they were imported as."""

    def __init__(self, ledger: Ledger, member: str) -> None:
        self._ledger = ledger
        self._member = member
        self._names = Names()
        self._sends = self._takes = self._drop = self._persists = ""
        self._is_program = self._is_of_model = False

    def read(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        for node in nodes:
            self._names.learn(node)
        self._is_program = self._serves_or_starts(nodes)
        self._is_of_model = any(name.partition(".")[0] in _MODELS for name in self._names.imported)
        called: set[int] = set()
        for node in nodes:
            if isinstance(node, ast.Call):
                called.add(id(node.func))
                self._judge_call(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._judge_text(node.value)
        self._judge_handed(nodes, called)
        self._judge_environment(nodes)
        if self._sends and self._takes:
            words = f"reads {self._takes} and sends something with {self._sends}"
            self._ledger.add("code-exfiltrates", words, member=self._member)
        for node, secret, sender in sent_secrets(nodes, self._names):
            self._find("code-exfiltrates", f"sends {secret} with {sender}", node)
        self._judge_files(nodes)

    def _judge_handed(self, nodes: list[ast.AST], called: set[int]) -> None:
        """Functions that start or run something and are not called where they stand: others call them."""
        within = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            if id(node) in called or id(node) in within:
                continue
            if not isinstance(node, ast.Attribute | ast.Name | ast.Subscript) or isinstance(
                node.ctx, ast.Store
            ):
                continue
            if isinstance(node, ast.Name) and node.id in self._names.bound:
                continue
            name = self._names.name(node)
            if _HANDED.match(name):
                level = Severity.MEDIUM if self._is_program else None
                words = f"hands {name} on (line {node.lineno})"
                self._ledger.add("code-runs", words, member=self._member, severity=level)

    def _judge_files(self, nodes: list[ast.AST]) -> None:
        """Files that are written where they are run later, and folders that are encrypted or removed."""
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        writes = next((call for call in calls if self._writes(call)), None)
        if self._persists and writes is not None:
            self._find("code-runs", f"writes to {self._persists!r}, which is run later", writes)
        if any(_CIPHERS.match(name) for name in self._names.imported):
            walk = next(
                (call for call in calls if self._names.name(call.func) in {"os.walk", "glob.glob"}), None
            )
            if walk is not None and writes is not None:
                self._find("code-runs", "encrypts the files of a folder", walk)
        for call in calls:
            if self._names.name(call.func) in {"shutil.rmtree", "os.removedirs"} and call.args:
                target = call.args[0]
                inner = target.args[0] if isinstance(target, ast.Call) and target.args else target
                if (self._names.constant(inner) or "") in {"/", "~", "~/", "/home", "C:\\", "C:/", "/*"}:
                    self._find("code-runs", "removes all files", call)

    def _writes(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"write_text", "write_bytes"}:
            return True
        modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
        if isinstance(call.func, ast.Attribute) and call.func.attr == "open":
            modes += call.args[:1]
        return self._names.name(call.func).rpartition(".")[2] == "open" and any(
            set(self._names.constant(mode) or "") & set("wax+") for mode in modes
        )

    def _serves_or_starts(self, nodes: list[ast.AST]) -> bool:
        """Whether this is a page's server or a program of its own, not a part of a model."""
        tops = {name.partition(".")[0] for name in self._names.imported}
        if any(
            _MODEL_BASE.match(self._names.name(base).rpartition(".")[2])
            for node in nodes
            if isinstance(node, ast.ClassDef)
            for base in node.bases
        ):
            return False
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
        if len(text) < 200 and _PERSISTS.match(text):
            self._persists = self._persists or text
        if len(text) > 8:
            judge_command(text, self._ledger, self._member)
            if "install" in text:
                judge_installs(text, self._ledger, self._member)

    def _judge_environment(self, nodes: list[ast.AST]) -> None:
        """The whole environment, or a secret of it that goes to a place where such things are dropped."""
        parents = {id(child): node for node in nodes for child in ast.iter_child_nodes(node)}
        for node in nodes:
            if not isinstance(node, ast.Attribute | ast.Name) or self._names.name(node) != "os.environ":
                continue
            user = parents.get(id(node))
            if isinstance(user, ast.Subscript | ast.Attribute | ast.Compare | ast.Import | ast.ImportFrom):
                continue
            if isinstance(user, ast.keyword) and user.arg == "env":
                continue
            if isinstance(user, ast.Dict | ast.BinOp) or (
                isinstance(user, ast.Call)
                and self._names.name(user.func) in {"dict", "str", "json.dumps", "repr", "list"}
            ):
                self._takes = self._takes or "the whole environment"
        if self._drop and self._sends and any(
            isinstance(node, ast.Constant) and isinstance(node.value, str) and _SECRET_NAME.search(node.value)
            and len(node.value) < 64
            for node in nodes
        ):  # fmt: skip
            self._takes = self._takes or "a secret of the environment"

    def _judge_call(self, node: ast.Call) -> None:  # noqa: PLR0912  (one branch for each kind of call)
        name = self._names.name(node.func)
        if _STARTS.match(name):
            self._judge_start(name, node)
        elif _RUNS.match(name):
            self._judge_run(name, node)
        elif _TOUCHES.match(name):
            self._find("code-runs", f"calls {name}", node, Severity.MEDIUM if self._is_program else None)
        elif _RUNS_TEXT.match(name):
            self._judge_run_text(node)
        elif name in _IMPORTING and self._is_unknown(node, 0):
            words = f"imports a module whose name it works out ({name})"
            self._find("code-hides", words, node, Severity.LOW if name != "__import__" else None)
        elif name == "getattr" and self._is_unknown(node, 1) and self._names.name(node.args[0]) in _POWERFUL:
            words = f"takes a name it works out from {self._names.name(node.args[0])}"
            self._find("code-runs", words, node, Severity.MEDIUM if self._is_program else None)
        elif name in _REACHING and (reached := self._names.constant(node.args[0]) if node.args else None):
            if _REACHED.search(reached):
                self._find("code-runs", f"reaches for {reached[:60]} with {name}", node)
        elif name == "importlib.util.spec_from_file_location":
            path = self._names.constant(node.args[1]) if len(node.args) > 1 else None
            outside = path is not None and path.startswith(("/", "~", "http", "\\"))
            self._find(
                "code-runs", f"loads code from {path or 'a file'}", node, None if outside else Severity.LOW
            )
        elif name == "torch.hub.load":
            self._find("code-runs", f"calls {name}, which fetches and runs code", node, Severity.MEDIUM)
        elif name.rpartition(".")[2] == "setup" and name.partition(".")[0] in {
            "setup",
            "setuptools",
            "distutils",
        }:
            self._judge_setup(node)
        elif _LOADS.match(name) or (_LOADS_TOO.match(name) and self._is_fetched(node)):
            self._judge_load(name, node)
        elif _SENDS.match(name):
            self._sends = self._sends or name
        elif _DECODES.match(name) and any(_is_long(argument) for argument in node.args):
            self._find("code-hides", f"decodes a long text with {name}", node)
        elif isinstance(node.func, ast.Subscript | ast.Attribute) and _mentions_builtins(node.func):
            self._find("code-hides", "calls something it looks up among the builtins", node)

    def _judge_start(self, name: str, node: ast.Call) -> None:
        """A program is started: which, if that can be told."""
        program = self._program(node.args[0]) if node.args else None
        severity: Severity | None = None
        if program in _MODELS_TOOLS or (program in _TOOLS and not self._is_of_model):
            severity = Severity.LOW if self._is_program else Severity.MEDIUM
        elif program in _TOOLS and self._is_program:
            severity = Severity.LOW
        elif program is None and (self._is_program or not self._is_of_model):
            severity = Severity.MEDIUM
        if program in {"python", "python3"} and (inner := self._inline(node)) is not None:
            if not judge_python(inner, self._ledger, self._member):
                self._names.learn(node)
            severity = severity if self._is_program else None
        self._find("code-runs", f"calls {name} ({program or 'with what it works out'})", node, severity)

    def _program(self, node: ast.AST) -> str | None:
        """The name of the program in a command; None where it is worked out."""
        told = self._names.constant(node)
        words = (told if told is not None else next(_literal_starts(node), "")).split()
        while words and ("=" in words[0] or words[0] == "sudo"):
            words.pop(0)
        return words[0].rsplit("/", 1)[-1] if words else None

    def _inline(self, node: ast.Call) -> str | None:
        """The source that an interpreter is started with (`python -c`)."""
        first = node.args[0]
        if isinstance(first, ast.List | ast.Tuple):
            words = [self._names.constant(word) for word in first.elts]
            if "-c" in words:
                return words[words.index("-c") + 1] if words.index("-c") + 1 < len(words) else None
        found = re.search(r"""\s-c\s+(["'])(.*)\1""", self._names.constant(first) or "", re.DOTALL)
        return found.group(2) if found else None

    def _judge_run_text(self, node: ast.Call) -> None:
        for argument in node.args[:2]:
            text = self._names.constant(argument)
            if text and text.strip():
                judge_python(text, self._ledger, self._member)

    def _judge_setup(self, node: ast.Call) -> None:
        """The packages that installing this installs as well."""
        for word in node.keywords:
            if word.arg in {"install_requires", "setup_requires", "extras_require", "tests_require"}:
                for inner in ast.walk(word.value):
                    text = inner.value if isinstance(inner, ast.Constant) else None
                    if isinstance(text, str) and (found := re.match(r"[^\W_][\w.-]*", text)):
                        judge_package(folded(found.group()), self._ledger, self._member)

    def _is_unknown(self, node: ast.Call, place: int) -> bool:
        return len(node.args) > place and self._names.constant(node.args[place]) is None

    def _judge_run(self, name: str, node: ast.Call) -> None:
        inner = [self._names.name(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]
        if any(_DECODES.match(one) or _SENDS.match(one) for one in inner):
            self._find("code-hides", f"runs what it decodes or fetches with {name}", node)
        else:
            mild = self._is_program and _is_worked_out(node, 0)
            self._find("code-runs", f"calls {name}", node, Severity.MEDIUM if mild else None)

    def _is_fetched(self, node: ast.Call) -> bool:
        """Whether a call is given what another one in it fetches."""
        return any(
            isinstance(call, ast.Call) and _SENDS.match(self._names.name(call.func)) is not None
            for call in ast.walk(node)
        )

    def _judge_load(self, name: str, node: ast.Call) -> None:
        fetched = self._is_fetched(node)
        words = f"calls {name}{' on what it fetches' if fetched else ''}"
        self._find("code-unpickles", words, node, Severity.HIGH if fetched else None)

    def _find(self, rule: str, words: str, node: ast.Call, severity: Severity | None = None) -> None:
        self._ledger.add(rule, f"{words} (line {node.lineno})", member=self._member, severity=severity)


_IMPORTING = frozenset(
    ("__import__", "importlib.import_module", "importlib.__import__", "builtins.__import__")
)
_REACHING = frozenset(
    ("operator.attrgetter", "operator.methodcaller", "pkgutil.resolve_name", "pydoc.locate")
)
_REACHED = re.compile(
    r"(?:^|[.:])(?:system|popen|exec\w*|eval|spawn\w*|check_output|Popen|__(?:globals|builtins|subclasses|import|code|closure)__)\Z"
)
_WORDS = re.compile(r"\b((?:os|subprocess|pty)\.\w+|exec|eval|__import__)\s*\(")
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
