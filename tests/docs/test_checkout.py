"""What the files of the project may not say, and what every room must have."""

from __future__ import annotations

import ast
import configparser
import json
import re
import socket
import subprocess
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from moongate import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "moongate"
PINNED = [ROOT / "constraints.txt", *sorted((ROOT / "tests/clients/requirements").glob("*.txt"))]

# In pieces, so that this file does not say what it forbids.
MACHINE_PATH = re.compile(r"/(?:work/(?:main|shared)|tmp/farm|opt/(?:wheels|pypi)|root/)")
REGISTRY = re.compile(
    r"pypi\.(?:org|python)|pythonhosted|npmjs\.|yarnpkg\.|--(?:extra-)?index-url|--find-links"
)


@cache
def project_files() -> list[Path]:
    """The files git keeps, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and file != Path(__file__).resolve()]


def lines_with(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    """`file:line: text` for every line that matches; what is not text is passed over."""
    found = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return found


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    assert lines_with(MACHINE_PATH, project_files()) == []


def test_no_file_names_a_package_index() -> None:
    assert lines_with(REGISTRY, project_files()) == []


@pytest.mark.parametrize("file", PINNED, ids=lambda file: file.name)
def test_a_pinned_list_has_exact_versions_and_nothing_else(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    odd = [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.]*", line)]
    assert odd == []
    names = [line.partition("==")[0] for line in lines]
    assert len(names) == len(set(names))


def test_the_constraints_pin_everything_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    for file in (ROOT / "requirements").glob("*.in"):
        asked += [line for line in file.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    names = {re.split(r"[\[<>=~! ]", one, maxsplit=1)[0].lower().replace("_", "-") for one in asked}
    pinned = {line.partition("==")[0] for line in PINNED[0].read_text(encoding="utf-8").splitlines()}
    assert names - pinned == set()


def test_the_javascript_lock_names_no_host() -> None:
    lock = json.loads((ROOT / "tests/clients/js/package-lock.json").read_text(encoding="utf-8"))
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert [name for name, facts in packages.items() if "resolved" in facts] == []
    assert [name for name, facts in packages.items() if "integrity" not in facts] == []


def rooms() -> list[Path]:
    return sorted(folder for folder in PACKAGE.iterdir() if folder.is_dir() and any(folder.rglob("*.py")))


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_a_room_says_what_it_gives_and_stands_on_a_floor(room: Path) -> None:
    door = room / "__init__.py"
    assert door.is_file(), "a room without __init__.py is not checked by import-linter"
    assert ast.get_docstring(ast.parse(door.read_text(encoding="utf-8"))), "its door says nothing"
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    floors = contracts["importlinter:contract:floors"]["layers"]
    alone = contracts["importlinter:contract:double-stands-alone"]["source_modules"]
    assert re.search(rf"\bmoongate\.{room.name}\b", floors + alone), "on no floor of .importlinter"
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"**{room.name}**" in architecture, "not in docs/architecture.md"


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[(Unreleased|{re.escape(__version__)})\]", changelog, re.MULTILINE)


def test_a_test_that_reaches_beyond_this_machine_fails() -> None:
    with pytest.raises(BaseException, match="a test asked for the address of"):
        socket.getaddrinfo("huggingface.co", 443)
    with pytest.raises(BaseException, match="a test connected to"):
        socket.create_connection(("192.0.2.1", 443), timeout=1)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("hub.example", 443)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(unheard.getsockname(), timeout=1)
