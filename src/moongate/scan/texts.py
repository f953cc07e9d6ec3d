"""Judges text: JSON, templates, XML, Python, notebooks, what builds and starts a Space, secrets, "
"hidden letters.

Several of these have no mark of their own; they are told by how the text reads, and each is judged as what it
could be taken for.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.scan import keras, templates, torchscript
from moongate.scan.active_documents import judge_desktop_text, judge_page, judge_rtf
from moongate.scan.decoding import decoded
from moongate.scan.documents import is_prose, judge_lines, judge_project, judge_settings
from moongate.scan.graphs import judge_graph_text
from moongate.scan.inspection import Inspection, Place
from moongate.scan.json_documents import scan_json
from moongate.scan.ledger import Ledger
from moongate.scan.other_graphs import judge_openvino
from moongate.scan.package_lists import judge_package_sources
from moongate.scan.python_source import judge_python
from moongate.scan.secrets import find_secrets
from moongate.scan.shell import judge_shell
from moongate.scan.spaces import judge_dockerfile, judge_requirements, looks_like_requirements
from moongate.scan.spelt_pickles import judge_spelt_pickles
from moongate.weights.ranged import Ranged

MAX_TEXT_BYTES: Final = 16 << 20
_TEMPLATES = (".jinja", ".jinja2", ".j2", ".template")
_SHELL = (".sh", ".bash", ".zsh")
_NO_TEMPLATE = (".tex", ".srt", ".log", ".rst")
_PYTHON = (".py", ".pyw", ".pyi", ".pth", ".pyx")
_NO_PYTHON = (
    ".md", ".txt", ".csv", ".html", ".yaml", ".yml", ".rst", ".htm", ".tsv", ".tex", ".log", ".srt", ".xml",
    ".json", ".jsonl", ".ndjson",
)  # fmt: skip
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
_HIDDEN = re.compile(
    "[\u202a-\u202e\u2066-\u2069\U000e0020-\U000e007f]|\u00ad{3,}|[\U000e0100-\U000e01ef]{3,}|"
    "[\u200b\u200c\u2060-\u2064\ufeff\u3164\u115f\u1160\uffa0]{4,}"
)
_INJECTION = re.compile(
    r"(?i)(?:ignore|disregard|forget|override) (?:all |any |the |your |my |these ){0,4}"
    r"(?:previous|prior|above|earlier|preceding) (?:instructions|prompts|rules|messages)"
)


def scan_text(inspection: Inspection, content: Ranged, place: Place) -> None:
    ledger, member = inspection.ledger, place.member
    raw = content.read(ByteSpan(0, MAX_TEXT_BYTES))
    text = decoded(raw)
    if content.size_bytes > MAX_TEXT_BYTES and _could_be_code(text[:4096]):
        ledger.add("too-large", f"only its first {MAX_TEXT_BYTES} bytes were looked at", member=member)
    _judge_words(text, ledger, member)
    judge_lines(text, ledger, member, place.name.lower())
    judge_spelt_pickles(text, ledger, member)
    judge_rtf(text, ledger, member)
    judge_desktop_text(text, ledger, member)
    if place.is_torch and torchscript.is_code(member):
        torchscript.judge_torchscript(text, ledger, member)
    stripped = text.lstrip("\ufeff \t\r\n")
    if (
        stripped[:1] in {"{", "["}
        and not stripped.startswith(("{%", "{{", "{#"))
        and scan_json(text, ledger, place.member)
    ):
        return
    name = place.name.lower()
    judge_package_sources(text, ledger, member, name)
    is_template = stripped.startswith(("{%", "{{", "{#")) or name.endswith(_TEMPLATES)
    if is_template:
        ledger.saw("template")
        templates.judge_template(text, ledger, member, "the template")
    judge_graph_text(text, ledger, member)
    keras.judge_keras_lines(text, ledger, member)
    if _XML.match(text) and (not _HTML.match(text) or text.lstrip().startswith("<svg")):
        _judge_xml(text, ledger, member)
        judge_openvino(text, ledger, member)
    elif _judge_source(text, ledger, member, name):
        return
    if name.endswith(".md") or _HTML.match(text):
        judge_page(text, ledger, member)
    if not is_template and not name.endswith(_NO_TEMPLATE) and templates.looks_like_template(text):
        templates.judge_escapes(text, ledger, member, "the text")


def _judge_source(text: str, ledger: Ledger, member: str, name: str) -> bool:
    """What could be run or built, as each of the things that it could be taken for; whether it is Python."""
    if name.startswith("dockerfile") or (
        not is_prose(name) and _DOCKER.search(text) and _DOCKER_STEP.search(text)
    ):
        ledger.saw("dockerfile")
        judge_dockerfile(text, ledger, member)
    if text.lstrip().startswith("["):
        judge_project(text, ledger, member)
    if looks_like_requirements(text, name):
        ledger.saw("requirements")
        judge_requirements(text, ledger, member)
    if name.endswith(_SHELL) or re.match(r"#!.*\b(?:ba|z|da)?sh\b", text):
        ledger.saw("shell")
        judge_shell(text, ledger, member)
    may_be = text.startswith("#!") or not (name.endswith(_NO_PYTHON) or is_prose(name))
    is_python = may_be and judge_python(text, ledger, member, is_named=name.endswith(_PYTHON))
    if not is_python and not is_prose(name):
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


def _judge_xml(text: str, ledger: Ledger, member: str) -> None:
    ledger.saw("xml")
    begun = islice(
        re.finditer(r"<!(?:ENTITY|DOCTYPE[^>]{0,500}(?=\[|SYSTEM)|DOCTYPE)", text, re.IGNORECASE), 100
    )
    if any(found.group()[2:].upper() != "DOCTYPE" for found in begun):
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
