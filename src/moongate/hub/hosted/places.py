"""Which namespaces and repositories live here, and who may do what with them.

- Administrators may everything; so may the user of this machine while the door is open on loopback.
- Who created a repository is its administrator, as is everybody in the namespace of their own name.
- A role at a namespace or at a repository, for a user or a team, counts for those.
- A namespace without roles is open: whoever has a token that writes may create there and write to what is
  public. With roles it belongs to those who have one.
- Public means everybody whom the door lets in; a private repository is absent for those without a role.
- The files of a gated repository are for those with a role of their own, and for who created it.
- A token's scope bounds all of it; outside what a token is bound to, it has what everybody has.
- Who signed in writes to an open namespace only as a publisher of the gateway; see `hub.standing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moongate.core.callers import Caller
from moongate.core.errors import (
    Absent,
    AuthRequired,
    BadName,
    BadRequest,
    Conflict,
    GatedRepo,
    NotAllowed,
    RepoAbsent,
    RepoMoved,
    ScopeMissing,
)
from moongate.core.names import RepoId, is_repo_segment, parse_repo, shown
from moongate.hub.hosted.quotas import Limits, limits_of, with_limits
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.standing import subjects_of
from moongate.store.index import HostedRow, Index, Role

_RANK: Final[dict[Role | None, int]] = {None: 0, "read": 1, "write": 2, "admin": 3}
_SCOPE_ROLES: Final[dict[str, Role]] = {"read": "read", "write": "admin", "admin": "admin"}
_CLASHES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """A namespace for those who run this gateway. declared: by the settings. is_open: it has no roles.

    used_bytes: what its repositories take up in all revisions, each content once.
    """

    name: str
    repos: int
    declared: bool
    is_open: bool
    used_bytes: int
    limits: Limits


class Places:
    """Namespaces, repositories and roles."""

    def __init__(self, index: Index, rules: HostedRules, clock: Callable[[], float]) -> None:
        self._index = index
        self._declared = {name.lower(): name for name in rules.namespaces}
        self._clock = clock

    # Namespaces

    def hosts(self, repo: RepoId) -> bool:
        """Whether a repository of this name lives here, if it exists at all. A point read."""
        return bool(repo.namespace) and self.hosts_namespace(repo.namespace)

    def hosts_namespace(self, name: str) -> bool:
        """Whether a namespace lives here. A point read."""
        return name.lower() in self._declared or self._index.get_namespace(name) is not None

    def hosts_anything(self) -> bool:
        """Whether any namespace lives here. A point read."""
        return bool(self._declared) or bool(self._index.namespaces())

    def namespaces(self) -> list[str]:
        """Those that live here, as they were declared, by name."""
        found = {row.name: row.shown for row in self._index.namespaces()}
        return [shown for _, shown in sorted({**found, **self._declared}.items())]

    def add_namespace(self, name: str) -> bool:
        """Have a namespace live here from now on; False when it does already.

        Raises:
            BadName: no namespace can be called so.
            Conflict: repositories of it are kept here that are upstream's; they would be hidden.
        """
        if not is_repo_segment(name):
            raise BadName(f"not a namespace: {shown(name)}")
        if self.hosts_namespace(name):
            return False
        self._refuse_clash(name)
        return self._index.add_namespace(name, self._clock())

    def remove_namespace(self, name: str) -> bool:
        """Give up a namespace; False when it is none of ours.

        Raises:
            Conflict: it has repositories, or the settings declare it.
        """
        if name.lower() in self._declared:
            raise Conflict(f"the setting hosted_namespaces declares {name}; take it out there")
        if self._index.get_namespace(name) is None:
            return False
        if not self._index.drop_namespace(name):
            raise Conflict(f"{name} has repositories; delete or move them first")
        return True

    def refuse_clashes(self) -> None:
        """Return when no namespace of the settings hides repositories of upstream that are kept here.

        Raises:
            Conflict: one does; says which.
        """
        for name in self._declared.values():
            self._refuse_clash(name)

    def _refuse_clash(self, name: str) -> None:
        clash = self._index.proxied_in(name, _CLASHES_SHOWN)
        if clash:
            named = ", ".join(str(repo) for repo in clash)
            raise Conflict(
                f"repositories of {name} from upstream are kept here ({named}); a hosted namespace of that "
                f"name would hide them: choose another name, or remove them first with `moongate rm`"
            )

    def overview(self) -> list[NamespaceFacts]:
        """Every namespace that lives here, with what an administrator wants to know of it."""
        return [
            NamespaceFacts(
                name,
                len(self._index.hosted_repos(name)),
                name.lower() in self._declared,
                not self._index.roles(name.lower()),
                self._index.namespace_bytes(name),
                limits_of(self._index.get_namespace(name)),
            )
            for name in self.namespaces()
        ]

    def limit(self, name: str, changes: Mapping[str, int | None]) -> Limits:
        """Change the limits of a namespace, those of `quotas.LIMITS`; see `quotas.with_limits`.

        Raises:
            BadRequest: it does not live here, or a limit is none.
        """
        if not self.hosts_namespace(name):
            raise BadRequest(f"{shown(name)} does not live here")
        self._index.add_namespace(self._declared.get(name.lower(), name), self._clock())
        row = self._index.get_namespace(name)
        settings = with_limits(row.settings if row is not None else {}, changes)
        self._index.set_namespace(name, settings)
        return limits_of(self._index.get_namespace(name))

    # Teams and roles

    def teams(self) -> dict[str, list[str]]:
        """Every team with its members."""
        return self._index.teams()

    def join(self, team: str, user: str) -> None:
        """Make a user a member of a team, which begins with its first member. Again is free."""
        self._index.add_member(team, user)

    def leave(self, team: str, user: str) -> bool:
        """Take a user out of a team; whether they were in it."""
        return self._index.drop_member(team, user)

    def access(self, place: str | None = None) -> list[tuple[str, str, Role]]:
        """Who has which role where, as place, subject and role; at one place, or at all of them.

        Raises:
            Absent: nothing of that name lives here.
        """
        one = None if place is None else self._place_of(place)
        found = self._index.all_roles() if one is None else self._index.roles(one)
        told = ((self._name_of(row.place), row.subject, row.role) for row in found)
        return [(name, subject, role) for name, subject, role in told if name is not None]

    def allow(self, place: str, subject: str, role: Role) -> None:
        """Let `user:alice`, `team:research` or `group:staff` have a role at a place, in place of another.

        Raises:
            Absent: nothing of that name lives here.
        """
        self._index.put_role(self._place_of(place), subject, role)

    def disallow(self, place: str, subject: str) -> bool:
        """Take a role back; whether there was one.

        Raises:
            Absent: nothing of that name lives here.
        """
        return self._index.drop_role(self._place_of(place), subject)

    def _place_of(self, text: str) -> str:
        """A namespace or repository, as people type it, by what its roles stand under."""
        if "/" not in text:
            if not self.hosts_namespace(text):
                raise Absent(f"the namespace {shown(text)} is not hosted here")
            return text.lower()
        repo = parse_repo(text)
        row = self._index.get_hosted(repo)
        if row is None:
            raise RepoAbsent(f"{repo} is not hosted here")
        return row.place

    def _name_of(self, place: str) -> str | None:
        if not place.startswith("#"):
            return place
        row = self._index.get_hosted_number(int(place[1:]))
        return None if row is None else str(row.repo)

    # Repositories

    def repo_for(self, repo: RepoId, caller: Caller, want: Role = "read") -> HostedRow:
        """The repository, when this caller may do that much with it. Some point reads.

        Raises:
            RepoAbsent: it is not there, or not for this caller.
            RepoMoved: it has another name now.
            AuthRequired, ScopeMissing, NotAllowed: they may see it, and not do that.
        """
        row = self._index.get_hosted(repo) or self._index.moved_to(repo)
        if row is None:
            raise RepoAbsent("Repository not found")
        role = self.role_of(row, caller)
        if role is None:
            raise RepoAbsent("Repository not found")
        if _RANK[role] < _RANK[want]:
            raise self._refusal(f"You may not {_VERBS[want]} {row.repo}.", caller)
        if row.repo != repo:
            raise RepoMoved(f"{repo} is {row.repo} now", row.repo.repo_id)
        return row

    def role_of(self, row: HostedRow, caller: Caller) -> Role | None:
        """What a caller may do with a repository at most; None: they may not know of it."""
        role = self._role_of_user(row, caller)
        bound = _SCOPE_ROLES[caller.scope]
        return role if role is None or _RANK[role] <= _RANK[bound] else bound

    def may_read_files(self, row: HostedRow, caller: Caller) -> None:
        """Return when a caller who sees a repository may read its files, too.

        Raises:
            GatedRepo: it is gated, and public is not enough: it wants a role of their own.
        """
        if row.settings.get("gated") and not self._has_own_role(row, caller):
            raise GatedRepo(
                f"Access to {row.repo.repo_type} {row.repo.repo_id} is restricted and you are not in the "
                "authorized list. Ask whoever administers it for access.",
                authenticated=caller.kind != "anonymous",
            )

    def reads_files(self, row: HostedRow, caller: Caller) -> bool:
        """Whether a caller may read a repository's files."""
        return self.role_of(row, caller) is not None and (
            not row.settings.get("gated") or self._has_own_role(row, caller)
        )

    def may_create(self, repo: RepoId, caller: Caller) -> None:
        """Return when this caller may create this repository.

        Raises:
            NotAllowed: the namespace does not live here, or not for this caller.
            AuthRequired, ScopeMissing: nobody said who they are, or their token only reads.
        """
        namespace = repo.namespace
        if not self.hosts_namespace(namespace):
            raise NotAllowed(
                f"The namespace {shown(namespace)} is not hosted here; an administrator can add it with "
                f"`moongate namespace add`"
            )
        if caller.is_operator:
            return
        refused = self._refusal(f"You may not create repositories in {namespace}.", caller)
        if caller.kind != "token" or caller.scope == "read" or not caller.reaches(repo):
            raise refused
        if caller.user.lower() == namespace.lower():
            return
        roles = self._roles(namespace.lower())
        if not roles and _writes_openly(caller):
            return
        if _RANK[self._best(roles, caller.user)] < _RANK["write"]:
            raise refused

    def namespaces_of(self, caller: Caller) -> list[tuple[str, Role]]:
        """The namespaces in which a caller may create repositories, and as what."""
        found: list[tuple[str, Role]] = []
        for name in self.namespaces():
            if caller.is_operator:
                found.append((name, "admin"))
            elif caller.kind == "token" and caller.user.lower() != name.lower():
                roles = self._roles(name.lower())
                role: Role | None = self._best(roles, caller.user)
                if not roles and _writes_openly(caller):
                    role = "write"
                if role is not None and caller.reaches_namespace(name):
                    found.append((name, role))
        return found

    def _role_of_user(self, row: HostedRow, caller: Caller) -> Role | None:
        if caller.is_operator:
            return "admin"
        public: Role | None = None if row.private else "read"
        if caller.kind != "token" or not caller.reaches(row.repo):
            return public
        if caller.user == row.creator or caller.user.lower() == row.repo.namespace.lower():
            return "admin"
        of_namespace = self._roles(row.repo.namespace.lower())
        if not of_namespace and not row.private and _writes_openly(caller):
            public = "write"
        own = self._best([*of_namespace, *self._roles(row.place)], caller.user)
        return max(own, public, key=lambda role: _RANK[role])

    def _has_own_role(self, row: HostedRow, caller: Caller) -> bool:
        if caller.is_operator:
            return True
        if caller.kind != "token" or not caller.reaches(row.repo):
            return False
        owners = (row.creator.lower(), row.repo.namespace.lower())
        roles = [*self._roles(row.repo.namespace.lower()), *self._roles(row.place)]
        return caller.user.lower() in owners or self._best(roles, caller.user) is not None

    def _roles(self, place: str) -> Sequence[tuple[str, Role]]:
        return [(row.subject, row.role) for row in self._index.roles(place)]

    def _best(self, roles: Sequence[tuple[str, Role]], user: str) -> Role | None:
        """The most that these roles give to a user, of their own or by a team."""
        if not roles:
            return None
        mine = subjects_of(user, self._index.teams_of(user), self._index.groups_of(user))
        given = [role for subject, role in roles if subject in mine]
        return max(given, key=lambda role: _RANK[role], default=None)

    @staticmethod
    def _refusal(message: str, caller: Caller) -> NotAllowed:
        if caller.kind == "token" and caller.scope == "read":
            return ScopeMissing("This token only reads; this needs one with scope write.")
        if caller.kind == "anonymous":
            return AuthRequired("This needs a token: set HF_TOKEN to one that may write.")
        return NotAllowed(message)


def _writes_openly(caller: Caller) -> bool:
    """Whether a caller may write where nobody was given a role."""
    return not caller.by_roles or "publisher" in caller.roles


_VERBS: Final[dict[Role, str]] = {"read": "read", "write": "write to", "admin": "administer"}
