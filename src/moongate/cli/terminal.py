"""What a command prints: data to stdout, words and progress to stderr.

On a terminal a table has headings and columns; into a pipe the same cells go as tab-separated lines,
without headings, never cut off. Colours follow NO_COLOR and the terminal (Rich's rules).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moongate.core.sizes import shown_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_PIPE_COLUMNS = 120


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading, where its cells lean, and whether they stay on one line."""

    heading: str
    justify: Literal["left", "right"] = "left"
    whole: bool = False


def say(words: str) -> None:
    """A line of words, to stderr."""
    print(words, file=sys.stderr)  # noqa: T201


def put(line: str) -> None:
    """A line of data, to stdout."""
    print(line)  # noqa: T201


def put_json(document: object) -> None:
    """A JSON document, to stdout; keys stay in the order given."""
    put(json.dumps(document, indent=2, ensure_ascii=False))


def put_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    for_eyes: bool = False,
) -> None:
    """A table on a terminal, tab-separated lines into a pipe; with `for_eyes`, a table into a pipe, too."""
    if not (for_eyes or sys.stdout.isatty()):
        for row in rows:
            put("\t".join(row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column.heading, justify=column.justify, overflow="fold", no_wrap=column.whole)
    for row in rows:
        table.add_row(*(_literal(cell) for cell in row))
    screen = console(stderr=False)
    with screen.capture() as drawn:
        screen.print(table)
    for line in drawn.get().strip("\n").splitlines():
        put(line.rstrip())


def put_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values, one pair a line."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        put(f"{name:<{width}}  {value}" if sys.stdout.isatty() else f"{name}\t{value}")


def console(*, stderr: bool = True) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _PIPE_COLUMNS)


def size(size_bytes: float) -> str:
    """`1.5 GiB`: three digits at most, exact below 1 KiB."""
    return shown_size(size_bytes)


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`, `2 repositories`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def confirm(question: str) -> bool:
    """Ask on the terminal; no answer means no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    answer = sys.stdin.readline()
    return answer.strip().lower() in ("y", "yes")


def may_ask() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Bars:
    """Progress of things measured in bytes: live bars on a terminal, one line per finished thing elsewhere.

    Names are told apart by their text. `close` may be called twice.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def update(self, name: str, done_bytes: int, total_bytes: int) -> None:
        """`name` stands at `done_bytes` of `total_bytes`; the first call makes its bar."""
        if not self._live:
            return
        progress = self._started()
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = progress.add_task(_literal(name), total=total_bytes)
        progress.update(task, completed=done_bytes, total=total_bytes)

    def finish(self, name: str, words: str) -> None:
        """`name` is done: its bar goes, and a line stays."""
        task = self._tasks.pop(name, None)
        if task is not None:
            self._started().remove_task(task)
        self.note(words)

    def note(self, words: str) -> None:
        """A line that stays, above the bars."""
        if self._quiet:
            return
        if self._live:
            self._started().console.print(_literal(words))
        else:
            say(words)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _started(self) -> Progress:
        if self._progress is None:
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=console(),
                transient=True,
            )
            self._progress.start()
        return self._progress


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Bars]:
    """Bars that are taken down whatever happens, so that an error message stands on its own line."""
    shown = Bars(quiet=quiet)
    try:
        yield shown
    finally:
        shown.close()


def _literal(text: str) -> str:
    """Text that Rich prints as it is, square brackets included."""
    return text.replace("[", "\\[")
