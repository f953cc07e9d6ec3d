"""The desk of a home on this machine, opened for one command; and who sits at it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from moongate.hub.audit import Actor
    from moongate.policy.desk import Desk


@contextmanager
def here(home: Path | None) -> Iterator[Desk]:
    """Requests and waivers of a home that must be there already; a gateway may have it open, too."""
    from moongate.app.wiring import open_desk
    from moongate.cli.house import open_home

    with open_home(home) as stock:
        yield open_desk(stock)


def who() -> Actor:
    """The user of this machine, as records name them."""
    from moongate.hub.audit import Actor

    return Actor(getpass.getuser(), "local")
