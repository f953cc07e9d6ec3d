"""What the conditions of a rule may be about: one table, which is the language of rules.

Every field reads one fact. Those about the file are never true of a question without a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, get_args

from moongate.core.names import REPO_TYPES
from moongate.core.verdicts import VERDICTS, Severity
from moongate.policy import wanted
from moongate.policy.facts import Content, Facts, Found
from moongate.policy.licences import LICENCE_GROUPS
from moongate.policy.logic import Asked
from moongate.policy.wanted import Wanted

Kind: TypeAlias = Literal["words", "choice", "level", "flag", "number", "size"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

SEVERITIES: Final = tuple(severity.name.lower() for severity in Severity)


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `read` gives the fact, None when it is not known. options: of a choice or level."""

    name: str
    kind: Kind
    help: str
    read: Callable[[Facts], Any]
    about_file: bool = False
    options: tuple[str, ...] = ()

    def parse(self, told: object) -> Wanted:
        """What a rule wants of it.

        Raises:
            ValueError: in words for whoever wrote the rule.
        """
        match self.kind:
            case "words":
                return wanted.words(told)
            case "choice":
                return wanted.choice(self.options)(told)
            case "level":
                return wanted.level(self.options)(told)
            case "flag":
                return wanted.flag(told)
            case "number":
                return wanted.number(told)
            case "size":
                return wanted.size(told)

    def prepare(self, facts: Facts) -> Any:  # see `logic.Asked`
        """The fact as tests want it."""
        if self.about_file and facts.content is None:
            return False
        value = self.read(facts)
        if value is None or self.kind in ("number", "size"):
            return value
        return _folded(value) if isinstance(value, tuple) else (_fold(value),)


def _fold(value: str | bool) -> str | bool:
    return value.casefold() if isinstance(value, str) else value


@lru_cache(maxsize=4096)
def _folded(values: tuple[str, ...]) -> tuple[str, ...]:
    """Tags are many, and the same ones for every file of a repository."""
    return tuple(value.casefold() for value in values)


def _of_file(read: Callable[[Content], Any]) -> Callable[[Facts], Any]:
    def of_facts(facts: Facts) -> Any:  # whatever kind of fact it is
        return None if facts.content is None else read(facts.content)

    return of_facts


def _names(facts: Facts) -> tuple[str, str]:
    """A repository as people write it, and with the plural that tells models apart, too."""
    repo = facts.repo
    if repo.repo_type == "model":
        return repo.repo_id, f"models/{repo.repo_id}"
    full = f"{repo.repo_type}s/{repo.repo_id}"
    return full, full


def _each(findings: tuple[Found, ...] | None, name: Literal["rule", "severity"]) -> tuple[str, ...] | None:
    return None if findings is None else tuple(getattr(found, name) for found in findings)


_FOUND_RULES = _of_file(lambda file: _each(file.findings, "rule"))
_FOUND_LEVELS = _of_file(lambda file: _each(file.findings, "severity"))

TABLE: Final[tuple[Field, ...]] = (
    Field("repo", "words", "The repository: `acme/tiny`, `datasets/acme/*`, `spaces/*`.", _names),
    Field("organisation", "words", "The part before the slash.", lambda facts: facts.repo.organisation),
    Field("type", "choice", "What it is.", lambda facts: facts.repo.repo_type, options=REPO_TYPES),
    Field("hosted", "flag", "Whether it lives here.", lambda facts: facts.repo.hosted),
    Field("private", "flag", "Whether it is private.", lambda facts: facts.repo.private),
    Field("gated", "flag", "Whether its files are gated.", lambda facts: facts.repo.gated),
    Field("revision", "words", "What was asked for: a branch, tag or commit.",
          lambda facts: facts.repo.revision),
    Field("pinned", "flag", "Whether a full commit hash was asked for.", lambda facts: facts.repo.pinned),
    Field("licence", "words", "The licence that the card names.", lambda facts: facts.repo.licence),
    Field("licence_group", "choice", "The group of that licence.",
          lambda facts: facts.repo.licence_group, options=LICENCE_GROUPS),
    Field("tag", "words", "Any tag of the repository.", lambda facts: facts.repo.tags),
    Field("base_model", "words", "Any base model that the card names.",
          lambda facts: facts.repo.base_models),
    Field("age_days", "number", "How long ago the repository was created.", lambda facts: facts.age_days),
    Field("modified_days", "number", "How long ago it was last changed.",
          lambda facts: facts.modified_days),
    Field("downloads", "number", "Downloads by upstream's word; they can be bought.",
          lambda facts: facts.repo.downloads),
    Field("likes", "number", "Likes by upstream's word.", lambda facts: facts.repo.likes),
    Field("repo_size", "size", "All files of the revision.", lambda facts: facts.repo.size_bytes),
    Field("actor", "words", "The name of who asks.", lambda facts: facts.actor.name),
    Field("actor_kind", "words", "What they came with: `anonymous`, `token`, `upstream`, …",
          lambda facts: facts.actor.kind),
    Field("team", "words", "Any team of who asks.", lambda facts: facts.actor.teams),
    Field("role", "words", "Any role of who asks.", lambda facts: facts.actor.roles),
    Field("path", "words", "The file's path.", _of_file(lambda file: file.path), True),
    Field("format", "words", "Any format that the content has, whatever its name: `pickle`, `torch`, …",
          _of_file(lambda file: file.formats), True),
    Field("file_size", "size", "The file's length.", _of_file(lambda file: file.size_bytes), True),
    Field("digest", "words", "The file's sha256.", _of_file(lambda file: file.digest), True),
    Field("verdict", "choice", "What the scan says.", _of_file(lambda file: file.verdict), True, VERDICTS),
    Field("finding", "words", "Any rule of the scan that found something.", _FOUND_RULES, True),
    Field("severity", "level", "The severity of any finding.", _FOUND_LEVELS, True, SEVERITIES),
    Field("complete", "flag", "Whether the scan looked at everything.",
          _of_file(lambda file: file.complete), True),
    Field("signed", "flag", "Whether somebody signed the file.",
          lambda facts: facts.signature.signed, True),
    Field("signature_valid", "flag", "Whether the signature is right, in force, and covers the file.",
          lambda facts: facts.signature.valid, True),
    Field("signer", "words", "Who signed it, as verified.", lambda facts: facts.signature.signer, True),
    Field("feed_age_days", "number", "The age of the oldest threat feed.",
          lambda facts: facts.feed_age_days),
)  # fmt: skip

FIELDS: Final = {field.name: field for field in TABLE}
POSITIONS: Final = {field.name: at for at, field in enumerate(TABLE)}


def preparer(names: Collection[str]) -> Callable[[Facts], Asked]:
    """What makes the list of a question for tests of these fields; others stay unknown there."""
    used = [(POSITIONS[name], FIELDS[name].prepare) for name in names]
    blank = [None] * len(TABLE)

    def prepare(facts: Facts) -> Asked:
        asked = Asked(blank, facts)
        for at, of in used:
            asked[at] = of(facts)
        return asked

    return prepare
