"""modelaudit-picklescan: a walker of pickles in Rust, within a budget of bytes, operations and time.

Its call graph, which reads the packages that happen to be installed, is off: verdicts must be repeatable.
"""

from __future__ import annotations

from importlib.metadata import version

from modelaudit_picklescan import SafetyVerdict, ScanOptions, scan_stream

from moongate.scan.ledger import Ledger
from moongate.scan.voices.stream import opened
from moongate.scan.voices.voice import Voice, add_if_dangerous
from moongate.weights.ranged import Ranged

_OPTIONS = ScanOptions(timeout_s=20.0, max_opcodes=5_000_000)


class Modelaudit:
    """Only what it calls malicious counts."""

    version = f"modelaudit-picklescan/{version('modelaudit-picklescan')}"

    def hear(self, content: Ranged, name: str, ledger: Ledger) -> None:
        with opened(content) as file:
            told = scan_stream(
                file, source=name, size=content.size_bytes, options=_OPTIONS, enrich_call_graph=False
            )
        if told.verdict is SafetyVerdict.MALICIOUS:
            words = "; ".join(finding.message for finding in told.findings[:3]) or "malicious"
            add_if_dangerous(ledger, self.version, words)


def make(option: str) -> Voice:
    del option
    return Modelaudit()
