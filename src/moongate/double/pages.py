"""Pages of a list: an opaque cursor, and an absolute `Link: <…>; rel="next"` while there is more."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from moongate.double.ask import Ask
from moongate.double.reply import Refusal
from moongate.double.world import World

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """The items of one page and the headers that lead to the next."""

    items: Sequence[Item]
    headers: dict[str, str]


def page_of(ask: Ask, world: World, items: Sequence[Item], most: int) -> Page[Item]:
    """The page a request asks for by `limit` and `cursor`, of at most `most` items.

    Raises:
        Refusal: 400 for a cursor we did not give.
    """
    size = max(1, ask.number("limit", most, most))
    start = _start(ask.get("cursor"))
    stop = start + size
    if stop >= len(items):
        return Page(items[start:stop], {})
    cursor = base64.urlsafe_b64encode(f"at:{stop}".encode()).decode()
    query = [(key, value) for key, value in ask.query if key != "cursor"] + [("cursor", cursor)]
    return Page(items[start:stop], {"Link": f'<{world.hub_url}{ask.path}?{urlencode(query)}>; rel="next"'})


def _start(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor).decode().removeprefix("at:"))
    except (binascii.Error, ValueError):
        raise Refusal(400, "Invalid cursor") from None
