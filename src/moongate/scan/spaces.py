"""Judges what builds a Space: Dockerfile, requirements, and the other files that name packages."""

from __future__ import annotations

import re

from moongate.scan.ledger import Ledger
from moongate.scan.packages import folded, is_popular, judge_address, judge_index, judge_package
from moongate.scan.shell import judge_options, judge_shell

_NAME = re.compile(r"([^\W_][\w.-]*)\s*(?:\[[^\]]*\])?\s*((?:[=<>!~]=?=?|===)[^#;]*)?(?:;.*|#.*)?\Z")
_OPTION = re.compile(r"-{1,2}[a-z][\w-]*")
_LISTED = re.compile(r"^[ \t]*-[ \t]+([^\W_][\w.-]*)(?:\[[^\]\n]*\])?\s*[=<>~!][^\n]*$", re.MULTILINE)
_SOURCE = re.compile(r"^\[\[(?:tool\.(?:poetry\.source|uv\.index)|source|index)\]\][^\[]*", re.MULTILINE)
_URL = re.compile(r"""^[ \t]*url[ \t]*=\s*["']([^"']+)["']""", re.MULTILINE)
_TABLE = re.compile(
    r"^\[(?:packages|dev-packages|tool\.poetry\.(?:[\w.-]+\.)?dependencies)\]([^\[]*)", re.MULTILINE
)
_KEY = re.compile(r"""^["']?([^\W_][\w.-]*)["']?\s*=""", re.MULTILINE)
_INSTALL_REQUIRES = re.compile(r"^(?:install|setup)_requires\s*=([^\n]*(?:\n[ \t]+[^\n]*)*)", re.MULTILINE)


def judge_dockerfile(text: str, ledger: Ledger, member: str) -> None:
    judge_shell(text, ledger, member)
    if re.search(r"^ADD\s+https?://\S+\s", text, re.MULTILINE | re.IGNORECASE):
        ledger.add("image-fetches", "adds a file from an address without a checksum", member=member)


def looks_like_requirements(text: str, name: str) -> bool:
    """Most lines are packages with versions, or options of pip; one at least, or the name, says so."""
    lines = [line.split(" #")[0].strip() for line in text.splitlines()[:2000]]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or len(lines) > 1000:
        return False
    fitting = sum(
        bool(_NAME.match(line) or _OPTION.match(line) or " @ " in line or "://" in line) for line in lines
    )
    clear = re.match(r"(?:\w*requirements?|constraints)[\w.-]*\.(?:txt|in|pip)\Z", name) is not None or any(
        re.search(r"[=<>~]=", line) or line.startswith(("--", "-r ", "-i ", "git+")) or is_popular(line)
        for line in lines
    )
    return clear and fitting >= 0.8 * len(lines)


def judge_requirements(text: str, ledger: Ledger, member: str) -> None:
    for line in text.replace("\\\n", "").replace("\\\r\n", "").splitlines():
        words = line.split(" #")[0].strip()
        if words.startswith(("-e", "--editable")) and "://" in words:
            judge_address(words, ledger, member)
        elif words.startswith("-"):
            judge_options(words, ledger, member)
        elif "git+" in words or re.search(r"@\s*(?:https?|file)://", words) or re.match(r"https?://", words):
            judge_address(words, ledger, member)
        elif found := _NAME.match(words):
            judge_package(folded(found.group(1)), ledger, member)


def judge_environment(text: str, ledger: Ledger, member: str) -> None:
    """The packages of a conda environment, those for pip among them."""
    for name in _LISTED.findall(text):
        judge_package(folded(name), ledger, member)
    for_pip = False
    for line in text.splitlines():
        words = line.strip().removeprefix("- ").strip("\"'")
        if words.startswith("--"):
            judge_options(words, ledger, member)
        elif not line.startswith(" ") and not line.startswith("-"):
            for_pip = False
        elif words == "pip:":
            for_pip = True
        elif for_pip and (found := _NAME.match(words)):
            judge_package(folded(found.group(1)), ledger, member)


def judge_sources(text: str, ledger: Ledger, member: str) -> None:
    """Where Poetry, uv and Pipenv take packages from, and the packages of their tables and of setup.cfg."""
    for block in _SOURCE.findall(text):
        for address in _URL.findall(block):
            judge_index(address, ledger, member)
    for block in _TABLE.findall(text):
        for name in _KEY.findall(block):
            judge_package(folded(name), ledger, member)
    for block in _INSTALL_REQUIRES.findall(text):
        for line in block.splitlines():
            if found := _NAME.match(line.strip()):
                judge_package(folded(found.group(1)), ledger, member)
