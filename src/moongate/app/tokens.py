"""Our own tokens: `hf_` and 48 letters or digits, shown once, kept as a sha256.

The shape is what every Hub client takes for a token; the length tells it from the Hub's own.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass
from typing import Protocol

from moongate.core.callers import Scope, Secret, TokenOrigin, TokenRow
from moongate.core.errors import BadRequest

_ALPHABET = string.ascii_letters + string.digits
_RANDOM_CHARS = 48


class TokenShelf(Protocol):
    def put_token(self, token: TokenRow) -> None: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What else is said of a new token. places: the only ones it is good for; empty: all.

    max_seconds: the longest life that the settings allow; 0: any.
    """

    places: tuple[str, ...] = ()
    origin: TokenOrigin = ""
    max_seconds: float = 0.0


UNBOUND = Bounds()


def mint(
    index: TokenShelf,
    user: str,
    scope: Scope,
    expires_seconds: float | None,
    note: str,
    now: float,
    bounds: Bounds = UNBOUND,
) -> tuple[Secret, TokenRow]:
    """A new token for a user, kept in the index; the secret is never seen again.

    expires_seconds: how long it is good for; None for ever, or as long as the settings allow.

    Raises:
        BadRequest: the settings allow no such life, or an administrator's token would be bound to a place.
    """
    if scope == "admin" and bounds.places:
        raise BadRequest("a token of an administrator is bound to no place; give it scope write")
    if bounds.max_seconds:
        expires_seconds = bounds.max_seconds if expires_seconds is None else expires_seconds
        if expires_seconds > bounds.max_seconds:
            raise BadRequest(
                f"the setting token_max_seconds allows a token {bounds.max_seconds:g} seconds at most"
            )
    token = "hf_" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    row = TokenRow(
        id=secrets.token_hex(6),
        sha256=hashlib.sha256(token.encode()).hexdigest(),
        user=user,
        scope=scope,
        created_at=now,
        expires_at=None if expires_seconds is None else now + expires_seconds,
        note=note,
        origin=bounds.origin,
        places=bounds.places,
    )
    index.put_token(row)
    return Secret(token), row
