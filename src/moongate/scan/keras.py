"""Judges Keras configurations wherever they lie: JSON in a `.keras` zip, in HDF5, in metadata of a "
"SavedModel.

A configuration names classes and functions that Keras imports and calls. Those of Keras itself may pass;
anything from another module, any Lambda and any file name that is read while loading may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan.ledger import Ledger
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
_DANGEROUS_FUNCTIONS = (
    "exec",
    "eval",
    "compile",
    "open",
    "__import__",
    "system",
    "popen",
    "getattr",
    "input",
)
_BUILTIN_VALUES = frozenset(("function", "__tuple__", "__numpy__", "__tensor__", "__ellipsis__", "__none__"))
# A letter that JSON need not escape, escaped, hides what it spells.
_CONFIG = re.compile(rb"class_name|\\u00[2-7][0-9a-fA-F]")
_BINARY = re.compile(rb"[^\x20-\x7e\t\r\n]")


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
    short = name.rsplit(">", 1)[-1].rsplit(".", 1)[-1]
    if short in _RUNNING:
        yield "keras-code", f"a {short} layer carries code or calls another library"
    if name == "function" and config in _DANGEROUS_FUNCTIONS:
        yield "keras-code", f"names the function {config}"
    if isinstance(module, str) and module and not _is_kerass(module, name):
        named = config if name == "function" and isinstance(config, str) else name
        yield "keras-code", f"names {module}.{str(named)[:80]}"
    elif isinstance(module, str) and name != "function" and name[:1].islower() and module != "builtins":
        yield "keras-code", f"names the function {module}.{name[:80]}"
    if isinstance(config, Mapping):
        if short in _LOOKUPS and isinstance(config.get("vocabulary"), str):
            yield "keras-file", f"{short} reads the file {str(config['vocabulary'])[:120]!r} while loading"
        for key in ("function", "fn"):
            if isinstance(config.get(key), list) and short != "Lambda":
                yield "keras-code", f"{short} carries code in {key!r}"


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
            start = _begins(data, place, low)
            text = _ends(content, data, place, at)
            _judge_text(text[start:], ledger, member)
            low = max(place + 10, len(text))
        at += _STEP_BYTES
    return texts > 0


def _begins(data: bytes, place: int, low: int) -> int:
    begins = max(low, place - _LONGEST_CONFIG)
    for found in _BINARY.finditer(data, begins, place):
        begins = found.end()
    brace = data.find(b"{", begins, place)
    return brace if brace >= 0 else begins


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


def _judge_text(raw: bytes, ledger: Ledger, member: str) -> None:
    text = raw.decode("ascii", "replace")
    try:
        told, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        for found in re.finditer(r"class_name\W{1,8}(\w+)", text):
            if found.group(1) in _RUNNING:
                ledger.add("keras-code", f"a {found.group(1)} layer carries code", member=member)
        return
    judge_config(told, ledger, member)
