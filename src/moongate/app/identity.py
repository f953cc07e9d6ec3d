"""What knows who is who, put together: the door asks it, and so do the rooms where people sign in."""

from __future__ import annotations

from dataclasses import dataclass

from moongate.app.last_used import LastUsed
from moongate.app.sessions import Sessions
from moongate.hub.standing import Standing


@dataclass(frozen=True, slots=True)
class Identity:
    """One per process."""

    standing: Standing
    sessions: Sessions
    last_used: LastUsed

    def close(self) -> None:
        """Write down what waits."""
        self.last_used.close()
