"""Parses Python as far as it can be: of another version of Python, or with lines that are none.

Whoever judges source by its tree must not be blind because one line of it is newer or older than the Python
that judges; such lines are left out, and what they call is looked for by words.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import Final

MOST_REPAIRS: Final = 40
_REPAIRED_CHARS = 2 << 20
_LOOKS_LIKE = re.compile(
    r"^[ \t]*(?:import\s+[\w., ]+|from\s+[\w.]+\s+import\s|def\s+\w+\s*\(|class\s+\w+\s*[(:]|@\w|"
    r"print\s|exec\s*\()",
    re.MULTILINE,
)
# Five words in a row, with nothing between them that a program would have there.
_SENTENCE = re.compile(
    r"[ \t]*(?:[*+-] |\d+[.)] )?(?!(?:from|import|if|elif|for|while|with|return|assert|del|global)\b)"
    r"[\"'(]?\w[\w'./-]*[,.:;)\"']{0,2}(?: [\"'(]?\w[\w'./-]*[,.:;)\"'!?]{0,2}){4,}"
)
_MOST_LINES = 5000
_COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_PLAIN_ENCODINGS = re.compile(
    r"(?:utf-?8(?:-sig|-unix)?|us-ascii|ascii|latin-?[12]|iso-?8859-?\d+|l1|(?:windows|cp)-?(?:125\d|437|85\d|932|949)|"
    r"gbk|gb2312|gb18030|big5|shift_?jis|euc[-_]\w+|koi8-\w|mac-roman)\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """What could be parsed, and the lines that could not."""

    tree: ast.Module
    left_out: tuple[str, ...]


def hiding_encoding(text: str) -> str | None:
    """The encoding that a source says it is in, where that makes other letters of those that stand there."""
    for line in text.splitlines()[:2]:
        if (found := _COOKIE.match(line)) is not None:
            name = found.group(1).replace("_", "-")
            return None if _PLAIN_ENCODINGS.match(name) else name
    return None


def parsed_source(text: str, *, may_be_prose: bool = False) -> Source | None:
    """The tree of a source; None where it does not even look like Python.

    may_be_prose: sentences that hold lines of Python are none, either.
    """
    tree, error = _parsed(text)
    if tree is not None:
        return Source(tree, ())
    if not _LOOKS_LIKE.search(text) or (may_be_prose and _is_prose(text)):
        return None
    lines = text.splitlines()
    left_out: list[str] = []
    for _ in range(max(2, min(MOST_REPAIRS, _REPAIRED_CHARS // len(text)))):
        place = min(max((error.lineno or 1) if error else 1, 1), len(lines)) - 1
        while place > 0 and not lines[place].strip():
            place -= 1
        line = lines[place]
        if line.strip() in {"", "pass"}:
            break
        left_out.append(line)
        lines[place] = line[: len(line) - len(line.lstrip())] + "pass"
        tree, error = _parsed("\n".join(lines))
        if tree is not None:
            return Source(tree, tuple(left_out))
    return Source(_pieces(lines), tuple(left_out + lines))


def _is_prose(text: str) -> bool:
    """Whether a quarter of the lines are sentences, or parts of one; hardly a line of a program is."""
    lines = [
        line for line in text.splitlines()[:_MOST_LINES] if line.strip() and not line.lstrip().startswith("#")
    ]
    return 4 * sum(_SENTENCE.match(line) is not None for line in lines) > len(lines)


def _parsed(text: str) -> tuple[ast.Module | None, SyntaxError | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text), None
    except SyntaxError as error:
        return None, error
    except (ValueError, RecursionError, MemoryError):
        return None, None


def _pieces(lines: list[str]) -> ast.Module:
    """The trees of those lines that are statements on their own."""
    body: list[ast.stmt] = []
    for number, line in enumerate(lines[:5000]):
        if line[:1].strip() and len(line) < 4096:
            tree, _ = _parsed(line)
            body += (ast.increment_lineno(statement, number) for statement in (tree.body if tree else ()))
    return ast.Module(body, [])
