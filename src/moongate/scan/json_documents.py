"""Judges JSON: what loaders act on, wherever it stands in a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from moongate.core.verdicts import Severity
from moongate.scan import keras, templates, torchscript
from moongate.scan.decoding import parsed
from moongate.scan.documents import judge_target
from moongate.scan.imports import Standing, standing
from moongate.scan.ledger import Ledger
from moongate.scan.libraries import MODEL_LIBRARIES, TOOLS
from moongate.scan.notebooks import judge_notebook
from moongate.scan.other_graphs import judge_json_graph
from moongate.scan.package_lists import judge_json_sources
from moongate.scan.shell import fetches_and_runs
from moongate.scan.tensors import CODE

MAX_NODES: Final = 2_000_000


def scan_json(text: str, ledger: Ledger, member: str) -> bool:
    """Whether a text is JSON; if so, it has been judged."""
    try:
        told = parsed(text)
    except RecursionError:
        ledger.add("too-deep", "the document is nested deeper than we follow", member=member)
        return True
    except ValueError:
        return False
    ledger.saw("json")
    if judge_notebook(told, ledger, member):
        return True
    JsonJudge(ledger, member).judge(told)
    return True


_PROSE = frozenset(
    "content text description desc prompt instruction output input response question answer code solution "  # noqa: SIM905
    "canonical_solution completion chosen rejected query docs doc docstring summary title body message "
    "textRaw test tests".split()
)
_TARGETS = frozenset(("_target_", "class_path", "()"))
"""What Hydra, jsonargparse and Python's own logging call by its name."""
_PICKLED_KEYS = ("py/object", "py/function", "py/type", "py/class")
"""What jsonpickle imports by."""
_RUN_KEYS = re.compile(
    r"(?i)(?:pre|post)?install|command|cmd|run|script|entrypoint|exec|start|shell|hook|prepare|build"
)


def _when_run(key: str) -> Severity | None:
    return None if _RUN_KEYS.search(key) else Severity.MEDIUM


class JsonJudge:
    """Walks a JSON document for what loaders act on, wherever it stands in it."""

    def __init__(self, ledger: Ledger, member: str) -> None:
        self._ledger = ledger
        self._member = member

    def judge(self, root: object) -> None:
        stack: list[tuple[str, object]] = [("", root)]
        count = 0
        while stack:
            key, node = stack.pop()
            count += 1
            if count > MAX_NODES:
                self._ledger.add(
                    "too-large", "the document has more values than we look at", member=self._member
                )
                return
            if isinstance(node, Mapping):
                self._judge_object(node)
                # What somebody said in a conversation is prose, under whatever key it stands.
                said = "from" in node and "value" in node
                stack.extend(
                    ("content", told) if said and key == "value" else (key, told)
                    for key, told in node.items()
                )
            elif isinstance(node, list):
                stack.extend((key, inner) for inner in node)
            elif isinstance(node, str) and len(node) > 8:
                self._judge_string(key, node)
        if _has_config(root):
            keras.judge_config(root, self._ledger, self._member)

    def _judge_object(self, node: Mapping[str, object]) -> None:
        names = ", ".join(_classes(node))
        if names:
            self._ledger.add("remote-code", f"asks for the classes {names[:200]}", member=self._member)
        if isinstance(node.get("type"), str) and "idx" in node and "path" in node:
            self._judge_module(str(node["type"]))
        parent, base = node.get("parent_library"), node.get("base_model_class")
        if isinstance(parent, str) and isinstance(base, str):
            judge_target(f"{parent}.{base}", self._ledger, self._member)
        if "runOn" in node:
            self._ledger.add("config-code", "an editor runs a task of it by itself", member=self._member)
        judge_json_graph(node, self._ledger, self._member)
        judge_json_sources(node, self._ledger, self._member)
        for key in _PICKLED_KEYS:
            if isinstance(node.get(key), str):
                self._judge_type(*str(node[key]).rpartition(".")[::2])
        module, name = node.get("__module__"), node.get("__class__")
        if isinstance(module, str) and isinstance(name, str):
            self._ledger.saw("skops")
            self._judge_type(module, name)
            inner = node.get("content")
            if isinstance(inner, Mapping) and isinstance(inner.get("module_path"), str):
                self._judge_type(str(inner["module_path"]), str(inner.get("function", "")))

    def _judge_module(self, kind: str) -> None:
        """A part of a model of sentence-transformers, by the class that loads it."""
        judge_target(kind, self._ledger, self._member)
        if kind.partition(".")[0] not in MODEL_LIBRARIES | TOOLS:
            self._ledger.add("remote-code", f"asks for the class {kind[:100]}", member=self._member)

    def _judge_type(self, module: str, name: str) -> None:
        stands = standing(module, name)
        if module in {"builtins", "types", "typing"} and name in {
            "function",
            "type",
            "NoneType",
            "builtin_function_or_method",
        }:
            return
        if stands >= Standing.UNKNOWN_FUNCTION:
            self._ledger.add("schema-type", f"makes {module}.{name}", member=self._member)
        elif stands == Standing.UNKNOWN:
            self._ledger.add("schema-unknown", f"makes {module}.{name}", member=self._member)

    def _judge_string(self, key: str, text: str) -> None:
        if key in _TARGETS:
            judge_target(text, self._ledger, self._member)
        elif key == "target" and text.startswith("torch.ops."):
            torchscript.judge_target(text, self._ledger, self._member)
        elif key not in _PROSE and len(text) < 4096 and (command := fetches_and_runs(text)):
            words = f"{key[:40]!r} runs {command[:80]!r}"
            self._ledger.add("shell-fetch-and-run", words, member=self._member, severity=_when_run(key))
        if templates.looks_like_template(text):
            if "template" in key or key in {"content", "prompt"}:
                self._ledger.saw("template")
                templates.judge_template(text, self._ledger, self._member, f"the template {key[:40]!r}")
            else:
                templates.judge_escapes(text, self._ledger, self._member, f"the text {key[:40]!r}")
        elif len(text) < 4096 and key not in _PROSE and (found := CODE.search(text)):
            words = f"{key[:40]!r} holds {found.group()[:60]!r}"
            is_call = re.match(r"\s*(?:lambda[^:]*:\s*)?__import__\s*\(", text)
            level = Severity.HIGH if is_call else None
            self._ledger.add("config-code", words, member=self._member, severity=level)


def _classes(node: Mapping[str, object]) -> list[str]:
    """Python of a repository that a configuration asks for, in each of the ways that it may."""
    asked = node.get("auto_map")
    values: Iterable[object] = ()
    if isinstance(asked, Mapping):
        values = asked.values()
    elif isinstance(asked, list):
        values = asked
    elif isinstance(asked, str):
        values = (asked,)
    names = [str(value) for value in values if value]
    if isinstance(own := node.get("_class_name"), list) and "_diffusers_version" in node:
        names.append(".".join(str(part) for part in own[:2]))
    pipelines = node.get("custom_pipelines")
    if isinstance(pipelines, Mapping):
        names += [
            str(one["impl"]) for one in pipelines.values() if isinstance(one, Mapping) and "impl" in one
        ]
    return names[:4]


def _has_config(root: object) -> bool:
    stack, count = [root], 0
    while stack and count < 20_000:
        node = stack.pop()
        count += 1
        if keras.is_config(node):
            return True
        if isinstance(node, Mapping):
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return False
