"""The desk of a home on this machine, opened for one command; and who sits at it."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from moongate.app.admin.webhooks import Hooks
    from moongate.hub.audit import Actor
    from moongate.policy.desk import Desk


@contextmanager
def here(home: Path | None) -> Iterator[Desk]:
    """Requests and waivers of a home that must be there already; a gateway may have it open, too."""
    from moongate.app.wiring.governing import open_desk
    from moongate.cli.house import open_home

    with open_home(home) as stock:
        yield open_desk(stock)


@asynccontextmanager
async def hooks_here(home: Path | None) -> AsyncIterator[Hooks]:
    """Webhooks of a home that must be there already."""
    from moongate.app.wiring.governing import announce_of
    from moongate.cli.house import open_home

    with open_home(home) as stock:
        announcing = announce_of(stock)
        try:
            yield announcing.hooks
        finally:
            await announcing.close()


def who() -> Actor:
    """The user of this machine, as records name them."""
    from moongate.hub.audit import Actor

    return Actor(getpass.getuser(), "local")
