"""Every setting and every command is in the docs, as the program itself tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moongate.app.settings import SettingRow, setting_rows
from reference import PAGES, command_paths, help_of, reference_in

DOCS = Path(__file__).resolve().parents[2] / "docs"
UNITS = {"bytes", "seconds"}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_page_is_current(name: str) -> None:
    assert reference_in(DOCS / name) == PAGES[name](), f"docs/{name} is stale; run: make reference"


@pytest.mark.parametrize("row", setting_rows(), ids=lambda row: row.name)
def test_a_setting_explains_itself(row: SettingRow) -> None:
    assert row.help.endswith("."), "the help is missing, or not a sentence"
    last_word = row.name.rsplit("_", 1)[-1]
    if last_word in UNITS:
        assert row.unit == last_word


@pytest.mark.parametrize("path", command_paths(), ids=lambda path: " ".join(path) or "moongate")
def test_a_command_explains_itself(path: tuple[str, ...]) -> None:
    usage, _, rest = help_of(path).partition("\n\n")
    assert usage.strip().startswith("Usage: moongate")
    first_words = rest.strip().partition("\n")[0].strip()
    assert first_words, "a command without help"
    assert not first_words.endswith(":"), "the help goes straight to the options"


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            found = (page.parent / target).resolve()
            assert found.is_file(), f"{page.name} links to {target}, which is not there"
            if found.is_relative_to(DOCS):
                waiting.append(found)
    assert set(DOCS.rglob("*.md")) == reached
