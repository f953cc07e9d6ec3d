"""What knows who is who, put together: the door asks it, and so do the rooms where people sign in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from moongate.app.id_token_callers import IdTokenCallers
from moongate.app.last_used import LastUsed
from moongate.app.sessions import Sessions
from moongate.hub.devices import Devices
from moongate.hub.people import People
from moongate.hub.sign_ins import SignIns
from moongate.hub.standing import Standing
from moongate.hub.trusts import Trusts


class Closes(Protocol):
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """One per process."""

    standing: Standing
    sessions: Sessions
    last_used: LastUsed
    people: People
    trusts: Trusts
    id_tokens: IdTokenCallers
    devices: Devices
    sign_ins: SignIns | None
    client: Closes

    async def close(self) -> None:
        """Write down what waits, and close connections."""
        self.last_used.close()
        await self.client.close()
