"""The escape hatch: a CEL expression over the facts, compiled when the policy is loaded.

Expressions see `action` (a text), `actor`, `repo`, `file`, `signature` and `feed_age_days`, with the names of
`FIELDS_OF`. A fact that is not known is not there: what needs it has no answer, and `has(repo.licence)` asks
whether it is. They are bounded: short, without calls of anything but the listed functions, and with one
comprehension at most, over lists that are short themselves.

Source: the Common Expression Language, https://cel.dev.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from moongate.policy.facts import Facts
from moongate.policy.logic import Answer, Asked
from moongate.policy.wanted import nearest

if TYPE_CHECKING:
    import cel

MAX_CHARS: Final = 500
_MAX_BRACKETS = 24
_MAX_ITEMS = 500

FUNCTIONS: Final = frozenset(
    ("size", "startsWith", "endsWith", "contains", "matches", "has", "int", "double", "string", "in")
)
MACROS: Final = frozenset(("all", "exists", "exists_one", "filter", "map"))

FIELDS_OF: Final[dict[str, tuple[str, ...]]] = {
    "actor": ("name", "kind", "teams", "roles"),
    "repo": (
        "id", "type", "organisation", "hosted", "revision", "commit_hash", "pinned", "private", "gated",
        "licence", "licence_group", "tags", "base_models", "age_days", "modified_days", "downloads", "likes",
        "size_bytes",
    ),
    "file": (
        "path", "formats", "size_bytes", "digest", "verdict", "findings", "severities", "complete",
    ),
    "signature": ("signed", "valid", "signer"),
}  # fmt: skip
ROOTS: Final = ("action", "feed_age_days", *FIELDS_OF)

_LITERAL = re.compile(r"""r?"(?:[^"\\]|\\.)*"|r?'(?:[^'\\]|\\.)*'""")
_FIELD = re.compile(r"(?<![\w.])(\w+)\s*\.\s*(\w+)(?!\w)(?!\s*\()")
_CALL = re.compile(r"(\w+)\s*\(")
_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*(\w+)\s*,")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `about_file`: it is about a file, so never true without one."""

    source: str
    about_file: bool
    _run: Callable[[Any], Any]

    def answer(self, asked: Asked) -> Answer:
        """True, False, or None where a fact is missing or the types do not fit."""
        if self.about_file and asked.facts.content is None:
            return False
        if asked.memo is None:
            import cel  # noqa: PLC0415 - see `_compiled`

            asked.memo = cel.Context(variables=values_of(asked.facts))
        try:
            found = self._run(asked.memo)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, ArithmeticError):
            return None
        return found if isinstance(found, bool) else None


def compile_expression(source: str) -> Expression:
    """The compiled form of an expression.

    Raises:
        ValueError: it is malformed, unbounded, or speaks of what is not there; in words for its author.
    """
    bare = _LITERAL.sub('""', source)
    if len(source) > MAX_CHARS:
        raise ValueError(f"an expression has at most {MAX_CHARS} characters")
    if sum(bare.count(bracket) for bracket in "([{") > _MAX_BRACKETS:
        raise ValueError(f"an expression has at most {_MAX_BRACKETS} brackets")
    program = _compiled(source)
    _refuse_calls(bare)
    _refuse_names(bare, program.variables())
    return Expression(source, "file" in program.variables(), program.execute)


def values_of(facts: Facts) -> dict[str, Any]:
    """The variables of expressions; what is not known is left out."""
    repo, file = facts.repo, facts.content
    values: dict[str, Any] = {
        "action": facts.action,
        "actor": {
            "name": facts.actor.name,
            "kind": facts.actor.kind,
            "teams": _listed(facts.actor.teams),
            "roles": _listed(facts.actor.roles),
        },
        "repo": _known(
            id=repo.repo_id,
            type=repo.repo_type,
            organisation=repo.organisation,
            hosted=repo.hosted,
            revision=repo.revision,
            commit_hash=repo.commit_hash,
            pinned=repo.pinned,
            private=repo.private,
            gated=repo.gated,
            licence=repo.licence,
            licence_group=repo.licence_group,
            tags=_listed(repo.tags),
            base_models=_listed(repo.base_models),
            age_days=facts.age_days,
            modified_days=facts.modified_days,
            downloads=repo.downloads,
            likes=repo.likes,
            size_bytes=repo.size_bytes,
        ),
        "signature": _known(
            signed=facts.signature.signed, valid=facts.signature.valid, signer=facts.signature.signer
        ),
    }
    if facts.feed_age_days is not None:
        values["feed_age_days"] = facts.feed_age_days
    if file is not None:
        findings = file.findings
        values["file"] = _known(
            path=file.path,
            formats=_listed(file.formats),
            size_bytes=file.size_bytes,
            digest=file.digest,
            verdict=file.verdict,
            findings=None if findings is None else [found.rule for found in findings[:_MAX_ITEMS]],
            severities=None if findings is None else [found.severity for found in findings[:_MAX_ITEMS]],
            complete=file.complete,
        )
    return values


def _compiled(source: str) -> cel.Program:
    import cel  # noqa: PLC0415 - only policies with expressions pay for the terminal toolkit it brings along

    try:
        return cel.compile(source)
    except ValueError as error:
        words = str(error).partition("ERROR: <input>:")[2].splitlines()
        raise ValueError(f"not CEL: {words[0][:200] if words else 'it cannot be parsed'}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the parser's own, which is no Exception
            raise
        raise ValueError("not CEL: it cannot be parsed") from None


def _refuse_calls(bare: str) -> None:
    called = [name for name in _CALL.findall(bare) if name != "in"]
    for name in called:
        if name not in FUNCTIONS | MACROS:
            raise ValueError(f"unknown function {name[:60]!r}{nearest(name, sorted(FUNCTIONS | MACROS))}")
    if sum(name in MACROS for name in called) > 1:
        raise ValueError("an expression has one of all, exists, exists_one, filter, map at most")


def _refuse_names(bare: str, variables: Sequence[str]) -> None:
    bound = set(_BOUND.findall(bare))
    for name in variables:
        if name not in ROOTS and name not in bound:
            raise ValueError(f"unknown name {name[:60]!r}{nearest(name, ROOTS)}")
    for root, field in _FIELD.findall(bare):
        if root not in bound and root in FIELDS_OF and field not in FIELDS_OF[root]:
            raise ValueError(f"{root} has no {field[:60]!r}{nearest(field, FIELDS_OF[root])}")


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _listed(texts: Sequence[str] | None) -> list[str] | None:
    return None if texts is None else list(texts[:_MAX_ITEMS])
