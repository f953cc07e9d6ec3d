"""Every `moongate` command that the README and the pages show is one that can be typed so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from moongate.cli.main import table
from moongate.cli.repos import RepoPattern, parse_wanted

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(?:console|sh|bash|text)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[|(]\s*)((?:[A-Z_]+=\S+ )*moongate .*)")
_OTHERS = re.compile(r"\$\((?!(?:[A-Z_]+=\S+ )*moongate )[^)]*\)")  # what another program says
_ENDS = frozenset({"|", ">", ">>", "&&", ";", ")", "#"})


def _typed(text: str) -> list[list[str]]:
    """The words of each command in a page's blocks, without what a shell takes for itself."""
    found = []
    for block in _BLOCK.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            plain = _OTHERS.sub("WORDS", line.removeprefix("$ ")).replace("$(", "( ")
            match = _COMMAND.search(plain.strip())
            if match is not None:
                found.append(_words(match[1]))
    return [words for words in found if words]


def _words(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|>&;()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if word in _ENDS:
            break
        words.append(word)
    while words and words[0] != "moongate":
        words.pop(0)
    return words[1:]


COMMANDS = sorted(
    {(page.name, *words) for page in PAGES for words in _typed(page.read_text(encoding="utf-8"))}
)


@pytest.fixture(scope="module")
def moongate() -> TyperGroup:
    command = get_command(table())
    assert isinstance(command, TyperGroup)
    return command


@pytest.mark.parametrize("shown", COMMANDS, ids=" ".join)
def test_a_shown_command_can_be_typed(shown: tuple[str, ...], moongate: TyperGroup) -> None:
    command, context, words = moongate, None, list(shown[1:])
    while words and words[0] in getattr(command, "commands", {}):
        context = command.make_context(command.name, [words[0]], parent=context, resilient_parsing=True)
        command, words = command.commands[words[0]], words[1:]
    parsed = command.make_context(command.name, words, parent=context)
    for text in parsed.params.get("repos") or () if command.name == "pull" else ():
        wanted = parse_wanted(text)
        assert not isinstance(wanted, RepoPattern) or wanted.namespace, f"{text} is no repository"
