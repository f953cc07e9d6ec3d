"""Our own judgement and every voice that was asked for, each in its own process, as one report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from moongate.core.verdicts import MAX_FINDINGS, Report, worst
from moongate.scan.jail import Jail, Limits
from moongate.scan.ledger import Ledger
from moongate.scan.voices.clamd import Clamd
from moongate.scan.voices.voice import KNOWN, VoiceAbsent, is_here


@dataclass(frozen=True, slots=True)
class Asked:
    """A voice to be asked: `picklescan`, `modelaudit`, `yara:RULES.yar`, `clamd:ADDRESS`."""

    name: str
    option: str = ""

    @classmethod
    def parse(cls, text: str) -> Asked:
        """
        Raises:
            VoiceAbsent: no such voice is known, or it lacks what it needs.
        """
        name, _, option = text.partition(":")
        if name not in {*KNOWN, "clamd"}:
            raise VoiceAbsent(f"no scanner called {name} is known here")
        if name in {"yara", "clamd"} and not option:
            raise VoiceAbsent(
                f"{name} needs {'a file with rules' if name == 'yara' else 'an address'} after a colon"
            )
        if name in KNOWN and not is_here(name):
            raise VoiceAbsent(f"the package of {name} is not installed (pip install 'moongate[scanners]')")
        return cls(name, option)


class Choir:
    """A context, asked like a `Jail`: `judge` may be called any number of times, by one caller at a time."""

    def __init__(self, voices: Sequence[Asked] = (), limits: Limits | None = None) -> None:
        self._own = Jail(limits)
        self._jails = [
            (one, Jail(limits, voice=(one.name, one.option))) for one in voices if one.name != "clamd"
        ]
        self._clamd = next((Clamd(one.option) for one in voices if one.name == "clamd"), None)

    @property
    def confined(self) -> bool:
        return self._own.confined

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def judge(self, descriptor: int, name: str) -> Report:
        """The report on an open file, whose descriptor stays the caller's. Never raises for what is in it."""
        report = self._own.judge(descriptor, name)
        for asked, jail in self._jails:
            formats = KNOWN[asked.name]
            if formats is None or formats & set(report.formats):
                report = joined(report, jail.judge(descriptor, name))
        if self._clamd is not None:
            ledger = Ledger()
            self._clamd.hear(lambda span: os.pread(descriptor, span.length, span.start), ledger)
            report = joined(report, replace(ledger.report(), engine="clamd"))
        return report

    def close(self) -> None:
        """Ends every process. May be called twice."""
        self._own.close()
        for _, jail in self._jails:
            jail.close()


def joined(own: Report, voice: Report) -> Report:
    """Our report with what a voice adds to it. The verdict never gets better."""
    findings = sorted((*own.findings, *voice.findings), key=lambda finding: -finding.severity)
    return replace(
        own,
        verdict=worst([own.verdict, voice.verdict]),
        findings=tuple(findings[:MAX_FINDINGS]),
        more_findings=own.more_findings + voice.more_findings + max(0, len(findings) - MAX_FINDINGS),
        engine=f"{own.engine}+{voice.engine}",
    )
