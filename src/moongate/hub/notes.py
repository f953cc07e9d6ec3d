"""Writing down what was learned.

A full disk makes the gateway forgetful, not silent: the answer that is at hand is given all the same, and
asked for again next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import ParamSpec

from moongate.core.errors import StoreError

P = ParamSpec("P")

_log = logging.getLogger(__name__)


async def write_down(write: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Call `write` in a thread; whether it could be kept."""
    try:
        await asyncio.to_thread(write, *args, **kwargs)
    except StoreError as error:
        _log.warning("not kept: %s", error.message)
        return False
    return True
