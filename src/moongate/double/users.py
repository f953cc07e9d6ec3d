"""Who a token belongs to, and what they may see, read and change."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field

from moongate.double.repo import Repo


@dataclass(slots=True)
class User:
    """A user. `grants` are ids of gated or private repositories they may read; `role` is the token's."""

    name: str
    token: str = field(repr=False)
    role: str = "write"
    grants: set[str] = field(default_factory=set)
    orgs: set[str] = field(default_factory=set)

    def owns(self, repo: Repo) -> bool:
        return repo.namespace == self.name or repo.namespace in self.orgs

    def sees(self, repo: Repo) -> bool:
        """May know that the repository exists."""
        return not repo.private or self.owns(repo) or repo.id in self.grants

    def reads(self, repo: Repo) -> bool:
        """May fetch its files."""
        return self.sees(repo) and (not repo.gated or self.owns(repo) or repo.id in self.grants)

    def writes(self, namespace: str) -> bool:
        return self.role == "write" and (namespace == self.name or namespace in self.orgs)


class Users:
    """The users of a double, found by the token of a request."""

    def __init__(self) -> None:
        self._by_token: dict[str, User] = {}

    def add(
        self,
        name: str,
        token: str,
        *,
        role: str = "write",
        grants: Iterable[str] = (),
        orgs: Iterable[str] = (),
    ) -> User:
        """Add a user; the same token again replaces the user."""
        user = User(name, token, role, set(grants), set(orgs))
        self._by_token[token] = user
        return user

    def revoke(self, token: str) -> None:
        """Forget a token; unknown ones are no error."""
        self._by_token.pop(token, None)

    def by_token(self, token: str) -> User | None:
        return self._by_token.get(token)

    def by_name(self, name: str) -> User | None:
        return next((user for user in self._by_token.values() if user.name == name), None)

    def orgs(self) -> set[str]:
        return {org for user in self._by_token.values() for org in user.orgs}


def token_of(authorization: str | None) -> str | None:
    """The token in an Authorization header: bearer, or the password of Basic as git sends it."""
    scheme, _, value = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or name or None
