"""Judges YAML, TOML and scripts by what stands in their lines: objects that a parser makes, what is started.

These need no parser: a tag that makes Python objects, a `_target_` that a framework instantiates, a
dependency, are each one line, wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from moongate.core.verdicts import Severity
from moongate.scan.imports import Standing, standing
from moongate.scan.ledger import Ledger
from moongate.scan.libraries import MODEL_LIBRARIES, STANDARD_MODULES, TOOLS
from moongate.scan.packages import folded, judge_package
from moongate.scan.shell import judge_command, judge_installs
from moongate.scan.spaces import judge_environment, judge_sources

_HARMLESS_TAGS = r"(?:tuple|unicode|str|int|long|bool|float|complex|list|dict|none|bytes)\b"
_PYTHON_TAG = re.compile(
    rf"^[^#`\n]{{0,400}}?(?:!!python/(?!{_HARMLESS_TAGS})|tag:yaml\.org,2002:python/(?!{_HARMLESS_TAGS}\b))[^\s\]}}>]*",
    re.MULTILINE,
)
_FOREIGN_TAG = re.compile(
    r"^[^#`\n]{0,400}?!!?(?:javax?\.|com\.sun\.|org\.spring|ruby/(?:object|hash|struct))", re.MULTILINE
)
_TARGET = re.compile(
    r"""(?:^|[{,\s-])["']?(?:_target_|class_path|\(\))["']?[ \t]*:[ \t]*["']?([\w.]+)""", re.MULTILINE
)
_TARGET_KEYS = ("_target_", "class_path", "()")
# Configurations of diffusion models and NeMo name what they call by a plain word; only what is plain counts.
_PLAIN_TARGET = re.compile(
    r"""^[ \t-]{0,80}["']?target["']?[ \t]*:[ \t]*["']?"""
    r"""((?:os|posix|nt|subprocess|builtins|sys|pty|shutil|importlib|runpy|ctypes|socket|pickle|marshal)"""
    r"""\.[\w.]{1,80})""",
    re.MULTILINE,
)
_LOADER = re.compile(r"""^[ \t]*loader_module\s*:\s*["']?([\w.]+)""", re.MULTILINE)
_ENVIRONMENT = re.compile(r"^dependencies:\s*$", re.MULTILINE)
_PERCENT = re.compile(r"![^\s!]{0,400}%[0-9a-fA-F]{2}")
_EVALUATED = re.compile(
    r"""[:\[,=][ \t]{0,40}["']?[ \t]{0,40}(?:lambda[^:\n]{0,80}:[ \t]{0,9})?"""
    r"""__import__[ \t]{0,9}\([ \t]{0,9}["'\\]"""
)
_FORMULA = re.compile(
    r"""(?:^|[,;\t"]) {0,20}[=+@-][^\n,;|"]{0,60}?"""
    r"""(?:cmd|powershell|mshta|msexcel|rundll32|regsvr32) {0,9}\||"""
    r"""(?:^|[,;\t"]) {0,20}[=+@-] {0,20}DDE {0,9}\(""",
    re.IGNORECASE | re.MULTILINE,
)
_FETCHING_FORMULA = re.compile(
    r"""(?:^|[,;\t"]) {0,20}[=+@-] {0,20}(?:WEBSERVICE|IMPORT(?:XML|DATA|HTML|FEED|RANGE)) {0,9}\(""",
    re.IGNORECASE | re.MULTILINE,
)
_FORMULA_HINT = re.compile(r"(?i)WEBSERVICE|IMPORT(?:XML|DATA|HTML|FEED|RANGE)")
_GIT = re.compile(r"^[ \t]*\[(?:submodule |core\]|remote |credential|filter )", re.MULTILINE)
_GIT_RUNS = re.compile(
    r"""^[ \t]*(?:update[ \t]*=[ \t]*!|(?:url|pushurl|path)[ \t]*=[ \t]*["']?(?:-|ext::)|sshCommand[ \t]*=|"""
    r"""fsmonitor[ \t]*=(?![ \t]*(?:true|false)[ \t]*$)|helper[ \t]*=[ \t]*["']?!|"""
    r"""(?:gitProxy|hooksPath)[ \t]*=)[^\n]*""",
    re.MULTILINE | re.IGNORECASE,
)
_CONTAINER = re.compile(
    r"""^[ \t-]*(?:privileged[ \t]*:[ \t]*true|pid[ \t]*:[ \t]*["']?host|hostPID[ \t]*:[ \t]*true)|"""
    r"""/var/run/docker\.sock|^[ \t]*-[ \t]*["']?/:/""",
    re.MULTILINE,
)
_ANCHOR = re.compile(r"(?<![\w&*])([&*])([A-Za-z_][\w-]{0,63})(?=[\s,\]}]|$)")
_MOST_ANCHORS = 20_000
_HEAVY = 1_000_000
_STARTS_NODE = re.compile(
    r"""require\(\s*["'](?:node:)?child_process["']\s*\)|from\s+["'](?:node:)?child_process["']"""
)
_LIST_BEGINS = re.compile(r"^[^\S\n]*+[\w-]++[^\S\n]*+=[^\S\n]*+\[", re.MULTILINE)
_NAME = re.compile(r"""["']([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]"']*\])?\s*(?:[=<>!~;@(][^"']*)?["']""")
_CALLERS = frozenset(
    f"hydra.utils.{name}" for name in ("get_method", "get_class", "get_object", "call", "instantiate")
)
_FETCHERS = frozenset(("torch.hub.load", "torch.utils.cpp_extension.load", "torch.ops.load_library"))
PROSE: Final = (".md", ".rst", ".txt", ".html", ".htm", ".csv", ".tsv", ".jsonl", ".tex", ".log", ".srt")
_PROSE_NAMES = re.compile(
    r"(?:changelog|changes|news|readme|licen[cs]e|copying|notice|authors|history|todo|\w*faq)(?:\.\w+)?\Z"
)
_TEST_VIRUS = "$EICAR-" + "STANDARD-ANTIVIRUS-TEST-FILE!"


def is_prose(name: str) -> bool:
    """Whether people read what is named so; it may quote what a script would run."""
    return name.endswith(PROSE) or _PROSE_NAMES.match(name) is not None


def judge_lines(text: str, ledger: Ledger, member: str, name: str) -> None:
    """What any text may hold that something acts on. `name`: prose may quote commands, a script runs them."""
    if _TEST_VIRUS in text[:256]:
        ledger.add("malware", "it is the test file of virus scanners", member=member)
    tagged = (
        "" if "!" not in text and "yaml.org" not in text else unquote(text) if _PERCENT.search(text) else text
    )
    if found := _PYTHON_TAG.search(tagged) or _FOREIGN_TAG.search(tagged):
        words = f"a tag makes an object: {found.group().strip()[-100:]!r}"
        ledger.add("yaml-object", words, member=member, offset=found.start())
    for target in dict.fromkeys(_TARGET.findall(text) if any(key in text for key in _TARGET_KEYS) else ()):
        judge_target(target, ledger, member)
    for target in dict.fromkeys(_PLAIN_TARGET.findall(text) if "target" in text else ()):
        judge_target(target, ledger, member)
    for module in dict.fromkeys(_LOADER.findall(text) if "loader_module" in text else ()):
        _judge_loader(module, ledger, member)
    mild = Severity.LOW if is_prose(name) else None
    if not text.lstrip().startswith(("{", "[{")):
        judge_command(text, ledger, member, mild)
        if mild is None:
            judge_installs(text, ledger, member)
    if ("|" in text or "dde" in text.lower()) and (found := _FORMULA.search(text)):
        words = f"a cell starts a program: {found.group().strip()[:60]!r}"
        ledger.add("config-code", words, member=member, severity=Severity.HIGH)
    elif "(" in text and _FORMULA_HINT.search(text) and (found := _FETCHING_FORMULA.search(text)):
        ledger.add("config-code", f"a cell fetches: {found.group().strip()[:60]!r}", member=member)
    if "[" in text and _GIT.search(text) and (found := _GIT_RUNS.search(text)):
        words = f"has git run or use {found.group().strip()[:80]!r}"
        ledger.add("code-runs", words, member=member, offset=found.start())
    if mild is None and "child_process" in text and _STARTS_NODE.search(text):
        ledger.add("active-content", "its script starts programs", member=member)


def judge_settings(text: str, ledger: Ledger, member: str) -> None:
    """YAML and its like: what stands where a value should be, and the packages of an environment."""
    if "__import__" in text and (found := _EVALUATED.search(text)):
        words = f"a value imports: {found.group()[:60]!r}"
        ledger.add("config-code", words, member=member, severity=Severity.HIGH)
    if ("services:" in text or "containers:" in text) and (found := _CONTAINER.search(text)):
        words = f"a container is given its host: {found.group().strip()[:60]!r}"
        ledger.add("config-code", words, member=member)
    if "&" in text and "*" in text and _grows(text):
        words = "a few lines grow to more than a million values"
        ledger.add("document-growth", words, member=member)
    if "dependencies:" in text and _ENVIRONMENT.search(text):
        judge_environment(text, ledger, member)


def _grows(text: str) -> bool:
    """Whether references to references make much of little, as YAML's anchors can."""
    weights: dict[str, int] = {}
    current, weight = "", 1
    for count, found in enumerate(_ANCHOR.finditer(text)):
        if count > _MOST_ANCHORS:
            return False
        kind, name = found.groups()
        if kind == "&":
            weights[current] = max(weight, weights.get(current, 0))
            current, weight = name, 1
        else:
            weight += weights.get(name, 0)
        if weight > _HEAVY:
            return True
    return False


def _judge_loader(module: str, ledger: Ledger, member: str) -> None:
    """The module that MLflow has load a model."""
    top = module.partition(".")[0]
    if top in STANDARD_MODULES:
        ledger.add("schema-type", f"has {module[:100]} load it", member=member)
    elif top not in MODEL_LIBRARIES | TOOLS:
        ledger.add("remote-code", f"has {module[:100]} load it", member=member)


def judge_target(target: str, ledger: Ledger, member: str) -> None:
    """A class or function that a framework calls because a configuration names it."""
    module, _, name = target.rpartition(".")
    top = module.partition(".")[0]
    if target in _FETCHERS:
        ledger.add("config-code", f"has {target} called, which fetches and runs code", member=member)
    elif target in _CALLERS or (top in STANDARD_MODULES and standing(module, name) > Standing.INERT):
        ledger.add("schema-type", f"has {target[:100]} called", member=member)
    elif top in TOOLS:
        ledger.add("config-code", f"has {target[:100]} called", member=member)


def judge_project(text: str, ledger: Ledger, member: str) -> None:
    """The dependencies of a pyproject.toml."""
    judge_sources(text, ledger, member)
    judge_installs(text, ledger, member)
    if not re.search(r"^\[(?:project|build-system|tool\.poetry)", text, re.MULTILINE):
        return
    ledger.saw("pyproject")
    for block in _lists(text):
        for name in _NAME.findall(block):
            judge_package(folded(name), ledger, member)


def _lists(text: str) -> Iterator[str]:
    """What stands in the lists that keys of a TOML text are given, up to the first bracket that closes."""
    at = 0
    while (begun := _LIST_BEGINS.search(text, at)) and (end := text.find("]", begun.end())) >= 0:
        yield text[begun.end() : end]
        at = end + 1
