"""What a rule wants a fact to be: parsed once from YAML, turned into a test of one value.

    words     a text or a list of texts; `*` and `?` stand for others; letter case does not count
    choice    words of a closed list
    level     a choice whose words are in order: also `{at_least: high}`, `{at_most: …}`
    flag      true or false
    number    {below: 7}, {at_least: 100}, also together
    size      as number, in bytes or written `5 GB`, `512 MiB`

Words, choices and levels can be turned around: `{not: [apache-2.0, mit]}`.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from math import isnan
from typing import Any, Final

from moongate.policy.logic import Answer, Asked, Test

MAX_WORDS: Final = 1000
_MAX_WORD_CHARS = 300
_MAX_STARS = 8
_REMEMBERED = 1024
_UNITS: Final[dict[str, int]] = {
    unit: scale
    for power, letter in enumerate("KMGT", start=1)
    for unit, scale in ((f"{letter}B", int(1000**power)), (f"{letter}iB", int(1024**power)))
} | {"B": 1}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?i?B)")
_BOUNDS: Final = ("below", "at_most", "above", "at_least")


class Wanted(ABC):
    """One condition's right-hand side."""

    @abstractmethod
    def test(self, at: int) -> Test:
        """A test of the value at a position of `Asked`, made for speed."""

    @abstractmethod
    def words(self) -> str:
        """For people: `is one of apache-2.0, mit`."""

    @property
    @abstractmethod
    def is_cheap(self) -> bool:
        """Whether the test should be asked before others."""

    @property
    def exact(self) -> frozenset[Any] | None:
        """The values of which one must be there, where that is all it wants."""
        return None


@dataclass(frozen=True, slots=True)
class Words(Wanted):
    """Any of these; with `turned`, none of them."""

    patterns: tuple[str, ...]
    turned: bool = False

    @property
    def is_cheap(self) -> bool:
        return not any(map(_is_glob, self.patterns))

    @property
    def exact(self) -> frozenset[Any] | None:
        return frozenset(self.patterns) if self.is_cheap and not self.turned else None

    def test(self, at: int) -> Test:
        exact = frozenset(word for word in self.patterns if not _is_glob(word))
        globs = [translate(word) for word in self.patterns if _is_glob(word)]
        if not globs:
            return _among(at, exact, self.turned)
        matches, turned = re.compile("|".join(globs)).match, self.turned

        @lru_cache(maxsize=_REMEMBERED)  # tags are many, and the same ones for every file of a repository
        def fits(value: tuple[str, ...]) -> bool:
            found = not exact.isdisjoint(value) or any(map(matches, value))
            return found is not turned

        def test(asked: Asked) -> Answer:
            value = asked[at]
            if value is None or value is False:
                return value
            return fits(value)

        return test

    def words(self) -> str:
        listed = ", ".join(self.patterns)
        if len(self.patterns) == 1:
            return f"is not {listed}" if self.turned else f"is {listed}"
        return f"is none of {listed}" if self.turned else f"is one of {listed}"


@dataclass(frozen=True, slots=True)
class Flag(Wanted):
    value: bool
    is_cheap = True

    @property
    def exact(self) -> frozenset[Any]:
        return frozenset((self.value,))

    def test(self, at: int) -> Test:
        return _among(at, frozenset((self.value,)), False)

    def words(self) -> str:
        return "is true" if self.value else "is false"


@dataclass(frozen=True, slots=True)
class Range(Wanted):
    """A number between bounds; `shown` is how they were written."""

    low: float | None
    high: float | None
    low_counts: bool
    high_counts: bool
    shown: str
    is_cheap = True

    def test(self, at: int) -> Test:
        low = float("-inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        low_counts, high_counts = self.low_counts, self.high_counts

        def test(asked: Asked) -> Answer:
            value = asked[at]
            if value is None or value is False:
                return value
            if value < low or value > high:
                return False
            return (low_counts or value != low) and (high_counts or value != high)

        return test

    def words(self) -> str:
        return f"is {self.shown}"


def _among(at: int, exact: frozenset[Any], turned: bool) -> Test:
    misses = exact.isdisjoint

    def none_of(asked: Asked) -> Answer:
        value = asked[at]
        if value is None or value is False:
            return value
        return misses(value)

    def any_of(asked: Asked) -> Answer:
        value = asked[at]
        if value is None or value is False:
            return value
        return not misses(value)

    return none_of if turned else any_of


def words(told: object) -> Words:
    """Parses `words`.

    Raises:
        ValueError: in words for whoever wrote it.
    """
    turned, found = _listed(told)
    return Words(tuple(_pattern(word) for word in found), turned)


def choice(options: Sequence[str]) -> Callable[[object], Words]:
    """A parser of `choice`; raises ValueError as `words`."""

    def parse(told: object) -> Words:
        turned, found = _listed(told)
        return Words(tuple(_option(word, options) for word in found), turned)

    return parse


def level(options: Sequence[str]) -> Callable[[object], Words]:
    """A parser of `level`, whose options go from low to high; raises ValueError as `words`."""

    def parse(told: object) -> Words:
        if isinstance(told, dict) and set(told) & {"at_least", "at_most"}:
            _refuse_others(told, ("at_least", "at_most"))
            low = options.index(_option(told.get("at_least", options[0]), options))
            high = options.index(_option(told.get("at_most", options[-1]), options))
            if low > high:
                raise ValueError("no value is that high and that low")
            return Words(tuple(options[low : high + 1]))
        return choice(options)(told)

    return parse


def flag(told: object) -> Flag:
    """Parses `flag`; raises ValueError as `words`."""
    if not isinstance(told, bool):
        raise ValueError("expected true or false")
    return Flag(told)


def number(told: object) -> Range:
    """Parses `number`; raises ValueError as `words`."""
    return _range(told, _number)


def size(told: object) -> Range:
    """Parses `size`; raises ValueError as `words`."""
    return _range(told, _size)


def nearest(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'deny'?`, or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _listed(told: object) -> tuple[bool, list[str]]:
    turned = isinstance(told, dict)
    if isinstance(told, dict):
        _refuse_others(told, ("not",))
        told = told.get("not")
    found = told if isinstance(told, list) else [told]
    if not found:
        raise ValueError("an empty list matches nothing")
    if len(found) > MAX_WORDS:
        raise ValueError(f"at most {MAX_WORDS} words fit here")
    for word in found:
        if isinstance(word, bool):
            raise ValueError(f"expected a text; write '{word}' in quotes if that is what you mean")
        if not isinstance(word, str | int | float) or word == "":
            raise ValueError("expected a text, a list of texts, or {not: …}")
    return turned, [str(word) for word in found]


def _pattern(word: str) -> str:
    if len(word) > _MAX_WORD_CHARS or word.count("*") > _MAX_STARS:
        raise ValueError(f"a pattern has at most {_MAX_WORD_CHARS} characters and {_MAX_STARS} stars")
    return word.casefold()


def _option(word: object, options: Sequence[str]) -> str:
    if not isinstance(word, str) or word.lower() not in options:
        raise ValueError(f"{str(word)[:60]!r} is none of {', '.join(options)}{nearest(str(word), options)}")
    return word.lower()


def _is_glob(word: str) -> bool:
    return any(letter in word for letter in "*?[")


def _refuse_others(told: dict[Any, Any], known: Sequence[str]) -> None:
    for key in told:
        if key not in known:
            raise ValueError(f"unknown key {str(key)[:60]!r}; expected {', '.join(known)}")


def _range(told: object, read: Callable[[object], float]) -> Range:
    if not isinstance(told, dict) or not told:
        raise ValueError("expected bounds, such as {below: 7} or {at_least: 100}")
    _refuse_others(told, _BOUNDS)
    if {"below", "at_most"} <= set(told) or {"above", "at_least"} <= set(told):
        raise ValueError("one upper and one lower bound at most")
    values = {key: read(value) for key, value in told.items()}
    low, high = values.get("above", values.get("at_least")), values.get("below", values.get("at_most"))
    if low is not None and high is not None and low > high:
        raise ValueError("no value is that high and that low")
    shown = " and ".join(f"{key.replace('_', ' ')} {value}" for key, value in told.items())
    return Range(low, high, "at_least" in values, "at_most" in values, shown)


def _number(told: object) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or isnan(told):
        raise ValueError("expected a number")
    return told


def _size(told: object) -> float:
    if isinstance(told, str):
        written = _SIZE.fullmatch(told.strip())
        if written is None or written[2] not in _UNITS:
            raise ValueError("expected a size: bytes, or such as 5 GB or 512 MiB")
        amount = float(written[1])
        return amount * _UNITS[written[2]]
    return _number(told)
