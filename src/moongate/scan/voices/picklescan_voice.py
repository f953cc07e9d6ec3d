"""picklescan: a list of imports that are known to harm, over pickles, zip, 7z and numpy."""

from __future__ import annotations

import logging
from importlib.metadata import version

from picklescan import scanner

from moongate.scan.ledger import Ledger
from moongate.scan.voices.stream import opened
from moongate.scan.voices.voice import Voice, add_if_dangerous
from moongate.weights.ranged import Ranged


class Picklescan:
    """Only what it calls dangerous counts; it calls everything that it does not know suspicious."""

    version = f"picklescan/{version('picklescan')}"

    def hear(self, content: Ranged, name: str, ledger: Ledger) -> None:
        ending = f".{name.rpartition('.')[2]}" if "." in name else None
        with opened(content) as file:
            told = scanner.scan_bytes(file, name, ending)
        for one in told.globals:
            if one.safety is scanner.SafetyLevel.Dangerous:
                add_if_dangerous(ledger, self.version, f"imports {one.module}.{one.name}")


def make(option: str) -> Voice:
    del option
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    return Picklescan()
