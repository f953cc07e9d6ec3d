from __future__ import annotations

import io
import json

import pytest

from moongate.cli import terminal
from moongate.cli.terminal import Column


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (150 << 20, "150 MiB"),
        (90_868_376, "86.7 MiB"),
        (1000 << 20, "1.0 GiB"),
        (5 << 60, "5120 PiB"),
    ],
)
def test_sizes_are_short(size_bytes: int, words: str) -> None:
    assert terminal.size(size_bytes) == words


def test_counts_have_the_right_ending() -> None:
    assert terminal.count(1, "file") == "1 file"
    assert terminal.count(0, "file") == "0 files"
    assert terminal.count(2, "repository") == "2 repositories"


def test_a_table_in_a_pipe_is_tab_separated_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    long = "acme/" + "x" * 300
    terminal.put_table([Column("repository"), Column("size", "right")], [[long, "1 B"], ["a", "[red]"]])
    assert capsys.readouterr().out == f"{long}\t1 B\na\t[red]\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_on_a_terminal_has_headings_and_keeps_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    terminal.put_table([Column("repository")], [["acme/[bold]tiny"]])
    shown = screen.getvalue()
    assert "repository" in shown
    assert "acme/[bold]tiny" in shown
    assert "\x1b[3" not in shown  # no colour


def test_json_keeps_its_order_and_its_letters(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.put_json({"b": 1, "a": "né"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"b": 1, "a": "né"}
    assert out.index('"b"') < out.index('"a"')
    assert "né" in out


def test_progress_without_a_terminal_is_one_line_per_finished_thing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal.bars() as shown:
        shown.update("a.bin", 1, 2)
        shown.update("a.bin", 2, 2)
        shown.finish("a.bin", "a.bin 2 B")
    captured = capsys.readouterr()
    assert captured.err == "a.bin 2 B\n"
    assert captured.out == ""


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.bars(quiet=True) as shown:
        shown.update("a.bin", 1, 2)
        shown.finish("a.bin", "a.bin 2 B")
    assert capsys.readouterr().err == ""
