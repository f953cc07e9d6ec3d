"""What another scanner must be able to do, and the names of those that are known."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Final, Protocol

from moongate.scan.ledger import Ledger
from moongate.weights.ranged import Ranged


class Voice(Protocol):
    """One scanner, ready to be asked in the process that it runs in."""

    @property
    def version(self) -> str:
        """Its name and version, as verdicts are kept under."""
        ...

    def hear(self, content: Ranged, name: str, ledger: Ledger) -> None:
        """Writes what it says of a file into the ledger. May raise anything: the process is its own."""
        ...


class VoiceAbsent(Exception):
    """The scanner is not installed, or there is none of that name."""


PICKLES: Final = frozenset(("pickle", "torch", "zip", "numpy", "7z", "tar"))

KNOWN: Final[dict[str, frozenset[str] | None]] = {"picklescan": PICKLES, "modelaudit": PICKLES, "yara": None}
"""What each is asked about, as formats of our own report; None: everything."""


DISTRIBUTIONS: Final = {"picklescan": "picklescan", "modelaudit": "modelaudit-picklescan", "yara": "yara-x"}
"""What each is installed as."""


def is_here(name: str) -> bool:
    """Whether the package of a voice is installed."""
    return importlib.util.find_spec(DISTRIBUTIONS[name].replace("-", "_")) is not None


def voice(name: str, option: str = "") -> Voice:
    """A voice by its name; `option` is what that one needs (the file with YARA's rules).

    Raises:
        VoiceAbsent: there is none, or its package is not installed.
    """
    if name not in KNOWN:
        raise VoiceAbsent(f"no scanner called {name} is known here")
    try:
        module = importlib.import_module(f"moongate.scan.voices.{name}_voice")
    except ImportError:
        raise VoiceAbsent(f"the package of {name} is not installed") from None
    make: Callable[[str], Voice] = module.make
    return make(option)


def add_if_dangerous(ledger: Ledger, who: str, words: str) -> None:
    """What a general scanner calls dangerous is worth a look: each of them is wrong now and then."""
    ledger.add("voice", f"{who} says: {words[:300]}")
