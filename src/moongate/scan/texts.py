"""Judges text: JSON, templates, XML, Python, notebooks, what builds and starts a Space, secrets, "
"hidden letters.

Several of these have no mark of their own; they are told by how the text reads, and each is judged as what it
could be taken for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan import keras, templates, torchscript
from moongate.scan.decoding import decoded, parsed
from moongate.scan.documents import PROSE, judge_lines, judge_project, judge_settings, judge_target
from moongate.scan.graphs import judge_graph_text
from moongate.scan.imports import Standing, standing
from moongate.scan.inspection import Inspection, Place
from moongate.scan.ledger import Ledger
from moongate.scan.notebooks import judge_notebook
from moongate.scan.python_source import judge_python
from moongate.scan.secrets import find_secrets
from moongate.scan.shell import fetches_and_runs, judge_shell
from moongate.scan.spaces import judge_dockerfile, judge_requirements, looks_like_requirements
from moongate.scan.tensors import CODE
from moongate.weights.ranged import Ranged

MAX_TEXT_BYTES: Final = 16 << 20
MAX_NODES: Final = 2_000_000
_TEMPLATES = (".jinja", ".jinja2", ".j2", ".template")
_NO_PYTHON = (".md", ".txt", ".csv", ".html", ".yaml", ".yml")
_XML = re.compile(
    r"\s*(?:<!--(?:(?!-->)[\s\S]){0,20000}-->\s*|<\?(?!xml\s)[^>]{0,2000}>\s*)*"
    r"(?:<\?xml|<PMML|<!DOCTYPE|<!ENTITY|<\w+[\s>])",
    re.IGNORECASE,
)
_XML_ENCODING = re.compile(r"""\s*<\?xml[^>]{0,200}\bencoding\s*=\s*["']([^"']{1,60})""")
_ENCODINGS = re.compile(
    r"(?:utf-?(?:8|16|32)(?:-?[lb]e)?|us-ascii|ascii|latin-?1|iso-?8859-?\d+|(?:windows|cp)-?125\d|koi8-\w|"
    r"gb\w+|big5|shift_?jis|euc-\w+)\Z",
    re.IGNORECASE,
)
_XML_CALLS = re.compile(
    r"""=\s*["'](?:https?://xml\.apache\.org/x(?:alan|slt)/java|java:|https?://icl\.com/saxon|"""
    r"https?://php\.net/xsl|urn:schemas-microsoft-com:xslt)|<msxsl:script",
    re.IGNORECASE,
)
_HTML = re.compile(
    r"\s*<(?:!doctype html|html|head|body|div|p|img|script|style|center|h\d|a|br|svg)\b", re.IGNORECASE
)
_DOCKER = re.compile(r"^FROM\s+\S+", re.MULTILINE | re.IGNORECASE)
_DOCKER_STEP = re.compile(r"^(?:RUN|CMD|ENTRYPOINT|COPY|ADD|ENV|WORKDIR)\s", re.MULTILINE | re.IGNORECASE)
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0020-\U000e007f]|[\u200b\u200c\u2060\ufeff]{4,}")
_INJECTION = re.compile(
    r"(?i)(?:ignore|disregard|forget) (?:all |any |the )*(?:previous|prior|above) (?:instructions|prompts)"
)


def scan_text(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger, member = inspection.ledger, place.member
    raw = content.read(ByteSpan(0, MAX_TEXT_BYTES))
    text = decoded(raw)
    if content.size_bytes > MAX_TEXT_BYTES and _could_be_code(text[:4096]):
        ledger.add("too-large", f"only its first {MAX_TEXT_BYTES} bytes were looked at", member=member)
    _judge_words(text, ledger, member)
    judge_lines(text, ledger, member, place.name.lower())
    if place.is_torch and torchscript.is_code(member):
        torchscript.judge_torchscript(text, ledger, member)
    stripped = text.lstrip("\ufeff \t\r\n")
    if (
        stripped[:1] in {"{", "["}
        and not stripped.startswith(("{%", "{{", "{#"))
        and _scan_json(text, ledger, place)
    ):
        return
    name = place.name.lower()
    is_template = stripped.startswith(("{%", "{{", "{#")) or name.endswith(_TEMPLATES)
    if is_template:
        ledger.saw("template")
        templates.judge_template(text, ledger, member, "the template")
    judge_graph_text(text, ledger, member)
    keras.judge_keras_lines(text, ledger, member)
    if _XML.match(text) and (not _HTML.match(text) or text.lstrip().startswith("<svg")):
        _judge_xml(text, ledger, member)
    elif _judge_source(text, ledger, member, name):
        return
    if not is_template and templates.looks_like_template(text) and templates.escapes(text):
        templates.judge_template(text, ledger, member, "the text")


def _judge_source(text: str, ledger: Ledger, member: str, name: str) -> bool:
    """What could be run or built, as each of the things that it could be taken for; whether it is Python."""
    if name.startswith("dockerfile") or (
        not name.endswith(PROSE) and _DOCKER.search(text) and _DOCKER_STEP.search(text)
    ):
        ledger.saw("dockerfile")
        judge_dockerfile(text, ledger, member)
    if text.lstrip().startswith("["):
        judge_project(text, ledger, member)
    if looks_like_requirements(text, name):
        ledger.saw("requirements")
        judge_requirements(text, ledger, member)
    if re.match(r"#!.*\b(?:ba|z|da)?sh\b", text):
        ledger.saw("shell")
        judge_shell(text, ledger, member)
    is_python = (not name.endswith(_NO_PYTHON) or text.startswith("#!")) and judge_python(
        text, ledger, member
    )
    if not is_python and not name.endswith(PROSE):
        judge_settings(text, ledger, member)
    return is_python


def _could_be_code(head: str) -> bool:
    return not re.match(r"[\d\s.,;:eE+-]+\Z", head)


def _judge_words(text: str, ledger: Ledger, member: str) -> None:
    for what, shown, at in find_secrets(text):
        words = f"holds {what} ({shown})"
        ledger.add("secret", words, member=member, offset=len(text[:at].encode("utf-8", "replace")))
    if found := _HIDDEN.search(text):
        ledger.add("hidden-text", f"holds the invisible letter U+{ord(found.group()[0]):04X}", member=member)
    if found := _INJECTION.search(text):
        ledger.add("prompt-injection", f"says {found.group()[:80]!r}", member=member)


def _scan_json(text: str, ledger: Ledger, place: Place) -> bool:
    try:
        told = parsed(text)
    except RecursionError:
        ledger.add("too-deep", "the document is nested deeper than we follow", member=place.member)
        return True
    except ValueError:
        return False
    ledger.saw("json")
    if judge_notebook(told, ledger, place.member):
        return True
    JsonJudge(ledger, place.member).judge(told)
    return True


_PROSE = frozenset(("content", "text", "description", "prompt", "instruction", "output", "input", "response"))
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
                stack.extend(node.items())
            elif isinstance(node, list):
                stack.extend((key, inner) for inner in node)
            elif isinstance(node, str) and len(node) > 8:
                self._judge_string(key, node)
        if _has_config(root):
            keras.judge_config(root, self._ledger, self._member)

    def _judge_object(self, node: Mapping[str, object]) -> None:
        if isinstance(node.get("auto_map"), Mapping):
            names = ", ".join(str(value) for value in list(node["auto_map"].values())[:4])  # type: ignore[attr-defined]
            self._ledger.add("remote-code", f"asks for the classes {names[:200]}", member=self._member)
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
        if key == "_target_":
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
            elif templates.escapes(text):
                templates.judge_template(text, self._ledger, self._member, f"the text {key[:40]!r}")
        elif len(text) < 4096 and key not in _PROSE and (found := CODE.search(text)):
            words = f"{key[:40]!r} holds {found.group()[:60]!r}"
            is_call = re.match(r"\s*(?:lambda[^:]*:\s*)?__import__\s*\(", text)
            level = Severity.HIGH if is_call else None
            self._ledger.add("config-code", words, member=self._member, severity=level)


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


def _judge_xml(text: str, ledger: Ledger, member: str) -> None:
    ledger.saw("xml")
    if re.search(r"<!ENTITY|<!DOCTYPE[^>]{0,500}(?:\[|SYSTEM)", text, re.IGNORECASE):
        ledger.add("xml-entity", "declares entities or an external document type", member=member)
    elif re.search(r"<!DOCTYPE(?!\s+(?:html|svg)\b)", text, re.IGNORECASE):
        ledger.add("xml-entity", "declares a document type", member=member)
    if re.search(r"<\w+:include\s[^>]*\bhref\s*=", text):
        ledger.add("xml-entity", "includes another document", member=member)
    if (found := _XML_ENCODING.match(text)) and not _ENCODINGS.match(found.group(1)):
        words = f"is written as {found.group(1)[:40]}, which hides what it declares"
        ledger.add("xml-entity", words, member=member)
    if found := _XML_CALLS.search(text):
        ledger.add("schema-type", f"calls a program by {found.group()[:80]!r}", member=member)
    if "<svg" in text[:4096] and re.search(r"<script|\son\w+\s*=|javascript:", text, re.IGNORECASE):
        ledger.add("active-content", "it is a picture with a script", member=member)
