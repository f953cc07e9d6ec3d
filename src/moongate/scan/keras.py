"""Judges Keras configurations wherever they lie: JSON in a `.keras` zip, in HDF5, in metadata of a "
"SavedModel.

A configuration names classes and functions that Keras imports and calls. Those of Keras itself may pass;
anything from another module, any Lambda and any file name that is read while loading may not.
"""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan.ledger import Ledger
from moongate.scan.libraries import STANDARD_MODULES
from moongate.weights.ranged import Ranged

MAX_NODES: Final = 500_000
MAX_TEXTS: Final = 10_000
_STEP_BYTES = 8 << 20
_LONGEST_CONFIG = 4 << 20
_LIBRARIES = frozenset(("keras", "tf_keras", "keras_nlp", "keras_cv", "keras_hub", "keras_core"))
_PARTS = frozenset(
    [
        "layers",
        "optimizers",
        "losses",
        "metrics",
        "initializers",
        "regularizers",
        "constraints",
        "activations",
        "models",
        "engine",
        "backend",
        "dtype_policies",
        "mixed_precision",
        "ops",
        "random",
        "quantizers",
        "applications",
        "legacy",
        "src",
        "api",
        "v2",
        "python",
        "saving_lib",
        "preprocessing",
        "schedules",
        "experimental",
        "keras",
        "functional",
        "sequential",
        "keras_tensor",
        "samplers",
        "tokenizers",
    ]
)
_RUNNING = frozenset(("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"))
_LOOKUPS = frozenset(["StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup", "Hashing"])
_FUNCTION_PARTS = frozenset(
    "activations losses metrics initializers regularizers constraints ops random quantizers math nn".split()  # noqa: SIM905
)
# What TensorFlow keeps there touches files, calls Python, or loads what others made.
_BUSY_FUNCTION = re.compile(
    r"(?:tf\.|tensorflow\.)?(?:compat\.v\d\.)?(?:io|py_func\w*|numpy_function|raw_ops|load_\w+|saved_model|data|"
    r"train|summary|estimator|distribute|tpu|profiler|autograph|lookup)\b"
)
_COMPUTING = frozenset(("abs", "max", "min", "pow", "round", "sum"))
_FILE_KEYS = (
    "vocabulary",
    "vocabulary_file",
    "vocab_file",
    "merges",
    "proto",
    "filepath",
    "file_path",
    "origin",
)
_PATH = re.compile(r"[/\\]|^~|^\w+:|\.[a-z][a-z0-9]{1,7}\Z", re.IGNORECASE)
_BUILTIN_VALUES = frozenset(("function", "__tuple__", "__numpy__", "__tensor__", "__ellipsis__", "__none__"))
# A letter that JSON need not escape, escaped, hides what it spells.
_CONFIG = re.compile(rb"class_name|\\u00[2-7][0-9a-fA-F]")
_BINARY = re.compile(rb"[^\x20-\x7e\x80-\xff\t\r\n]")
_NAMED = re.compile(r"""["'](class_name|module)["']\s*:\s*["']([^"']{1,200})["']""")
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_LINE = re.compile(
    r"""^[ \t-]*[\"']?class_name[\"']?\s*:\s*[\"']?(Lambda|TorchModuleWrapper|TFSMLayer)\b""", re.MULTILINE
)
_MOST_BRACES = 64


def is_config(node: object) -> bool:
    return (
        isinstance(node, Mapping)
        and isinstance(node.get("class_name"), str)
        and ("config" in node or "module" in node)
    )


def judge_config(root: object, ledger: Ledger, member: str) -> None:
    """Every class and function that a configuration names, however deep."""
    ledger.saw("keras")
    stack, seen = [root], 0
    while stack:
        node = stack.pop()
        seen += 1
        if seen > MAX_NODES:
            ledger.add("too-large", "the configuration is absurdly large", member=member)
            return
        if isinstance(node, Mapping):
            if isinstance(node.get("class_name"), str):
                for rule, words in _judge_node(node):
                    ledger.add(rule, words, member=member)
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _judge_node(node: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    name, module, config = str(node["class_name"]), node.get("module"), node.get("config")
    short = _last(name)
    for one in {short, _last(str(node.get("registered_name")))}:
        if one in _RUNNING:
            yield "keras-code", f"a {one} layer carries code or calls another library"
    if isinstance(module, str) and module and not _is_kerass(module, name):
        named = config if name == "function" and isinstance(config, str) else name
        yield "keras-code", f"names {module}.{str(named)[:80]}"
    elif isinstance(module, str) and name != "function" and name[:1].islower() and module != "builtins":
        yield "keras-code", f"names the function {module}.{name[:80]}"
    if name == "function" and isinstance(config, str) and not _is_function(str(module or ""), config):
        yield "keras-code", f"names the function {config[:80]}"
    if isinstance(config, Mapping):
        yield from _judge_files(short, config)
        called = config.get("function")
        if short.endswith("OpLambda") and isinstance(called, str) and _BUSY_FUNCTION.match(called):
            yield "keras-code", f"a {short} layer calls tf.{called[:80]}"
        for key in ("function", "fn"):
            if isinstance(config.get(key), list) and short != "Lambda":
                yield "keras-code", f"{short} carries code in {key!r}"


def _last(name: str) -> str:
    return name.rsplit(">", 1)[-1].rsplit(".", 1)[-1]


def _is_function(module: str, name: str) -> bool:
    """Whether a function is one that Keras computes with; its other functions load and fetch."""
    if module in {"", "builtins"}:
        return not hasattr(builtins, name.partition(".")[0]) or name in _COMPUTING
    return any(part in _FUNCTION_PARTS for part in module.split(".")) and "." not in name


def _judge_files(short: str, config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key in _FILE_KEYS:
        value = config.get(key)
        if isinstance(value, str) and (short in _LOOKUPS or _PATH.search(value)):
            yield "keras-file", f"{short} reads the file {value[:120]!r} while loading"


def _is_kerass(module: str, name: str) -> bool:
    top, *parts = module.split(".")
    if module == "builtins":
        return name in _BUILTIN_VALUES
    if top == "tensorflow":
        return "keras" in parts and all(part in _PARTS or part == "python" for part in parts[:3])
    if top not in _LIBRARIES:
        return False
    return not parts or (
        parts[0] in _PARTS and (parts[0] not in {"src", "api"} or len(parts) < 2 or parts[1] in _PARTS)
    )


def judge_embedded(content: Ranged, ledger: Ledger, member: str) -> bool:
    """Configurations that lie as text between binary data; whether there were any."""
    at, texts = 0, 0
    while at < content.size_bytes:
        data = content.read(ByteSpan(at, at + _STEP_BYTES + 10))
        low = 0
        while (found := _CONFIG.search(data, low)) is not None:
            place = found.start()
            texts += 1
            if texts > MAX_TEXTS:
                ledger.add("too-large", "there are more configurations than we look at", member=member)
                return True
            text = _ends(content, data, place, at)
            _judge_text(text, max(low, _begins(data, place, low)), place, ledger, member)
            low = max(place + 10, len(text))
        at += _STEP_BYTES
    return texts > 0


def _begins(data: bytes, place: int, low: int) -> int:
    """Where the text that holds this place begins."""
    begins = max(low, place - _LONGEST_CONFIG)
    for found in _BINARY.finditer(data, begins, place):
        begins = found.end()
    return begins


def _printable_end(data: bytes, place: int) -> int:
    found = _BINARY.search(data, place)
    return found.start() if found else len(data)


def _ends(content: Ranged, data: bytes, place: int, at: int) -> bytes:
    """The data up to where the text ends, read further if it goes on."""
    end = _printable_end(data, place)
    if end == len(data) and at + end < content.size_bytes:
        data += content.read(ByteSpan(at + end, at + end + _LONGEST_CONFIG))
        end = _printable_end(data, place)
    return data[:end]


def _judge_text(data: bytes, begins: int, place: int, ledger: Ledger, member: str) -> None:
    """The configuration around a place: from the first brace that opens one; by its words if none does."""
    brace = data.find(b"{", begins, place)
    for _ in range(_MOST_BRACES):
        if brace < 0:
            break
        text = data[brace:].decode("utf-8", "replace")
        try:
            told, length = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            told, length = None, 0
        if length and brace + len(text[:length].encode("utf-8", "surrogatepass")) > place:
            judge_config(told, ledger, member)
            return
        brace = data.find(b"{", brace + 1, place)
    _judge_words(data[begins:].decode("utf-8", "replace"), ledger, member)


def _judge_words(text: str, ledger: Ledger, member: str) -> None:
    plain = _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), text)
    for key, value in dict.fromkeys(_NAMED.findall(plain)):
        if key == "class_name" and _last(value) in _RUNNING:
            ledger.add("keras-code", f"a {_last(value)} layer carries code", member=member)
        elif key == "module" and value.partition(".")[0] in STANDARD_MODULES and value != "builtins":
            ledger.add("keras-code", f"names the module {value[:80]}", member=member)


def judge_keras_lines(text: str, ledger: Ledger, member: str) -> None:
    """A configuration in YAML, which old versions of Keras load."""
    if "class_name" in text and (found := _LINE.search(text)):
        ledger.add("keras-code", f"a {found.group(1)} layer carries code", member=member)
