"""STIX 2.1: indicators with simple patterns.

Evaluated are comparisons with `=` of hashes of a file and of addresses at the Hub, joined by OR. Every other
pattern is kept as it is written, for people, and never evaluated: half an AND is not what was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from moongate.core.errors import UpstreamBroken
from moongate.core.hits import Indicator, Tlp
from moongate.scan.feeds.words import (
    confidence_of,
    indicator_of,
    json_of,
    label_of,
    list_of,
    object_of,
    seconds_of,
    tlp_of,
)

_COMPARISON: Final = re.compile(
    r"""\s*(?P<path>file:hashes\s*\.\s*(?:'[\w-]+'|"[\w-]+"|[\w-]+)|url:value|artifact:hashes\s*\.\s*(?:'[\w-]+'|[\w-]+))"""
    r"""\s*=\s*'(?P<value>(?:[^'\\]|\\.){1,2048})'\s*"""
)
_MOST_PATTERN_CHARS: Final = 16 << 10
_MOST_KEPT_CHARS: Final = 1000
# The marking definitions that the standard fixes, of TLP 1.0 and 2.0.
_MARKS: Final[Mapping[str, Tlp]] = {
    "613f2e26-407d-48c7-9eca-b8e91df99dc9": "clear",
    "34098fce-860f-48ae-8e50-ebd3cc5e41da": "green",
    "f88d31f6-486f-44da-b317-01333bde0b82": "amber",
    "5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "red",
    "94868c89-83c2-464b-929b-a1a8aa3c8487": "clear",
    "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "green",
    "55d920b0-5e8b-4f79-9ee9-91f868d9b421": "amber",
    "939a9414-2ddd-4d32-a0cd-375ea402b003": "amber+strict",
    "e828b379-4e03-4974-9ac4-e53a884c97c1": "red",
}


@dataclass(slots=True)
class Said:
    """What objects say: indicators, and those that were taken back."""

    indicators: list[Indicator] = field(default_factory=list)
    gone: list[Indicator] = field(default_factory=list)


def read_bundle(body: bytes, now: float, confidence: int) -> Said:
    """What a bundle says.

    Raises:
        UpstreamBroken: it is no STIX bundle.
    """
    told = object_of(json_of(body, "the bundle"), "the bundle")
    if told.get("type") != "bundle":
        raise UpstreamBroken("the bundle is no STIX bundle")
    return read_objects(list_of(told.get("objects")), now, confidence)


def read_objects(objects: Sequence[object], now: float, confidence: int) -> Said:
    """What STIX objects say; those of other types are passed over."""
    marks = dict(_marks(objects))
    said = Said()
    for told in objects:
        if not isinstance(told, dict) or told.get("type") != "indicator":
            continue
        found = _indicators(told, marks, confidence)
        ends = [one.expires_at for one in found if one.expires_at is not None]
        begins = seconds_of(told.get("valid_from"))
        is_benign = "benign" in list_of(told.get("indicator_types"))
        if told.get("revoked") is True or is_benign or any(end <= now for end in ends):
            said.gone += found
        elif begins is None or begins <= now:
            said.indicators += found
    return said


def _indicators(told: Mapping[str, Any], marks: Mapping[str, Tlp], confidence: int) -> list[Indicator]:
    pattern = told.get("pattern")
    if not isinstance(pattern, str) or told.get("pattern_type", "stix") != "stix":
        return []
    kinds = list_of(told.get("indicator_types")) or list_of(told.get("labels"))
    refs = [str(ref).removeprefix("marking-definition--") for ref in list_of(told.get("object_marking_refs"))]
    about = Indicator(
        "pattern",
        pattern[:_MOST_KEPT_CHARS],
        label_of(told.get("name"), told.get("description"), *kinds),
        confidence_of(told.get("confidence"), confidence),
        tlp_of([marks[ref] for ref in refs if ref in marks]),
        seconds_of(told.get("valid_until")),
        label_of(told.get("id")),
    )
    values = equalities(pattern)
    found = [indicator_of(value, about) for value in values or ()]
    if not found or None in found:
        return [about]
    return [one for one in found if one is not None]


def equalities(pattern: str) -> list[str] | None:
    """The values that a pattern compares with, when it is nothing but equalities joined by OR; else None."""
    if len(pattern) > _MOST_PATTERN_CHARS:
        return None
    values: list[str] = []
    at, is_inside, wants_value = 0, False, True
    text = pattern.strip()
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif wants_value and not is_inside and text[at] == "[":
            is_inside, at = True, at + 1
        elif wants_value and is_inside and (found := _COMPARISON.match(text, at)):
            values.append(re.sub(r"\\(.)", r"\1", found["value"]))
            wants_value, at = False, found.end()
        elif not wants_value and is_inside and text[at] == "]":
            is_inside, at = False, at + 1
        elif not wants_value and re.match(r"OR\b", text[at:]):
            wants_value, at = True, at + 2
        else:
            return None
    return values if values and not is_inside and not wants_value else None


def _marks(objects: Sequence[object]) -> Iterator[tuple[str, Tlp]]:
    """The marking definitions that are known: the standard's, and those that come along."""
    yield from _MARKS.items()
    for told in objects:
        if isinstance(told, dict) and told.get("type") == "marking-definition":
            definition = told.get("definition")
            name = definition.get("tlp") if isinstance(definition, dict) else told.get("name")
            yield str(told.get("id")).removeprefix("marking-definition--"), tlp_of([name])
