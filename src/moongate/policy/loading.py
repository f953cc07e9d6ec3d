"""From files to rules: a file, a folder of files, or a preset by name.

Of a folder every `*.yaml` and `*.yml` directly in it is read, by name; hidden ones are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from moongate.core.decisions import Effect
from moongate.policy.compiled import CompiledRule, compile_rule
from moongate.policy.engine import Rules, digest_of
from moongate.policy.fields import FIELDS
from moongate.policy.model import Expected, PolicyFile, Rule
from moongate.policy.wanted import nearest
from moongate.policy.yaml_lines import MAX_BYTES, BadPolicy, Document, read_yaml

PRESETS: Final = ("open", "balanced", "strict")
DEFAULT_PRESET: Final = "balanced"
_MAX_FILES = 200
_MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class PlacedTest:
    """A test of the policy, and where it stands."""

    expected: Expected
    place: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rules, and the tests beside them."""

    rules: Rules
    tests: tuple[PlacedTest, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """One file, validated."""

    document: Document
    model: PolicyFile


def load(source: str) -> Loaded:
    """The rules of a preset's name, a file or a folder.

    Raises:
        BadPolicy: there is none, or it is malformed: a line for each problem.
    """
    if source in PRESETS:
        return assemble(source, [preset_text(source)])
    path = Path(source)
    if path.name == source and not path.suffix and not path.exists():
        raise BadPolicy(f"{source}:1: no preset and no file here; presets are {', '.join(PRESETS)}")
    return assemble(source, texts_of(path))


def texts_of(path: Path) -> list[tuple[str, str]]:
    """Name and text of each policy file at a path.

    Raises:
        BadPolicy: there is none, or it cannot be read.
    """
    path = path.expanduser()
    try:
        files = _files_in(path) if path.is_dir() else [path]
        return [(str(file), _text(file)) for file in files]
    except OSError as error:
        raise BadPolicy(f"{error.filename or path}:1: cannot be read: {error.strerror}") from None


def preset_text(name: str) -> tuple[str, str]:
    """Name and text of a preset's file."""
    file = resources.files("moongate.policy") / "presets" / f"{name}.yaml"
    return f"{name}.yaml", file.read_text(encoding="utf-8")


def assemble(source: str, texts: Sequence[tuple[str, str]]) -> Loaded:
    """The rules that these files make together.

    Raises:
        BadPolicy: they are malformed, or contradict each other.
    """
    problems: list[str] = []
    read = [file for name, text in texts if (file := _read(name, text, problems)) is not None]
    _stop(problems)
    preset = _only([(file, file.model.preset) for file in read if file.model.preset], "preset", problems)
    default = _only([(file, file.model.default) for file in read if file.model.default], "default", problems)
    base = load(preset) if preset else None
    dropped = _dropped(read, base, problems)
    inherited = [rule for rule in (base.rules.rules if base else ()) if rule.id not in dropped]
    rules = [*inherited, *_compiled(read, {rule.id: rule.place for rule in inherited}, problems)]
    _stop(problems)
    chosen: Effect = default or (base.rules.default if base else "allow")
    return Loaded(
        Rules(rules, chosen, _digest(read, base, dropped, chosen), source),
        tuple(_tests(read)),
    )


def _read(name: str, text: str, problems: list[str]) -> _Read | None:
    try:
        document = read_yaml(name, text)
    except BadPolicy as error:
        problems.append(error.message)
        return None
    if not isinstance(document.value, dict):
        problems.append(document.complaint((), "expected keys such as moongate_policy and rules"))
        return None
    try:
        return _Read(document, PolicyFile.model_validate(document.value))
    except ValidationError as error:
        problems += [_problem(document, detail) for detail in error.errors(include_url=False)]
        return None


def _problem(document: Document, detail: Mapping[str, Any]) -> str:
    place = [part for part in detail["loc"] if part != "function-before"]
    key = str(place[-1]) if place else "policy"
    if detail["type"] == "extra_forbidden":
        return document.complaint(place, f"unknown key {key[:60]!r}{nearest(key, _keys_at(place))}")
    if detail["type"] == "missing":
        return document.complaint(place[:-1], f"{key!r} is missing")
    words = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        told = str(detail.get("input"))[:60]
        known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        words = f"{told!r} is none of {', '.join(known)}{nearest(told, known)}"
    return document.complaint(place, f"{_shown(place)}: {words[:1].lower()}{words[1:]}")


def _keys_at(place: Sequence[str | int]) -> list[str]:
    """The keys that could stand where an unknown one does."""
    match place:
        case [_]:
            return list(PolicyFile.model_fields)
        case ["rules", _, _]:
            return list(Rule.model_fields)
        case ["rules", _, "when" | "unless", _]:
            return list(FIELDS)
        case ["tests", _, _]:
            return list(Expected.model_fields)
        case _:
            return []


def _shown(place: Sequence[str | int]) -> str:
    words = [str(part) for part in place if not isinstance(part, int)]
    return ".".join(words[-2:]) or "policy"


def _only(told: list[tuple[_Read, Any]], key: str, problems: list[str]) -> Any:  # the one value, or None
    problems += [
        file.document.complaint((key,), f"{key!r} stands in {told[0][0].document.name} already")
        for file, _ in told[1:]
    ]
    return told[0][1] if told else None


def _dropped(read: Sequence[_Read], base: Loaded | None, problems: list[str]) -> frozenset[str]:
    known = [rule.id for rule in base.rules.rules] if base else []
    found = set()
    for file in read:
        for at, name in enumerate(file.model.without):
            if name in known:
                found.add(name)
            else:
                words = f"the preset has no rule {name[:60]!r}{nearest(name, known)}"
                problems.append(file.document.complaint(("without", at), words))
    return frozenset(found)


def _compiled(read: Sequence[_Read], taken: Mapping[str, str], problems: list[str]) -> Iterator[CompiledRule]:
    seen = dict(taken)
    for file in read:
        for at, rule in enumerate(file.model.rules):
            place = ("rules", at)
            where = f"{file.document.name}:{file.document.line(place)}"
            if rule.id in seen:
                words = f"there is a rule {rule.id!r} already, at {seen[rule.id]}"
                problems.append(file.document.complaint((*place, "id"), words))
            seen[rule.id] = where
            if rule.unless is not None and not rule.unless.model_fields_set:
                problems.append(
                    file.document.complaint((*place, "unless"), "unless: expected conditions; without any, "
                                            "the rule would never hold")
                )  # fmt: skip
            try:
                yield compile_rule(rule, where)
            except ValueError as error:
                problems.append(file.document.complaint((*place, "expr"), f"expr: {error}"))


def _digest(read: Sequence[_Read], base: Loaded | None, dropped: frozenset[str], default: Effect) -> str:
    return digest_of(
        {
            "base": base.rules.digest if base else None,
            "without": sorted(dropped),
            "default": default,
            "rules": [rule for file in read for rule in file.document.value.get("rules") or []],
        }
    )


def _tests(read: Sequence[_Read]) -> Iterator[PlacedTest]:
    for file in read:
        for at, expected in enumerate(file.model.tests):
            yield PlacedTest(expected, f"{file.document.name}:{file.document.line(('tests', at))}")


def _files_in(folder: Path) -> list[Path]:
    found = sorted(
        file
        for file in folder.iterdir()
        if file.suffix in (".yaml", ".yml") and not file.name.startswith(".") and file.is_file()
    )
    if not found:
        raise BadPolicy(f"{folder}:1: there is no *.yaml file in this folder")
    if len(found) > _MAX_FILES:
        raise BadPolicy(f"{folder}:1: more than {_MAX_FILES} files")
    return found


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        raw = opened.read(MAX_BYTES + 1)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadPolicy(f"{file}:1: not UTF-8") from None


def _stop(problems: Sequence[str]) -> None:
    if problems:
        raise BadPolicy("\n".join(problems[:_MAX_PROBLEMS]))
