"""What an OpenID Connect issuer publishes of itself, and the words of a sign-in there.

An issuer is its address, letter by letter, as its tokens name it. It speaks https; http is for a machine's
own loopback alone, where tests and trials live.

Source: OpenID Connect Discovery 1.0; RFC 6749, 7636 (PKCE), 8414 and 9207.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from moongate.core.errors import BadRequest, UpstreamBroken
from moongate.core.names import shown

_MAX_CHARS = 2000
_WANTED_SCOPES = ("openid", "email", "profile", "groups")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an issuer says of itself. Addresses are unchecked."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    scopes: Sequence[str] = ()
    algorithms: Sequence[str] = ()
    authentications: Sequence[str] = ()
    names_itself: bool = False

    @property
    def wanted_scopes(self) -> str:
        """The scopes that a sign-in asks for, of those that there are."""
        known = self.scopes or ("openid", "email", "profile")
        return " ".join(scope for scope in _WANTED_SCOPES if scope in known or scope == "openid")


def check_issuer(text: str) -> str:
    """An issuer's address, if it can be one.

    Raises:
        BadRequest: it cannot.
    """
    parts = urlsplit(text)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    good = (
        len(text) <= _MAX_CHARS
        and text.isascii()
        and text.isprintable()
        and " " not in text
        and (parts.scheme == "https" or (parts.scheme == "http" and local))
        and bool(parts.hostname)
        and not (parts.query or parts.fragment or "@" in parts.netloc)
    )
    if not good:
        raise BadRequest(f"not an issuer: {shown(text)} (expected https://host, as its tokens name it)")
    return text


def discovery_url(issuer: str) -> str:
    """Where an issuer tells of itself."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def read_metadata(told: object, issuer: str) -> Metadata:
    """What an issuer's discovery document says.

    Raises:
        UpstreamBroken: it makes no sense, or is another issuer's.
    """
    if not isinstance(told, dict) or told.get("issuer") != issuer:
        raise UpstreamBroken("what the issuer tells of itself is another issuer's, or makes no sense")
    if not _text(told, "jwks_uri"):
        raise UpstreamBroken("the issuer does not say where its keys are")
    return Metadata(
        issuer,
        _text(told, "jwks_uri"),
        _text(told, "authorization_endpoint"),
        _text(told, "token_endpoint"),
        _text(told, "userinfo_endpoint"),
        _texts(told, "scopes_supported"),
        _texts(told, "id_token_signing_alg_values_supported"),
        _texts(told, "token_endpoint_auth_methods_supported"),
        told.get("authorization_response_iss_parameter_supported") is True,
    )


def read_keys(told: object) -> list[Mapping[str, Any]]:
    """The keys that an issuer publishes, private and shared ones left out.

    Raises:
        UpstreamBroken: there are none.
    """
    keys = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(keys, list):
        raise UpstreamBroken("the issuer publishes no keys")
    return [key for key in keys[:100] if isinstance(key, dict) and key.get("kty") != "oct"]


def authorization_url(
    metadata: Metadata, *, client_id: str, redirect_uri: str, state: str, nonce: str, verifier: str
) -> str:
    """Where a browser is sent to sign in."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": metadata.wanted_scopes,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{joint}{urlencode(asked)}"


def challenge_of(verifier: str) -> str:
    """What a sign-in shows of its secret beforehand (PKCE, S256)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) and len(value) <= _MAX_CHARS else ""


def _texts(told: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = told.get(name)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
