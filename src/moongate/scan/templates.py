"""Judges chat templates: Jinja that clients render, in a sandbox if they are careful.

Only the code between the braces is looked at, token by token. What a template for a conversation needs is a
short list; reaching for underscored attributes, or building their names, is how sandboxes are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from moongate.scan.ledger import Ledger

MAX_TEMPLATE_CHARS: Final = 1 << 20
_LONGEST_PIECE_CHARS = 2000
_MOST_SEARCHED_CHARS = 8 << 20

_OPENS = re.compile(r"\{\{|\{%|\{#")
_STEP = re.compile(
    r"""\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[^\"'\[\](){}%]+|.""",
    re.DOTALL,
)
_OPEN_BRACKETS = frozenset("([{")
_CLOSED_BRACKETS = frozenset(")]}")
_RAW_ENDS = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_CORE = frozenset(
    "class mro subclasses globals builtins base bases init getattribute import".split()  # noqa: SIM905
)
_TOKEN = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|([^\W\d]\w*)|(\d[\w.]*)|(\*\*|//|[^\s\w])""", re.DOTALL
)
_DUNDER = re.compile(
    r"__\w+__|__(?:class|mro|base|bases|subclasses|globals|builtins|import|init|getattr|dict|code|self|reduce)\b"
)
_FRAGMENT = re.compile(r"__[a-z]+\Z|[a-z]+__\Z")
_COMMAND = re.compile(
    r"\b(?:os\.(?:system|popen)|subprocess\.|__import__|/etc/passwd|curl\s+http|import\s+os\b)"
)
_LOADING_TAGS = frozenset(["import", "from", "include", "extends"])
_REACHING = frozenset(
    [
        "self",
        "request",
        "config",
        "cycler",
        "joiner",
        "lipsum",
        "url_for",
        "get_flashed_messages",
        "session",
        "g",
        "application",
        "current_app",
        "os",
        "sys",
        "subprocess",
        "popen",
        "eval",
        "exec",
        "open",
        "compile",
        "getattr",
        "setattr",
        "globals",
        "locals",
        "vars",
        "dir",
        "importlib",
        "builtins",
        "socket",
        "environ",
        "shutil",
        "pickle",
        "marshal",
        "ctypes",
        "type",
        "object",
        "input",
        "breakpoint",
        "file",
        "requests",
        "urllib",
    ]
)
_RUNNING = frozenset(
    [
        "popen",
        "Popen",
        "system",
        "check_output",
        "getoutput",
        "from_string",
        "import_string",
        "mro",
        "subclasses",
        "func_globals",
        "gi_frame",
        "gi_code",
        "cr_frame",
        "f_globals",
        "f_builtins",
        "f_locals",
        "tb_frame",
        "co_code",
        "import_module",
        "func_code",
        "im_func",
        "im_self",
    ]
)
_MODULES = frozenset(("subprocess", "importlib", "builtins", "posix", "ctypes", "socket"))
_METHODS = frozenset(
    [
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "splitlines",
        "startswith",
        "endswith",
        "replace",
        "upper",
        "lower",
        "title",
        "capitalize",
        "join",
        "items",
        "keys",
        "values",
        "get",
        "append",
        "extend",
        "insert",
        "pop",
        "update",
        "index",
        "count",
        "find",
        "rfind",
        "isdigit",
        "isalpha",
        "isnumeric",
        "is_integer",
        "removeprefix",
        "removesuffix",
        "partition",
        "rpartition",
        "cycle",
        "copy",
        "sort",
        "reverse",
        "zfill",
        "ljust",
        "rjust",
        "center",
        "strftime",
        "isoformat",
        "isspace",
        "isupper",
        "islower",
        "isalnum",
        "tojson",
        "setdefault",
        "encode",
        "decode",
        "swapcase",
    ]
)


class TooMuch(Exception):
    """A text, which is no template, holds too much that looks like code of one."""


def judge_template(text: str, ledger: Ledger, member: str, where: str) -> None:
    """Findings about one template. `where`: how it is called in words."""
    if len(text) > MAX_TEMPLATE_CHARS:
        ledger.add("too-large", f"{where} is absurdly long", member=member)
        return
    assigned = _assigned(text)
    for code in _pieces(text):
        for rule, words in _judge_piece(code, assigned):
            ledger.add(rule, f"{where} {words}", member=member, evidence={"code": code.strip()[:300]})
    for rule, words in _judge_whole(text):
        ledger.add(rule, f"{where} {words}", member=member)


def looks_like_template(text: str) -> bool:
    """Whether a text may be one; what is no text at all holds braces by chance, and no loader renders it."""
    return ("{%" in text or "{{" in text) and text.count("\ufffd") * 20 <= len(text)


def judge_escapes(text: str, ledger: Ledger, member: str, where: str) -> None:
    """As `judge_template`, of a text of any kind, when its code reaches for what templates must not have."""
    try:
        if _escapes(text):
            judge_template(text, ledger, member, where)
    except TooMuch:
        ledger.add("too-large", f"{where} holds more braces than we look at", member=member)


def _escapes(text: str) -> bool:
    pieces = (_judge_piece(code, frozenset()) for code in _pieces(text, _LONGEST_PIECE_CHARS))
    return any(
        rule == "template-escape"
        for found in (*pieces, _judge_whole(text, _LONGEST_PIECE_CHARS))
        for rule, _ in found
    )


def _pieces(text: str, longest: int | None = None) -> Iterator[str]:
    """The code between braces, as Jinja divides it: marks inside of strings and brackets are none.

    longest: what is longer, or has no end, only looks like code.

    Raises:
        TooMuch: there is more that looks like code than anybody would write.
    """
    at, ended, left = 0, frozenset[str](), _MOST_SEARCHED_CHARS
    while (found := _OPENS.search(text, at)) is not None:
        opening, at = found.group(), found.end()
        if opening == "{#":
            end = -1 if "#}" in ended else text.find("#}", at)
            at, ended = (end + 2, ended) if end >= 0 else (at, ended | {"#}"})
            continue
        limit = len(text) if longest is None else min(len(text), at + longest)
        mark = "}}" if opening == "{{" else "%}"
        if longest is not None:
            if text.find(mark, at, limit) < 0:
                continue
            left -= limit - at
            if left < 0:
                raise TooMuch
        end = _closes(text, at, limit, mark)
        if longest is not None and end == limit:
            continue
        code = text[at:end].strip("-+ \n\t\r")
        at = end + 2
        yield code
        if opening == "{%" and code == "raw" and "raw" not in ended:
            over = _RAW_ENDS.search(text, at)
            at, ended = (over.end(), ended) if over else (at, ended | {"raw"})


def _closes(text: str, at: int, limit: int, mark: str) -> int:
    """Where the code that begins there ends; the limit if it does not before."""
    depth = 0
    for found in _STEP.finditer(text, at, limit):
        step = found.group()
        if depth <= 0 and text.startswith(mark, found.start()):
            return found.start()
        depth += (step in _OPEN_BRACKETS) - (step in _CLOSED_BRACKETS)
    return limit


def _judge_whole(text: str, longest: int | None = None) -> Iterator[tuple[str, str]]:
    """Names that are put together over several pieces of code."""
    texts: set[str] = set()
    multiplies = formats = repeats = False
    for code in _pieces(text, longest):
        tokens = [found.group() for found in _TOKEN.finditer(code)]
        for place, token in enumerate(tokens):
            after = tokens[place + 1] if place + 1 < len(tokens) else ""
            if token[:1] in {"'", '"'}:
                texts.add(_decoded(token[1:-1]))
                multiplies = multiplies or (after == "*" and token[1:-1].strip("_") == "")
            repeats = repeats or (after == "*" and token.isidentifier())
            formats = formats or (token in {"format", "format_map"} and after == "(")
    multiplies = multiplies or (repeats and "_" in texts)
    underscores = multiplies or any(len(one) > 1 and not one.strip("_") for one in texts)
    if underscores and any(one.lower().strip("_") in _CORE for one in texts):
        yield "template-escape", "puts together the name of an attribute"
    if formats and any(re.search(r"\{[^{}]*[.\[]|%c", one) for one in texts):
        yield "template-escape", "reaches through a format string"


def _assigned(text: str) -> frozenset[str]:
    """Names that the template gives a meaning itself."""
    names: set[str] = set()
    for code in _pieces(text):
        if code.startswith(("set ", "for ", "macro ")):
            head = re.split(r"=| in |\bif\b", code.split(" ", 1)[1], maxsplit=1)[0]
            names.update(re.findall(r"[^\W\d]\w*", head if not code.startswith("macro") else code))
    return frozenset(names)


def _judge_piece(code: str, assigned: frozenset[str]) -> Iterator[tuple[str, str]]:
    tokens = [(found.lastindex or 0, found.group()) for found in _TOKEN.finditer(code)]
    if tokens and tokens[0][1] in _LOADING_TAGS:
        yield "template-escape", f"loads another template ({tokens[0][1]})"
    depth = 0
    for place, (kind, token) in enumerate(tokens):
        before = tokens[place - 1][1] if place else ""
        after = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        depth += {"[": 1, "]": -1}.get(token, 0)
        if kind == 1:
            yield from _judge_text(token, before, after, depth)
        elif kind == 2:
            yield from _judge_name(token, before, after, assigned, first=place == 0)


def _judge_text(token: str, before: str, after: str, depth: int) -> Iterator[tuple[str, str]]:
    text = _decoded(token[1:-1])
    joined = before in {"~", "+"} or after in {"~", "+"} or (after == "|" and "__" in text)
    if _DUNDER.search(text) and _is_reserved(text):
        yield "template-escape", f"names {text[:60]!r}"
    elif _FRAGMENT.match(text):
        yield "template-escape", f"names a part of a reserved name, {text[:40]!r}"
    elif depth > 0 and text in {"_", "__"} and before in {",", "("}:
        yield "template-escape", "puts underscores into the name of an attribute"
    elif after == "[" and text.endswith("__") | text.startswith("__"):
        yield "template-escape", f"turns {text[:40]!r} around"
    elif depth > 0 and joined and "_" in text:
        yield "template-escape", f"puts together the name of an attribute from {text[:40]!r}"
    elif (text in _RUNNING and text != "system") or (depth > 0 and text in _MODULES):
        yield "template-escape", f"names {text!r}"
    elif after == "." and re.search(r"\{[^{}]*[.\[][^{}]*\}", text):
        yield "template-escape", f"reaches through a format string {text[:60]!r}"
    elif after == "%" and "%c" in text:
        yield "template-escape", "writes characters by their numbers"
    elif re.search(
        r"\b(?:os\.(?:system|popen)|subprocess\.|__import__|/etc/passwd|curl\s+http|import\s+os\b)", text
    ):
        yield "template-escape", f"holds {text[:60]!r}"


def _is_reserved(text: str) -> bool:
    """Python's own attributes, not a model's `__start__`."""
    for one in (text.lower(), text.lower()[::-1]):
        found = _DUNDER.search(one)
        if found and (found.group().strip("_") in _PYTHONS or not found.group().endswith("__")):
            return True
    return False


_PYTHONS = frozenset(
    [
        "class",
        "mro",
        "base",
        "bases",
        "subclasses",
        "globals",
        "builtins",
        "import",
        "init",
        "getattr",
        "getattribute",
        "dict",
        "code",
        "closure",
        "self",
        "module",
        "reduce",
        "reduce_ex",
        "call",
        "new",
        "loader",
        "spec",
        "func",
        "setattr",
        "delattr",
        "init_subclass",
        "getitem",
        "enter",
        "exit",
        "wrapped",
        "defaults",
        "kwdefaults",
        "file",
        "path",
        "doc",
        "name",
        "qualname",
        "annotations",
        "slots",
        "weakref",
        "hash",
        "format",
        "str",
        "repr",
        "iter",
        "next",
        "context",
    ]
)


def _judge_name(
    token: str, before: str, after: str, assigned: frozenset[str], *, first: bool
) -> Iterator[tuple[str, str]]:
    if before == "|":
        if token in {"attr", "__class__"}:
            yield "template-escape", "takes attributes by name (|attr)"
        return
    if token.startswith("__") or (before == "." and token.startswith("_")):
        yield "template-escape", f"reaches for {token}"
    elif before == ".":
        if token in _RUNNING:
            yield "template-escape", f"reaches for {token}"
        elif after == "(" and token in {"format", "format_map"}:
            yield "template-unknown", f"builds text with {token}"
        elif after == "(" and token not in _METHODS and token not in assigned:
            yield "template-unknown", f"calls a method {token}"
    elif (token in _REACHING and token not in assigned and not first and after != "=") or (
        first and token in _REACHING and after in {".", "[", "("}
    ):
        yield "template-escape", f"uses {token}"


def _decoded(text: str) -> str:
    r"""A text as Jinja reads it: `\x5f` is an underscore."""
    try:
        return text.encode("ascii", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError:
        return text
