"""What is hosted here and who may: namespaces, repositories, former names, roles and teams."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import BindParameter, bindparam, delete, exists, func, or_, select, union, update

from moongate.core.errors import Conflict
from moongate.core.names import RepoId
from moongate.store.index.database import Database, Row, Transaction, by
from moongate.store.schema import (
    access,
    answers,
    commits,
    discussions,
    facts,
    files,
    git_objects,
    group_teams,
    hosted_blobs,
    hosted_lineage,
    hosted_moves,
    hosted_refs,
    hosted_repos,
    hosted_roles,
    namespaces,
    orphans,
    pins,
    refs,
    released_blobs,
    renames,
    repo_key,
    repo_of,
    team_members,
    upload_leases,
    user_groups,
)

Role = Literal["read", "write", "admin"]
"""What a user or a team may do at a place; each includes the one before."""


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """A namespace that lives here. `name` is in lower case, `shown` as it was declared."""

    name: str
    shown: str
    settings: Mapping[str, object]
    created_at: float


@dataclass(frozen=True, slots=True)
class HostedRow:
    """A hosted repository. `number` stays when it is moved; `creator` is a user's name.

    changed_at: of anything that is told of it; who kept an answer asks again.
    """

    number: int
    repo: RepoId
    private: bool
    creator: str
    created_at: float
    changed_at: float
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Under what its own roles stand."""
        return f"#{self.number}"


@dataclass(frozen=True, slots=True)
class RoleRow:
    """Who has which role where. `subject` is `user:alice`, `team:research` or `group:staff`."""

    place: str
    subject: str
    role: Role


def folded_key(repo: RepoId) -> str:
    """A repository's key without its case: names that differ by nothing else are one repository's."""
    return repo_key(repo).lower()


class NamespaceRows:
    """Namespaces that live here."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._namespace = prepare(select(namespaces).where(by(namespaces.c.name)))
        self._namespaces = prepare(select(namespaces).order_by(namespaces.c.name))
        self._add_namespace = prepare(
            database.insert(namespaces)
            .values({column: bindparam(f"{column.name}_") for column in namespaces.c})
            .on_conflict_do_nothing()
        )
        self._set_namespace = prepare(
            update(namespaces)
            .values(settings=bindparam("settings_"))
            .where(namespaces.c.name == bindparam("name_")),
            "name_",
            "settings_",
        )
        self._drop_namespace = prepare(
            delete(namespaces).where(
                by(namespaces.c.name), ~exists().where(hosted_repos.c.namespace == namespaces.c.name)
            )
        )
        self._drop_roles_of_place = prepare(delete(hosted_roles).where(by(hosted_roles.c.place)))
        prefixes: list[BindParameter[str]] = [
            bindparam(f"{kind}_prefix") for kind in ("model", "dataset", "space")
        ]
        known = union(select(refs.c.repo), select(commits.c.repo), select(facts.c.repo)).subquery()
        self._proxied_in = prepare(
            select(known.c.repo)
            .where(
                or_(*(func.lower(known.c.repo).startswith(prefix, autoescape=False) for prefix in prefixes)),
                ~exists().where(hosted_repos.c.repo == known.c.repo),
            )
            .order_by(known.c.repo)
            .limit(bindparam("count")),
            "model_prefix",
            "dataset_prefix",
            "space_prefix",
            "count",
        )

    def get_namespace(self, name: str) -> NamespaceRow | None:
        """A namespace that lives here, whatever the case of its name. A point read."""
        row = self._db.one(self._namespace, name.lower())
        return None if row is None else NamespaceRow(row[0], row[1], json.loads(row[2]), row[3])

    def namespaces(self) -> list[NamespaceRow]:
        """All of them, by name."""
        return [
            NamespaceRow(row[0], row[1], json.loads(row[2]), row[3]) for row in self._db.all(self._namespaces)
        ]

    def add_namespace(self, name: str, now: float) -> bool:
        """Declare a namespace to live here; False when it does already."""
        return self._db.run(self._add_namespace, name.lower(), name, "{}", now) > 0

    def set_namespace(self, name: str, settings: Mapping[str, object]) -> bool:
        """Put these settings in place of a namespace's former ones; whether there is such a namespace."""
        return self._db.run(self._set_namespace, name.lower(), json.dumps(dict(settings))) > 0

    def drop_namespace(self, name: str) -> bool:
        """Give up a namespace that has no repositories; False when it has some, or is unknown."""
        with self._db.transaction() as transaction:
            dropped = transaction.run(self._drop_namespace, name.lower()) > 0
            if dropped:
                transaction.run(self._drop_roles_of_place, name.lower())
        return dropped

    def proxied_in(self, namespace: str, limit: int = 10) -> list[RepoId]:
        """Repositories of that namespace that are kept here and are upstream's."""
        prefixes = [f"{kind}/{namespace.lower()}/" for kind in ("models", "datasets", "spaces")]
        return [repo_of(row[0]) for row in self._db.all(self._proxied_in, *prefixes, limit)]


class HostedRepoRows:
    """Hosted repositories and the names they had. Part of `GitRows`, which begins them."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        number = by(hosted_repos.c.repo_number)
        self._hosted = prepare(select(hosted_repos).where(by(hosted_repos.c.folded)))
        self._hosted_by_number = prepare(select(hosted_repos).where(number))
        self._hosted_all = prepare(select(hosted_repos).order_by(hosted_repos.c.repo))
        self._hosted_in = prepare(
            select(hosted_repos).where(by(hosted_repos.c.namespace)).order_by(hosted_repos.c.repo)
        )
        self._moved_to = prepare(
            select(hosted_repos)
            .join(hosted_moves, hosted_moves.c.repo_number == hosted_repos.c.repo_number)
            .where(by(hosted_moves.c.folded))
        )
        self._add_hosted = prepare(
            database.insert(hosted_repos)
            .values(
                {
                    column: bindparam(f"{column.name}_")
                    for column in hosted_repos.c
                    if column.name != "repo_number"
                }
            )
            .on_conflict_do_nothing()
        )
        self._set_hosted = prepare(
            update(hosted_repos)
            .values(
                private=bindparam("private_"),
                settings=bindparam("settings_"),
                changed_at=bindparam("now_"),
            )
            .where(hosted_repos.c.repo_number == bindparam("number_")),
            "number_",
            "private_",
            "settings_",
            "now_",
        )
        self._rename_hosted = prepare(
            update(hosted_repos)
            .values(folded=bindparam("folded_"), repo=bindparam("repo_"), namespace=bindparam("namespace_"))
            .where(hosted_repos.c.repo_number == bindparam("number_")),
            "number_",
            "folded_",
            "repo_",
            "namespace_",
        )
        self._put_move = database.upsert(hosted_moves)
        self._drop_move = prepare(delete(hosted_moves).where(by(hosted_moves.c.folded)))
        self._put_hosted_facts = database.upsert(facts)
        self._renames_of_rows = [
            prepare(
                update(table).values(repo=bindparam("new_")).where(table.c.repo == bindparam("old_")),
                "old_",
                "new_",
            )
            for table in (commits, refs, facts, pins)
        ]
        self._drops_of_number = [
            prepare(delete(table).where(by(table.c.repo_number)))
            for table in (
                git_objects,
                hosted_blobs,
                hosted_refs,
                discussions,
                upload_leases,
                hosted_lineage,
                released_blobs,
                hosted_moves,
                hosted_repos,
            )
        ]
        self._drops_of_key = [
            prepare(statement, "repo")
            for statement in (
                delete(files).where(
                    files.c.commit_number.in_(select(commits.c.commit_number).where(by(commits.c.repo)))
                ),
                *(
                    delete(table).where(by(table.c.repo))
                    for table in (commits, refs, facts, answers, access, pins)
                ),
                delete(renames).where(renames.c.old_repo == bindparam("repo")),
            )
        ]
        self._orphans_of_number = [
            prepare(
                database.insert(orphans)
                .from_select(["etag"], select(table.c.etag).where(by(table.c.repo_number)).distinct())
                .on_conflict_do_nothing()
            )
            for table in (hosted_blobs, upload_leases)
        ]
        self._drop_own_roles = prepare(delete(hosted_roles).where(by(hosted_roles.c.place)))

    def get_hosted(self, repo: RepoId) -> HostedRow | None:
        """A hosted repository by its present name, whatever the case. A point read."""
        row = self._db.one(self._hosted, folded_key(repo))
        return None if row is None else _hosted_row(row)

    def get_hosted_number(self, number: int) -> HostedRow | None:
        """A hosted repository by its number. A point read."""
        row = self._db.one(self._hosted_by_number, number)
        return None if row is None else _hosted_row(row)

    def moved_to(self, repo: RepoId) -> HostedRow | None:
        """The hosted repository that had this name before it was moved. A point read."""
        row = self._db.one(self._moved_to, folded_key(repo))
        return None if row is None else _hosted_row(row)

    def hosted_repos(self, namespace: str | None = None) -> list[HostedRow]:
        """All of them, or those of a namespace, by name."""
        rows = (
            self._db.all(self._hosted_all)
            if namespace is None
            else self._db.all(self._hosted_in, namespace.lower())
        )
        return [_hosted_row(row) for row in rows]

    def add_hosted(
        self, repo: RepoId, private: bool, creator: str, settings: Mapping[str, object], now: float
    ) -> HostedRow | None:
        """Make an empty repository, which takes its name from whatever had it before; None: it is there."""
        with self._db.transaction() as transaction:
            return self._add(transaction, repo, private, creator, settings, now)

    def _add(
        self,
        transaction: Transaction,
        repo: RepoId,
        private: bool,
        creator: str,
        settings: Mapping[str, object],
        now: float,
    ) -> HostedRow | None:
        folded = folded_key(repo)
        values = (folded, repo_key(repo), repo.namespace.lower(), int(private), creator)
        if not transaction.run(self._add_hosted, *values, json.dumps(dict(settings)), now, now):
            return None
        transaction.run(self._drop_move, folded)
        transaction.run(self._put_hosted_facts, repo_key(repo), int(private), 0, now)
        row = transaction.one(self._hosted, folded)
        return None if row is None else _hosted_row(row)

    def set_hosted(self, row: HostedRow, private: bool, settings: Mapping[str, object], now: float) -> None:
        """Change who sees a repository, and its settings."""
        with self._db.transaction() as transaction:
            transaction.run(self._set_hosted, row.number, int(private), json.dumps(dict(settings)), now)
            transaction.run(self._put_hosted_facts, repo_key(row.repo), int(private), 0, now)

    def rename_hosted(self, row: HostedRow, new: RepoId) -> None:
        """Give a repository another name; the old one leads to it until somebody else takes it.

        Raises:
            Conflict: the new name is taken.
        """
        old_folded, new_folded = folded_key(row.repo), folded_key(new)
        with self._db.transaction() as transaction:
            if old_folded != new_folded and transaction.one(self._hosted, new_folded) is not None:
                raise Conflict(f"A {new.repo_type} repository called {new.repo_id} already exists")
            transaction.run(self._rename_hosted, row.number, new_folded, repo_key(new), new.namespace.lower())
            for statement in self._renames_of_rows:
                transaction.run(statement, repo_key(row.repo), repo_key(new))
            transaction.run(self._drop_move, new_folded)
            if old_folded != new_folded:
                transaction.run(self._put_move, old_folded, row.number)

    def drop_hosted(self, row: HostedRow) -> None:
        """Forget a repository and everything that only it has; collection looks at its content."""
        with self._db.transaction() as transaction:
            for statement in (*self._orphans_of_number, *self._drops_of_number):
                transaction.run(statement, row.number)
            for statement in self._drops_of_key:
                transaction.run(statement, repo_key(row.repo))
            transaction.run(self._drop_own_roles, row.place)


class RoleRows:
    """Roles and teams."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_role = database.upsert(hosted_roles)
        self._drop_role = prepare(
            delete(hosted_roles).where(by(hosted_roles.c.place, hosted_roles.c.subject))
        )
        self._roles = prepare(select(hosted_roles).where(by(hosted_roles.c.place)))
        self._every_role = prepare(select(hosted_roles))
        self._add_member = database.upsert(team_members)
        self._drop_member = prepare(
            delete(team_members).where(by(team_members.c.team, team_members.c.user_name))
        )
        self._team_members = prepare(select(team_members))
        by_group = select(group_teams.c.team).join(
            user_groups, user_groups.c.group_name == group_teams.c.group_name
        )
        self._teams_of = prepare(
            union(
                select(team_members.c.team).where(by(team_members.c.user_name)),
                by_group.where(by(user_groups.c.account)),
            ),
            "user_name",
            "account",
        )

    def put_role(self, place: str, subject: str, role: Role) -> None:
        """Let a user or a team have this role at a place, in place of another one."""
        self._db.run(self._put_role, place, subject, role)

    def drop_role(self, place: str, subject: str) -> bool:
        """Take a role back; whether there was one."""
        return self._db.run(self._drop_role, place, subject) > 0

    def roles(self, place: str) -> list[RoleRow]:
        """Who has which role at a place, by subject. A point read."""
        return [RoleRow(*row) for row in sorted(self._db.all(self._roles, place))]

    def all_roles(self) -> list[RoleRow]:
        """Who has which role anywhere, by place and subject."""
        return [RoleRow(*row) for row in sorted(self._db.all(self._every_role))]

    def add_member(self, team: str, user: str) -> None:
        """Make a user a member of a team, which begins with its first member. Again is free."""
        self._db.run(self._add_member, team, user)

    def drop_member(self, team: str, user: str) -> bool:
        """Take a user out of a team; whether they were in it."""
        return self._db.run(self._drop_member, team, user) > 0

    def teams(self) -> dict[str, list[str]]:
        """Every team with its members."""
        teams: dict[str, list[str]] = {}
        for team, user in sorted(self._db.all(self._team_members)):
            teams.setdefault(team, []).append(user)
        return teams

    def teams_of(self, user: str) -> list[str]:
        """The teams that a user is in, of their own or by a group of their issuer's. A point read."""
        return sorted(row[0] for row in self._db.all(self._teams_of, user, user.lower()))


def _hosted_row(row: Row) -> HostedRow:
    number, _, key, _, private, creator, settings, created_at, changed_at = row
    return HostedRow(
        number, repo_of(key), bool(private), creator, created_at, changed_at, json.loads(settings)
    )
