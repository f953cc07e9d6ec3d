"""What somebody is in this gateway: teams, and roles in the gateway as a whole.

- `reader`: comes in. `publisher`: writes wherever nobody was given a role. `approver`: decides about what
  policy held. `admin`: everything. Each but `approver` includes the one before; `admin` includes all.
- A role is given to a user, a team or a group that an issuer tells (`user:`, `team:`, `group:`); `approver`
  also for one namespace alone. Reading and writing in one namespace is what `hosted.places` knows.
- Only who signed in is bound by these roles alone: the scope of an administrator's token says by itself what
  it is good for, and roles add `approver` to it.

What is learned is believed for `HOLD_SECONDS`: a role that was taken back in another process counts so long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from moongate.core.accounts import EVERYWHERE, StandingRow
from moongate.core.callers import GatewayRole, Scope
from moongate.core.errors import BadRequest

HOLD_SECONDS = 2.0
GATEWAY_ROLES: Final[tuple[GatewayRole, ...]] = ("reader", "publisher", "approver", "admin")

_KEPT = 10_000
_WORTH: Final[dict[str, int]] = {"read": 0, "write": 1, "admin": 2}


class StandingIndex(Protocol):
    """What this room needs of the index."""

    def teams_of(self, user: str) -> list[str]: ...
    def groups_of(self, name: str) -> list[str]: ...
    def standing(self) -> list[StandingRow]: ...
    def add_standing(self, row: StandingRow) -> None: ...
    def drop_standing(self, row: StandingRow) -> bool: ...


@dataclass(frozen=True, slots=True)
class Stand:
    """What somebody is. roles: as `Caller.roles` has them."""

    teams: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether they have any role at all."""
        return bool(self.roles or self.teams)

    @property
    def scope(self) -> Scope:
        """What they may do at most without a token that an administrator made.

        Whether they may write in a namespace is for the roles there; so who is no publisher may `write`, too.
        """
        return "admin" if "admin" in self.roles else "write"


class Standing:
    """Looks up what users are, from memory when it was looked up lately."""

    def __init__(
        self, index: StandingIndex, clock: Callable[[], float], default_role: GatewayRole | None = None
    ) -> None:
        """default_role: what everybody has who signed in."""
        self._index = index
        self._clock = clock
        self._default = default_role
        self._rows: list[StandingRow] = []
        self._rows_until = 0.0
        self._known: dict[str, tuple[float, Stand]] = {}

    def of(self, user: str) -> Stand:
        """What a user is. Some point reads at most: fit for an event loop."""
        now = self._clock()
        known = self._known.get(user)
        if known is not None and known[0] > now:
            return known[1]
        stand = self._look_up(user, now)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[user] = (now + HOLD_SECONDS, stand)
        return stand

    def signed_in(self, user: str) -> Stand:
        """As `of`, with the role that everybody has who signed in."""
        stand = self.of(user)
        if self._default is None or self._default in stand.roles:
            return stand
        return Stand(stand.teams, stand.groups, tuple(sorted({*stand.roles, self._default})))

    def rows(self) -> list[StandingRow]:
        """Who has which role."""
        return self._index.standing()

    def give(self, subject: str, role: GatewayRole, namespace: str | None = None) -> StandingRow:
        """Let a user, a team or a group have a role, beside others. Again is free.

        Raises:
            BadRequest: the role is no role of a namespace alone.
        """
        row = _row(subject, role, namespace)
        self._index.add_standing(row)
        self.forget()
        return row

    def take(self, subject: str, role: GatewayRole, namespace: str | None = None) -> bool:
        """Take a role back; whether they had it.

        Raises:
            BadRequest: the role is no role of a namespace alone.
        """
        taken = self._index.drop_standing(_row(subject, role, namespace))
        self.forget()
        return taken

    def forget(self) -> None:
        """Look everything up anew, since something of it was changed here."""
        self._known.clear()
        self._rows_until = 0.0

    def _look_up(self, user: str, now: float) -> Stand:
        if now >= self._rows_until:
            self._rows = self._index.standing()
            self._rows_until = now + HOLD_SECONDS
        teams, groups = self._index.teams_of(user), self._index.groups_of(user)
        subjects = subjects_of(user, teams, groups)
        roles = {
            row.role if row.place == EVERYWHERE else f"{row.role}@{row.place}"
            for row in self._rows
            if row.subject in subjects
        }
        return Stand(tuple(teams), tuple(groups), tuple(sorted(roles)))


def subjects_of(user: str, teams: Sequence[str], groups: Sequence[str]) -> frozenset[str]:
    """Under what a user's roles stand."""
    return frozenset((f"user:{user}", *(f"team:{one}" for one in teams), *(f"group:{one}" for one in groups)))


def least(first: Scope, second: Scope) -> Scope:
    """The scope that includes less."""
    return first if _WORTH[first] <= _WORTH[second] else second


def _row(subject: str, role: GatewayRole, namespace: str | None) -> StandingRow:
    if namespace is None:
        return StandingRow(EVERYWHERE, subject, role)
    if role != "approver":
        raise BadRequest(
            f"{role} at a namespace is given as access to it: reader is read, publisher is write"
        )
    return StandingRow(namespace.lower(), subject, role)
