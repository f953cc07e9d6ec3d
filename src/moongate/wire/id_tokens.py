"""Signed tokens of other issuers (JSON Web Tokens): what one must be to be believed.

Rules:

- Three parts, at most 16 kB; encrypted tokens (five parts) are not read. Of the header nothing is believed
  but `kid`, which picks one of the issuer's own keys; `alg` must be the one that we expect of this issuer, so
  that neither `none` nor a public key taken for a shared secret means anything; a `crit` header is refused.
- Signatures by a shared secret are not known here at all. A key of another kind than the algorithm wants, or
  one that is for encryption, is no key.
- `iss` is the issuer, `aud` names us, `exp` lies ahead, `iat` and `nbf` do not (within `SKEW_SECONDS`), and
  `sub` says something. `nonce` and `azp` are looked at where a sign-in asked for them.

Source: RFC 7515, 7519 and 8725; OpenID Connect Core 3.1.3.7.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwk, jws
from joserfc.errors import JoseError

from moongate.core.errors import BadToken

MAX_TOKEN_CHARS: Final = 16 * 1024
SKEW_SECONDS: Final = 60.0

KEY_TYPES: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "PS256": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "EdDSA": "OKP",
}
"""The algorithms that an issuer may sign with, and the kind of key that each wants."""

_MIN_RSA_BITS = 2048
_ED25519 = "Ed25519"

Claims = Mapping[str, Any]  # what an issuer says, checked by whoever looks


class BadIdToken(BadToken):
    """A signed token that is not believed; the message says why, and holds nothing of it but names."""


class KeyUnknown(BadIdToken):
    """It names a key that is not among those we know; perhaps the issuer has a new one."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must be: by whom, for whom, signed how. nonce: of the sign-in. azp: our name there."""

    issuer: str
    audience: str
    algorithm: str
    nonce: str | None = None
    azp: str | None = None


def issuer_of(token: str) -> str:
    """Who a token says has made it; nobody has checked that yet.

    Raises:
        BadIdToken: it is no token.
    """
    issuer = _object(_parts(token)[1], "claims").get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise BadIdToken("the token does not say who issued it")
    return issuer


def claims_of(token: str, keys: Sequence[Mapping[str, Any]], expected: Expected, now: float) -> Claims:
    """What a token says, once all of it is right. `keys`: the issuer's, as it publishes them.

    Raises:
        KeyUnknown: it is signed with another key.
        BadIdToken: it is not right.
    """
    header = _object(_parts(token)[0], "header")
    if expected.algorithm not in KEY_TYPES:
        raise BadIdToken(f"{expected.algorithm} is no algorithm that is believed here")
    if header.get("alg") != expected.algorithm:
        raise BadIdToken(f"the token is not signed with {expected.algorithm}, as this issuer's are")
    if "crit" in header or header.get("b64") is not None:
        raise BadIdToken("the token wants extensions that are not known here")
    key = _key(header.get("kid"), keys, expected.algorithm)
    try:
        signed = jws.deserialize_compact(token, key, algorithms=[expected.algorithm])
    except (JoseError, ValueError, TypeError):
        raise BadIdToken("the signature of the token is wrong") from None
    claims = _json(signed.payload, "claims")
    _check(claims, expected, now)
    return claims


def _check(claims: Claims, expected: Expected, now: float) -> None:
    if claims.get("iss") != expected.issuer:
        raise BadIdToken("the token is of another issuer")
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not expected.audience or expected.audience not in named:
        raise BadIdToken(f"the token is not for this gateway: its audience has to be {expected.audience}")
    expires_at, issued_at = _time(claims, "exp"), _time(claims, "iat")
    if expires_at is None or issued_at is None:
        raise BadIdToken("the token does not say when it was issued, or when it ends")
    if expires_at + SKEW_SECONDS <= now:
        raise BadIdToken("the token has expired")
    if issued_at - SKEW_SECONDS > now or (_time(claims, "nbf") or 0.0) - SKEW_SECONDS > now:
        raise BadIdToken("the token is from the future; is a clock wrong?")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
        raise BadIdToken("the token does not say whom it is about")
    if expected.nonce is not None and claims.get("nonce") != expected.nonce:
        raise BadIdToken("the token is not the answer to this sign-in")
    if expected.azp is not None and (len(named) > 1 or "azp" in claims) and claims.get("azp") != expected.azp:
        raise BadIdToken("the token was issued to another client")


def _key(key_id: object, keys: Sequence[Mapping[str, Any]], algorithm: str) -> jwk.Key:
    """The one key that may have signed it."""
    wanted = KEY_TYPES[algorithm]
    fit = [
        key
        for key in keys
        if key.get("kty") == wanted
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    ]
    if isinstance(key_id, str):
        fit = [key for key in fit if key.get("kid") == key_id]
    if len(fit) != 1:
        raise KeyUnknown("the token is signed with a key that its issuer does not publish")
    public = {name: value for name, value in fit[0].items() if name in _PUBLIC}
    try:
        key = jwk.import_key(public)
    except (JoseError, ValueError, TypeError):
        raise BadIdToken("the issuer publishes a key that is none") from None
    if isinstance(key, jwk.RSAKey) and key.raw_value.key_size < _MIN_RSA_BITS:
        raise BadIdToken("the issuer's key is too short")
    if isinstance(key, jwk.OKPKey) and public.get("crv") != _ED25519:
        raise BadIdToken("the issuer's key is of a kind that is not believed here")
    return key


_PUBLIC = frozenset(("kty", "kid", "n", "e", "crv", "x", "y"))


def _parts(token: str) -> list[str]:
    if len(token) > MAX_TOKEN_CHARS:
        raise BadIdToken("the token is absurdly long")
    parts = token.split(".")
    if len(parts) == 5:
        raise BadIdToken("encrypted tokens are not read here")
    if len(parts) != 3 or not all(parts) or not token.isascii():
        raise BadIdToken("this is no signed token")
    return parts


def _object(part: str, what: str) -> Claims:
    try:
        raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise BadIdToken(f"the token's {what} cannot be read") from None
    return _json(raw, what)


def _json(raw: bytes, what: str) -> Claims:
    try:
        told = json.loads(raw, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        raise BadIdToken(f"the token's {what} cannot be read") from None
    if not isinstance(told, dict):
        raise BadIdToken(f"the token's {what} cannot be read")
    return told


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError("a name comes twice")
    return told


def _time(claims: Claims, name: str) -> float | None:
    value = claims.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e12 else None  # type: ignore[operator, arg-type]
