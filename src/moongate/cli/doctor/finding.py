"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a doctor's report.

    `failed` means that something will not work until it is mended; `warning`, that it may surprise;
    `note`, that it is good to know. `advice` says what to do.
    """

    check: str
    level: Level
    words: str
    advice: str | None = None
