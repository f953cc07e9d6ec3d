"""YARA rules, as an organisation keeps them: what matches is dangerous, for somebody wrote the rule."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Final

import yara_x

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Severity
from moongate.scan.ledger import Ledger
from moongate.scan.voices.voice import Voice
from moongate.weights.ranged import Ranged

COMPILED: Final = ".yarc"
"""How a file of rules ends that are compiled already."""

STEP_BYTES: Final = 64 << 20
OVERLAP_BYTES: Final = 1 << 20
_SEVERITIES = {"low": Severity.LOW, "medium": Severity.MEDIUM, "critical": Severity.CRITICAL}


class Yara:
    """A rule may say `severity = "low"` in its meta; without, a match is high.

    Content is looked at in windows that overlap, so a rule that joins places further apart does not match.
    """

    def __init__(self, rules: yara_x.Rules) -> None:
        self._rules = rules
        self.version = f"yara-x/{version('yara-x')}"

    def hear(self, content: Ranged, name: str, ledger: Ledger) -> None:
        del name
        at = 0
        while at == 0 or at < content.size_bytes:
            data = content.read(ByteSpan(at, at + STEP_BYTES + OVERLAP_BYTES))
            for rule in self._rules.scan(data).matching_rules:
                meta = dict(rule.metadata)
                words = f"the rule {rule.identifier} matches"
                about = str(meta.get("description", ""))[:200]
                severity = _SEVERITIES.get(str(meta.get("severity", "")).lower())
                ledger.add(
                    "yara-match",
                    f"{words}{': ' + about if about else ''}",
                    offset=_first(rule, at),
                    severity=severity,
                )
            at += STEP_BYTES


def _first(rule: yara_x.Rule, base: int) -> int | None:
    places = [match.offset for pattern in rule.patterns for match in pattern.matches]
    return base + min(places) if places else None


def make(option: str) -> Voice:
    path = Path(option)
    if path.suffix == COMPILED:
        with path.open("rb") as file:
            return Yara(yara_x.Rules.deserialize_from(file))
    return Yara(yara_x.compile(path.read_text(encoding="utf-8")))
