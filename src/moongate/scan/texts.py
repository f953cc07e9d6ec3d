"""Judges text: JSON, templates, XML, Python, notebooks, what builds and starts a Space, secrets, "
"hidden letters.

Several of these have no mark of their own; they are told by how the text reads, and each is judged as what it
could be taken for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan import keras, templates, torchscript
from moongate.scan.documents import PROSE, judge_lines, judge_project, judge_target
from moongate.scan.imports import Standing, standing
from moongate.scan.inspection import Inspection, Place
from moongate.scan.ledger import Ledger
from moongate.scan.python_source import judge_python
from moongate.scan.spaces import (
    fetches_and_runs,
    judge_dockerfile,
    judge_requirements,
    judge_shell,
    looks_like_requirements,
)
from moongate.scan.tensors import CODE
from moongate.weights.ranged import Ranged

MAX_TEXT_BYTES: Final = 16 << 20
MAX_NODES: Final = 2_000_000
_XML = re.compile(r"\s*(?:<\?xml|<PMML|<!DOCTYPE|<!ENTITY|<\w+[\s>])", re.IGNORECASE)
_HTML = re.compile(
    r"\s*<(?:!doctype html|html|head|body|div|p|img|script|style|center|h\d|a|br|svg)\b", re.IGNORECASE
)
_DOCKER = re.compile(r"^FROM\s+\S+", re.MULTILINE | re.IGNORECASE)
_DOCKER_STEP = re.compile(r"^(?:RUN|CMD|ENTRYPOINT|COPY|ADD|ENV|WORKDIR)\s", re.MULTILINE | re.IGNORECASE)
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0020-\U000e007f]|[\u200b\u200c\u2060\ufeff]{4,}")
_INJECTION = re.compile(
    r"(?i)(?:ignore|disregard|forget) (?:all |any |the )*(?:previous|prior|above) (?:instructions|prompts)"
)
_SECRETS: Final = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{34}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60,}"),
    "an OpenAI key": re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9_-]{40,}\b"),
    "a Slack token": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{20,}"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a private key": re.compile(r"-----BEGIN (?:RSA |EC |OPENSSH |DSA |PGP )?PRIVATE KEY"),
}
_AWS_SECRET = re.compile(r"(?i)aws.{0,20}secret.{0,20}[=:]\s*['\"][A-Za-z0-9/+=]{40}['\"]")


def scan_text(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger, member = inspection.ledger, place.member
    raw = content.read(ByteSpan(0, MAX_TEXT_BYTES))
    text = _decoded(raw)
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
    if stripped.startswith(("{%", "{{", "{#")) or name.endswith((".jinja", ".jinja2", ".j2", ".template")):
        ledger.saw("template")
        templates.judge_template(text, ledger, member, "the template")
    elif templates.looks_like_template(text) and templates.escapes(text):
        templates.judge_template(text, ledger, member, "the text")
    if _XML.match(text) and (not _HTML.match(text) or text.lstrip().startswith("<svg")):
        _judge_xml(text, ledger, member)
    elif name.startswith("dockerfile") or (
        not name.endswith(PROSE) and _DOCKER.search(text) and _DOCKER_STEP.search(text)
    ):
        ledger.saw("dockerfile")
        judge_dockerfile(text, ledger, member)
    elif stripped.startswith("[") and "\n[" in text:
        judge_project(text, ledger, member)
    elif looks_like_requirements(text):
        ledger.saw("requirements")
        judge_requirements(text, ledger, member)
    elif text.startswith("#!") and re.match(r"#!.*\b(?:ba|z|da)?sh\b", text):
        ledger.saw("shell")
    elif not name.endswith((".md", ".txt", ".csv", ".html", ".yaml", ".yml")) or text.startswith("#!"):
        judge_python(text, ledger, member)


def _could_be_code(head: str) -> bool:
    return not re.match(r"[\d\s.,;:eE+-]+\Z", head)


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    if raw.startswith((b"\x00<", b"<\x00")):
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le", "replace")
    return raw.decode("utf-8", "replace")


def _judge_words(text: str, ledger: Ledger, member: str) -> None:
    for what, pattern in _SECRETS.items():
        if found := pattern.search(text):
            shown = f"{found.group()[:6]}…"
            words = f"holds {what} ({shown})"
            ledger.add(
                "secret", words, member=member, offset=len(text[: found.start()].encode("utf-8", "replace"))
            )
    if _AWS_SECRET.search(text):
        ledger.add("secret", "holds an AWS secret key", member=member)
    if found := _HIDDEN.search(text):
        ledger.add("hidden-text", f"holds the invisible letter U+{ord(found.group()[0]):04X}", member=member)
    if found := _INJECTION.search(text):
        ledger.add("prompt-injection", f"says {found.group()[:80]!r}", member=member)


def _scan_json(text: str, ledger: Ledger, place: Place) -> bool:
    try:
        told = orjson.loads(text)
    except (orjson.JSONDecodeError, RecursionError):
        return False
    ledger.saw("json")
    if isinstance(told, dict) and isinstance(told.get("cells"), list):
        _judge_notebook(told["cells"], ledger, place.member)
        return True
    JsonJudge(ledger, place.member).judge(told)
    return True


_PROSE = frozenset(("content", "text", "description", "prompt", "instruction", "output", "input", "response"))
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
            self._ledger.add("config-code", words, member=self._member)


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


def _judge_notebook(cells: list[object], ledger: Ledger, member: str) -> None:
    ledger.saw("notebook")
    for cell in cells:
        if not isinstance(cell, Mapping) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        lines = source if isinstance(source, list) else str(source).splitlines(keepends=True)
        code = [str(line) for line in lines]
        if code and re.match(r"%%(?:bash|sh|script|cmd|!)", code[0].lstrip()):
            judge_shell("".join(code[1:]), ledger, member)
            continue
        judge_shell(
            "".join(line.lstrip()[1:] for line in code if line.lstrip().startswith("!")), ledger, member
        )
        judge_python(
            "".join(line for line in code if not line.lstrip().startswith(("!", "%"))), ledger, member
        )


def _judge_xml(text: str, ledger: Ledger, member: str) -> None:
    ledger.saw("xml")
    if re.search(r"<!ENTITY|<!DOCTYPE[^>]{0,500}(?:\[|SYSTEM)", text, re.IGNORECASE):
        ledger.add("xml-entity", "declares entities or an external document type", member=member)
    elif re.search(r"<!DOCTYPE", text, re.IGNORECASE):
        ledger.add("xml-entity", "declares a document type", member=member)
    if re.search(r"<\w+:include\s[^>]*\bhref\s*=", text):
        ledger.add("xml-entity", "includes another document", member=member)
    if "<svg" in text[:4096] and re.search(r"<script|\son\w+\s*=|javascript:", text, re.IGNORECASE):
        ledger.add("active-content", "it is a picture with a script", member=member)
