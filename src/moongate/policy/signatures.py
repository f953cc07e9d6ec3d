"""`Signatures`: who vouches for a file, remembered for a while, so that most decisions need not look."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileAt
from moongate.policy.facts import Signature

HELD_SECONDS: Final = 60.0
UNKNOWN_SECONDS: Final = 1.0
"""What is not known may be in a moment: the signature is a file like others, and comes when it comes."""

_KEPT = 2000


class Vouched(Protocol):
    """The signatures of one commit; see `provenance.vouching.Vouched`."""

    @property
    def is_settled(self) -> bool: ...
    def of(self, path: str) -> Signature: ...


class Signatures:
    """For any thread."""

    def __init__(self, look_up: Callable[[RepoId, CommitHash], Vouched], clock: Callable[[], float]) -> None:
        """look_up: may block."""
        self._look_up = look_up
        self._clock = clock
        self._known: OrderedDict[tuple[RepoId, CommitHash], tuple[float, Vouched]] = OrderedDict()

    def at_hand(self, file: FileAt) -> Signature | None:
        """What was found lately; None: it is to be looked up. Waits for nothing."""
        if not file.commit_hash:
            return Signature()
        known = self._known.get((file.repo, file.commit_hash))
        if known is None or known[0] <= self._clock():
            return None
        return known[1].of(file.entry.path)

    def of(self, file: FileAt) -> Signature:
        """What is known of the signature over a file. Blocks."""
        at_hand = self.at_hand(file)
        if at_hand is not None:
            return at_hand
        found = self._look_up(file.repo, file.commit_hash)
        held_seconds = HELD_SECONDS if found.is_settled else UNKNOWN_SECONDS
        self._known[file.repo, file.commit_hash] = (self._clock() + held_seconds, found)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found.of(file.entry.path)
