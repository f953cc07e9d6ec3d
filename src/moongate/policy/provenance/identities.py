"""Identities: whom a keyless signature names, and which of them are believed.

Whoever signs without a key signs in with an issuer (OpenID Connect); the certificate names both. They are
believed as `identities.yaml` among the trusted signers lists them, by the words that cosign has for it:

    - identity: release@acme.example
      issuer: https://accounts.google.com
    - identity_regexp: https://github\\.com/acme/tiny/\\.github/workflows/release\\.yml@refs/tags/v.+
      issuer: https://token.actions.githubusercontent.com

An issuer is never a pattern: who may say who somebody is, is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from moongate.core.errors import BadRequest
from moongate.policy.yaml_lines import Document, read_yaml

_KEYS: Final = ("identity", "identity_regexp", "issuer")
_EXAMPLE: Final = "like `- {identity: release@acme.example, issuer: https://accounts.google.com}`"
_LONGEST: Final = 2000


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody as an issuer names them, or several by a pattern of the whole name."""

    issuer: str
    identity: str = ""
    pattern: re.Pattern[str] | None = None

    def names(self, identity: str, issuer: str) -> bool:
        if issuer != self.issuer or len(identity) > _LONGEST:
            return False
        if self.pattern is not None:
            return self.pattern.fullmatch(identity) is not None
        return identity == self.identity


@lru_cache(maxsize=4)
def read_identities(name: str, text: str) -> tuple[Identity, ...]:
    """The identities of a file; remembered, since they are asked for with each signature.

    Raises:
        BadRequest: it is something else; the message says in which line, and how to write it.
    """
    document = read_yaml(name, text)
    if document.value is None:
        return ()
    if not isinstance(document.value, list):
        raise BadRequest(document.complaint((), f"this is no list; write one identity a line, {_EXAMPLE}"))
    return tuple(_identity(document, at, told) for at, told in enumerate(document.value))


def _identity(document: Document, at: int, told: object) -> Identity:
    def wrong(words: str) -> BadRequest:
        return BadRequest(document.complaint((at,), f"{words}, {_EXAMPLE}"))

    if not isinstance(told, dict) or not all(isinstance(value, str) and value for value in told.values()):
        raise wrong("an identity is written with its issuer, each a text")
    strange = next((key for key in told if key not in _KEYS), None)
    if strange is not None:
        raise wrong(f"{strange[:60]!r} means nothing here; an identity is written")
    if "issuer" not in told:
        raise wrong("the issuer is missing: anybody could run one that gives out this name; write it")
    if ("identity" in told) == ("identity_regexp" in told):
        raise wrong("write either `identity` or `identity_regexp`")
    return Identity(told["issuer"], told.get("identity", ""), _pattern(document, at, told))


def _pattern(document: Document, at: int, told: Mapping[str, Any]) -> re.Pattern[str] | None:
    if "identity_regexp" not in told:
        return None
    try:
        return re.compile(told["identity_regexp"])
    except re.error as error:
        place = (at, "identity_regexp")
        raise BadRequest(document.complaint(place, f"this is no regular expression: {error}")) from None
