"""Writes the reference parts of docs/settings.md and docs/cli.md from what the program itself knows.

    .venv/bin/python scripts/reference.py            write them (`make reference`)
    .venv/bin/python scripts/reference.py --check    only say whether they are current

What people wrote around the two markers stays as it is. The tests in tests/docs call the same functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from moongate.app.settings import setting_rows
from moongate.cli.main import table

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN = "<!-- reference: begin (make reference) -->"
END = "<!-- reference: end -->"
WIDTH_COLUMNS = 100


def settings_reference() -> str:
    """A Markdown table, one row for each setting, in the order of the settings themselves."""
    lines = ["| name | default | unit | what it does |", "|---|---|---|---|"]
    for row in setting_rows():
        words = row.help.replace("|", r"\|")
        lines.append(f"| `{row.name}` | {_default(row.default)} | {row.unit} | {words} |")
    return "\n".join(lines)


def _default(value: object) -> str:
    match value:
        case None | () | "":
            return "not set"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`{','.join(value)}`"
        case int() if value and value % (1 << 20) == 0:
            return f"`{value}` ({_binary(value)})"
        case _:
            return f"`{value}`"


def _binary(size_bytes: int) -> str:
    whole_gib, rest = divmod(size_bytes, 1 << 30)
    return f"{whole_gib} GiB" if whole_gib and not rest else f"{size_bytes >> 20} MiB"


def command_paths() -> list[tuple[str, ...]]:
    """Every command a user may type, groups included: `()` is moongate itself."""
    return list(_walk(get_command(table()), ()))


def _walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    commands: Mapping[str, object] = getattr(command, "commands", {})
    for name, inner in commands.items():
        if not getattr(inner, "hidden", False):
            yield from _walk(inner, (*path, name))


def help_of(path: tuple[str, ...]) -> str:
    """What `moongate <path> --help` prints on a terminal of a set width.

    Raises:
        RuntimeError: the command could not even print its help.
    """
    environment = {"COLUMNS": str(WIDTH_COLUMNS), "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(
        table(), [*path, "--help"], prog_name="moongate", env=environment, terminal_width=WIDTH_COLUMNS
    )
    if result.exit_code != 0:
        raise RuntimeError(f"moongate {' '.join(path)} --help exited with {result.exit_code}")
    return "\n".join(line.rstrip() for line in result.stdout.strip("\n").splitlines())


def cli_reference() -> str:
    """One section a command, with its help as it is printed."""
    sections = []
    for path in command_paths():
        title = " ".join(("moongate", *path))
        sections.append(f"## `{title}`\n\n```text\n{help_of(path)}\n```")
    return "\n\n".join(sections)


PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_reference, "cli.md": cli_reference}


def reference_in(page: Path) -> str:
    """The text between the markers of a page.

    Raises:
        ValueError: the page has no markers.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page.name} must have each marker once: {BEGIN} … {END}")
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def main(arguments: list[str]) -> int:
    stale = [name for name, make in PAGES.items() if reference_in(DOCS / name) != make()]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is stale; run: make reference", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        page = DOCS / name
        text = page.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(f"{before}{BEGIN}\n\n{PAGES[name]()}\n\n{END}{after}", encoding="utf-8")
        print(f"wrote docs/{name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    for name in [name for name in os.environ if name.startswith("MOONGATE_")]:
        del os.environ[name]
    sys.exit(main(sys.argv[1:]))
