from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from moongate.cli import exits, main
from moongate.core import errors


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make the command line end with this error instead of doing anything."""

    def arrange(error: BaseException) -> None:
        def app(*arguments: Any, **named: Any) -> None:
            raise error

        monkeypatch.setattr(main, "table", lambda rooms: app)

    return arrange


@pytest.mark.parametrize(
    ("error", "exit_code", "message", "hint"),
    [
        (exits.CommandFailed("it broke", hint="mend it", exit_code=4), 4, "it broke", "mend it"),
        (errors.GatedRepo("acme/x is gated", authenticated=False), 3, "acme/x is gated", "ask for access"),
        (errors.UpstreamUnreachable("upstream is silent"), 4, "upstream is silent", "moongate doctor"),
        (errors.BadName("not a repository id"), 2, "not a repository id", "acme/tiny"),
        (PermissionError(13, "Permission denied", "/x"), 1, "Permission denied: /x", None),
    ],
)
def test_an_error_is_one_clear_line_and_a_hint(
    raising: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    exit_code: int,
    message: str,
    hint: str | None,
) -> None:
    raising(error)
    assert main.run(["ls"]) == exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == f"error: {message}"
    assert "Traceback" not in captured.err
    if hint is None:
        assert len(lines) == 1
    else:
        assert lines[1].startswith("hint: ")
        assert hint in lines[1]


def test_a_bug_is_said_to_be_one_and_shows_its_trace_only_when_asked(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(KeyError("lost"))
    assert main.run(["ls"]) == exits.FAILED
    said = capsys.readouterr().err
    assert "this is a bug in Moongate" in said
    assert "KeyError: 'lost'" in said
    assert "--debug" in said
    assert "Traceback" not in said
    assert main.run(["ls", "--debug"]) == exits.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_no_trace(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(KeyboardInterrupt())
    assert main.run(["pull", "acme/tiny"]) == exits.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_wrong_usage_is_2_and_says_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tokn"]) == exits.USAGE
    said = capsys.readouterr().err
    assert "Did you mean 'token'" in said
    assert main.run(["token"]) == exits.USAGE
    assert "`moongate token --help`" in capsys.readouterr().err
    assert main.run(["rm"]) == exits.USAGE
    assert "`moongate rm --help`" in capsys.readouterr().err


def test_debug_after_two_dashes_is_an_argument() -> None:
    assert main._before_separator(["rm", "--", "--debug"]) == ["rm"]


def test_no_words_at_all_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == exits.DONE
    assert "Commands:" in capsys.readouterr().out


def test_the_version_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == exits.DONE
    assert capsys.readouterr().out.startswith("moongate 0.")


def _commands() -> list[list[str]]:
    root: Any = typer.main.get_command(main.table())
    found: list[list[str]] = []

    def walk(command: Any, words: list[str]) -> None:
        for name, child in getattr(command, "commands", {}).items():
            walk(child, [*words, name])
        if not getattr(command, "commands", None):
            found.append(words)

    walk(root, [])
    return found


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_has_help_with_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*words, "--help"]) == exits.DONE
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert f"moongate {' '.join(words)}" in shown.partition("Examples:")[2]


@pytest.mark.parametrize("room", main.ROOMS)
def test_a_room_has_the_commands_that_the_table_says(room: str) -> None:
    root: Any = typer.main.get_command(main.table([room]))
    assert tuple(root.commands) == main.ROOMS[room]


def test_every_room_with_commands_is_in_the_table() -> None:
    folder = Path(main.__file__).parent
    rooms = {file.stem for file in folder.glob("*.py") if "\ndef register(" in file.read_text()}
    rooms |= {door.parent.name for door in folder.glob("*/__init__.py")}
    assert rooms == set(main.ROOMS)


def test_a_command_loads_no_other() -> None:
    code = (
        "import sys\n"
        "from moongate.cli import main\n"
        "assert main.run(['--debug', 'pin', '--help']) == 0\n"
        "loaded = [room for room in main.ROOMS if f'moongate.cli.{room}' in sys.modules]\n"
        "assert loaded == ['pins'], loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HEAVY = ("aiohttp", "alembic", "huggingface_hub", "pydantic", "rich", "sqlalchemy", "structlog", "uvloop")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from moongate.cli import main\n"
        "assert main.run(['--help']) == 0\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_makes_no_noise(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)  # whoever was to read our output is gone before it comes
    done = subprocess.run(
        [sys.executable, "-m", "moongate.cli", "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == exits.FAILED
