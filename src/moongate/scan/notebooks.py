"""Judges notebooks: the code of all cells together, commands among it, and pages in what was printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from moongate.scan.active_documents import script_that_acts
from moongate.scan.ledger import Ledger
from moongate.scan.python_source import judge_python
from moongate.scan.shell import judge_shell

_SHELL_CELL = re.compile(r"%%(?:bash|sh|script|cmd|!|perl|ruby|javascript|js|html)\b")
_PAGE_CELL = re.compile(r"%%(?:javascript|js|html)\b")
_COMMAND = re.compile(r"^([ \t]*)(?:\w[\w, ]*=[ \t]*)?(?:!!?|%(?:system|sx|pip|conda|run)\b)(.*)$")
_MAGIC = re.compile(r"^([ \t]*)%{1,2}\w.*$|^([ \t]*)\?{1,2}.*$")


def judge_notebook(told: object, ledger: Ledger, member: str) -> bool:
    """Whether a JSON document is a notebook; if so, it has been judged."""
    cells = list(_cells(told))
    if not cells:
        return False
    ledger.saw("notebook")
    code: list[str] = []
    commands: list[str] = []
    for cell in cells:
        lines = _lines(cell.get("source", cell.get("input", "")))
        if cell.get("cell_type") != "code":
            _judge_page("".join(lines), ledger, member)
            continue
        if lines and _SHELL_CELL.match(lines[0].lstrip()):
            commands += lines[1:]
            if _PAGE_CELL.match(lines[0].lstrip()):
                _judge_page("<script>" + "".join(lines[1:]), ledger, member)
            continue
        for line in lines:
            if found := _COMMAND.match(line):
                commands.append(f"{_command(line, found.group(2))}\n")
                code.append(f"{found.group(1)}pass\n")
            elif found := _MAGIC.match(line):
                code.append(f"{found.group(1) or found.group(2) or ''}pass\n")
            else:
                code.append(line)
        code.append("\n")
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            _judge_page(_shown(output), ledger, member)
    judge_shell("".join(commands), ledger, member)
    judge_python("".join(code), ledger, member)
    return True


def _command(line: str, words: str) -> str:
    """`%pip install x` is what `!pip install x` is."""
    return f"pip {words}" if re.match(r"\s*%pip\b", line) else words


def _cells(told: object) -> Iterator[Mapping[str, object]]:
    """The cells, of old versions as well, whose notebooks have sheets."""
    if not isinstance(told, Mapping):
        return
    sheets = told.get("worksheets")
    for holder in [told, *(sheets if isinstance(sheets, list) else [])]:
        cells = holder.get("cells") if isinstance(holder, Mapping) else None
        if isinstance(cells, list):
            yield from (cell for cell in cells if isinstance(cell, Mapping) and "cell_type" in cell)


def _lines(source: object) -> list[str]:
    whole = "".join(map(str, source)) if isinstance(source, list) else str(source)
    lines = whole.splitlines(keepends=True)
    return [*lines[:-1], lines[-1].rstrip("\n") + "\n"] if lines else []


def _shown(output: object) -> str:
    data = output.get("data") if isinstance(output, Mapping) else None
    if not isinstance(data, Mapping):
        return ""
    pages = (data.get(kind) for kind in ("text/html", "image/svg+xml", "application/javascript"))
    return "\n".join(
        "".join(map(str, page)) if isinstance(page, list) else str(page) for page in pages if page
    )


def _judge_page(page: str, ledger: Ledger, member: str) -> None:
    if found := script_that_acts(page):
        words = f"a page in it runs {found[:60]!r}"
        ledger.add("active-content", words, member=member)
