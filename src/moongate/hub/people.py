"""Accounts, groups and roles as those who run a gateway see and change them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from moongate.core.accounts import EVERYWHERE, AccountRow
from moongate.core.callers import GatewayRole
from moongate.core.errors import Absent, BadRequest, Conflict
from moongate.hub.hosted.places import Places
from moongate.hub.standing import Standing
from moongate.store.index import Role

_AS_ACCESS: Final[dict[GatewayRole, Role]] = {"reader": "read", "publisher": "write", "admin": "admin"}
_AS_ROLE: Final[dict[Role, GatewayRole]] = {"read": "reader", "write": "publisher", "admin": "admin"}


class PeopleRows(Protocol):
    """What this room needs of the index."""

    def account(self, name: str) -> AccountRow | None: ...
    def accounts(self) -> list[AccountRow]: ...
    def add_account(self, row: AccountRow) -> bool: ...
    def disable_account(self, name: str, now: float) -> bool: ...
    def enable_account(self, name: str) -> bool: ...
    def groups_of(self, name: str) -> list[str]: ...
    def map_group(self, group: str, team: str) -> None: ...
    def unmap_group(self, group: str, team: str) -> bool: ...
    def group_map(self) -> list[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class RoleGiven:
    """Who has which role; namespace: None for the whole gateway."""

    subject: str
    role: GatewayRole
    namespace: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """An account, with what it is."""

    row: AccountRow
    groups: tuple[str, ...]
    teams: tuple[str, ...]
    roles: tuple[str, ...]


class People:
    """Everything here blocks, and belongs in a thread."""

    def __init__(
        self, index: PeopleRows, standing: Standing, places: Places, clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._standing = standing
        self._places = places
        self._clock = clock

    def known(self) -> list[Known]:
        """Everybody who signed in, and every service account, by name."""
        found = []
        for row in self._index.accounts():
            stand = (
                self._standing.of(row.name) if row.kind == "service" else self._standing.signed_in(row.name)
            )
            found.append(Known(row, stand.groups, stand.teams, stand.roles))
        return found

    def add_service(self, name: str, note: str) -> AccountRow:
        """Make a service account.

        Raises:
            Conflict: there is an account of this name.
        """
        row = AccountRow(name.lower(), "service", None, None, self._clock(), note=note)
        if not self._index.add_account(row):
            raise Conflict(f"there is an account {row.name} already")
        return row

    def set_disabled(self, name: str, *, disabled: bool) -> None:
        """Let an account come in no more: its sessions end, its tokens are worthless. Or take that back.

        Raises:
            Absent: there is no such account.
        """
        known = (
            self._index.disable_account(name, self._clock()) if disabled else self._index.enable_account(name)
        )
        if not known:
            raise Absent(f"there is no account {name}")

    def map_group(self, group: str, team: str) -> None:
        """Have everybody of an issuer's group be in a team."""
        self._index.map_group(group, team)
        self._standing.forget()

    def unmap_group(self, group: str, team: str) -> bool:
        """Take that back; whether it was so."""
        unmapped = self._index.unmap_group(group, team)
        self._standing.forget()
        return unmapped

    def group_map(self) -> list[tuple[str, str]]:
        """Which groups are in which teams."""
        return self._index.group_map()

    def roles(self) -> list[RoleGiven]:
        """Every role, of the gateway and of namespaces that live here."""
        found = [
            RoleGiven(row.subject, row.role, None if row.place == EVERYWHERE else row.place)
            for row in self._standing.rows()
        ]
        for place, subject, role in self._places.access():
            if "/" not in place:
                found.append(RoleGiven(subject, _AS_ROLE[role], place))
        return sorted(found, key=lambda one: (one.namespace or "", one.subject, one.role))

    def give(self, given: RoleGiven) -> None:
        """Let somebody have a role. At a namespace, reader, publisher and admin are access to it.

        Raises:
            Absent: no such namespace lives here.
        """
        if given.namespace is None or given.role == "approver":
            self._standing.give(given.subject, given.role, given.namespace)
        else:
            self._places.allow(_namespace(given.namespace), given.subject, _AS_ACCESS[given.role])

    def take(self, given: RoleGiven) -> bool:
        """Take a role back; whether they had it.

        Raises:
            Absent: no such namespace lives here.
        """
        if given.namespace is None or given.role == "approver":
            return self._standing.take(given.subject, given.role, given.namespace)
        held = [(subject, role) for _, subject, role in self._places.access(_namespace(given.namespace))]
        if (given.subject, _AS_ACCESS[given.role]) not in held:
            return False
        return self._places.disallow(given.namespace, given.subject)


def _namespace(text: str) -> str:
    if "/" in text:
        raise BadRequest(f"not a namespace: {text[:60]!r}")
    return text
