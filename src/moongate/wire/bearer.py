"""The `Authorization` header: which token a client sent, and what ours look like."""

from __future__ import annotations

import base64
import binascii
import re

from moongate.core.callers import Secret

OUR_TOKEN_CHARS = 51

_OURS = re.compile(r"hf_[A-Za-z0-9]{48}")
_ID_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){2,4}")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,4096}")


def token_of(header: str | None) -> str | None:
    """The token in an `Authorization` header: a Bearer's, or the password of a Basic pair (git sends that).

    A Basic pair without a password gives its user name, since people paste a token there too. None when there
    is no header, or nothing usable in it.
    """
    scheme, _, rest = (header or "").strip(" \t").partition(" ")
    rest = rest.strip(" \t")
    if scheme.lower() == "bearer":
        return rest if _PRINTABLE.fullmatch(rest) else None
    if scheme.lower() == "basic":
        return _basic_token(rest)
    return None


def looks_like_ours(token: str) -> bool:
    """Whether a token has the shape of those that Moongate mints: `hf_` and 48 letters or digits."""
    return bool(_OURS.fullmatch(token))


def looks_like_id_token(token: str) -> bool:
    """Whether a token has the shape of a JSON Web Token, which no token of ours or of the Hub has."""
    return bool(_ID_TOKEN.fullmatch(token))


def bearer(credential: Secret) -> str:
    """The value of an `Authorization` header that carries this credential."""
    return f"Bearer {credential.reveal()}"


def basic(credential: Secret, user: str = "user") -> str:
    """The same for git, which wants a user name beside the token."""
    return "Basic " + base64.b64encode(f"{user}:{credential.reveal()}".encode()).decode()


def _basic_token(encoded: str) -> str | None:
    if len(encoded) > 8192:
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    token = password or user
    return token if _PRINTABLE.fullmatch(token) else None
