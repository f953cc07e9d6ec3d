"""Our own tokens: `hf_` and 48 letters or digits, shown once, kept as a sha256.

The shape is what every Hub client takes for a token; the length tells it from the Hub's own.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from typing import Protocol

from moongate.core.callers import Scope, Secret, TokenOrigin, TokenRow

_ALPHABET = string.ascii_letters + string.digits
_RANDOM_CHARS = 48


class TokenShelf(Protocol):
    def put_token(self, token: TokenRow) -> None: ...


def mint(
    index: TokenShelf,
    user: str,
    scope: Scope,
    expires_seconds: float | None,
    note: str,
    now: float,
    origin: TokenOrigin = "",
    places: tuple[str, ...] = (),
) -> tuple[Secret, TokenRow]:
    """A new token for a user, kept in the index; the secret is never seen again.

    expires_seconds: how long it is good for; None for ever. places: what it is bound to.
    """
    token = "hf_" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    row = TokenRow(
        id=secrets.token_hex(6),
        sha256=hashlib.sha256(token.encode()).hexdigest(),
        user=user,
        scope=scope,
        created_at=now,
        expires_at=None if expires_seconds is None else now + expires_seconds,
        note=note,
        origin=origin,
        places=places,
    )
    index.put_token(row)
    return Secret(token), row
