"""Judges YAML, TOML and scripts by what stands in their lines: objects that a parser makes, what is started.

These need no parser: a tag that makes Python objects, a `_target_` that a framework instantiates, a
dependency, are each one line, wherever it stands.
"""

from __future__ import annotations

import re
from typing import Final

from moongate.core.verdicts import Severity
from moongate.scan.imports import Standing, standing
from moongate.scan.ledger import Ledger
from moongate.scan.libraries import STANDARD_MODULES, TOOLS
from moongate.scan.spaces import fetches_and_runs, judge_package

_HARMLESS_TAGS = r"(?:tuple|unicode|str|int|long|bool|float|complex|list|dict|none|bytes)\b"
_PYTHON_TAG = re.compile(
    rf"^[^#`\n]{{0,400}}?(?:!!python/(?!{_HARMLESS_TAGS})|tag:yaml\.org,2002:python/(?!{_HARMLESS_TAGS}\b))[^\s\]}}>]*",
    re.MULTILINE,
)
_FOREIGN_TAG = re.compile(
    r"^[^#`\n]{0,400}?!!?(?:javax?\.|com\.sun\.|org\.spring|ruby/(?:object|hash|struct))", re.MULTILINE
)
_TARGET = re.compile(r"""^[ \t]*(?:-[ \t]*)?["']?_target_["']?[ \t]*:[ \t]*["']?([\w.]+)""", re.MULTILINE)
_DEPENDENCIES = re.compile(r"^\s*(?:dependencies|requires|[\w-]+)\s*=\s*\[([^\]]*)\]", re.MULTILINE)
_NAME = re.compile(r"""["']([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]"']*\])?\s*(?:[=<>!~;@(][^"']*)?["']""")
PROSE: Final = (".md", ".rst", ".txt", ".html", ".htm", ".csv", ".tsv", ".jsonl", ".tex", ".log", ".srt")
_TEST_VIRUS = "$EICAR-" + "STANDARD-ANTIVIRUS-TEST-FILE!"


def judge_lines(text: str, ledger: Ledger, member: str, name: str) -> None:
    """What any text may hold that something acts on. `name`: prose may quote commands, a script runs them."""
    if _TEST_VIRUS in text[:256]:
        ledger.add("malware", "it is the test file of virus scanners", member=member)
    if found := _PYTHON_TAG.search(text) or _FOREIGN_TAG.search(text):
        words = f"a tag makes an object: {found.group().strip()[-100:]!r}"
        ledger.add("yaml-object", words, member=member, offset=found.start())
    for target in dict.fromkeys(_TARGET.findall(text)):
        judge_target(target, ledger, member)
    if not text.lstrip().startswith(("{", "[")) and (command := fetches_and_runs(text)):
        mild = Severity.LOW if name.endswith(PROSE) else None
        ledger.add("shell-fetch-and-run", f"runs {command[:120]!r}", member=member, severity=mild)


def judge_target(target: str, ledger: Ledger, member: str) -> None:
    """A class or function that a framework calls because a configuration names it."""
    module, _, name = target.rpartition(".")
    top = module.partition(".")[0]
    if top in STANDARD_MODULES and standing(module, name) > Standing.INERT:
        ledger.add("schema-type", f"has {target[:100]} called", member=member)
    elif top in TOOLS:
        ledger.add("config-code", f"has {target[:100]} called", member=member)


def judge_project(text: str, ledger: Ledger, member: str) -> None:
    """The dependencies of a pyproject.toml."""
    if not re.search(r"^\[(?:project|build-system|tool\.poetry)", text, re.MULTILINE):
        return
    ledger.saw("pyproject")
    for block in _DEPENDENCIES.findall(text):
        for name in _NAME.findall(block):
            judge_package(re.sub(r"[-_.]+", "-", name).lower(), ledger, member)
