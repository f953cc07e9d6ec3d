"""Who is known here: people who signed in, service accounts, and the groups that issuers say they are in."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import bindparam, delete, select, update

from moongate.core.accounts import AccountRow
from moongate.core.errors import Conflict
from moongate.store.index.database import Database, by
from moongate.store.schema import accounts, group_teams, sessions, user_groups


class AccountRows:
    """Accounts and groups."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._account = prepare(select(accounts).where(by(accounts.c.account)))
        self._accounts = prepare(select(accounts).order_by(accounts.c.account))
        self._account_of = prepare(select(accounts).where(by(accounts.c.issuer, accounts.c.subject)))
        self._add_account = prepare(
            database.insert(accounts)
            .values({column: bindparam(f"{column.name}_") for column in accounts.c})
            .on_conflict_do_nothing()
        )
        self._account_seen = prepare(
            update(accounts)
            .values(seen_at=bindparam("now_"))
            .where(accounts.c.account == bindparam("account_")),
            "account_",
            "now_",
        )
        self._disable = prepare(
            update(accounts)
            .values(disabled_at=bindparam("when_"))
            .where(accounts.c.account == bindparam("account_")),
            "account_",
            "when_",
        )
        self._drop_sessions_of = prepare(delete(sessions).where(by(sessions.c.account)))
        self._drop_groups_of = prepare(delete(user_groups).where(by(user_groups.c.account)))
        self._add_group = database.upsert(user_groups)
        self._groups_of = prepare(
            select(user_groups.c.group_name)
            .where(by(user_groups.c.account))
            .order_by(user_groups.c.group_name)
        )
        self._prune_groups = prepare(delete(user_groups).where(user_groups.c.seen_at < bindparam("before")))
        self._map_group = database.upsert(group_teams)
        self._unmap_group = prepare(
            delete(group_teams).where(by(group_teams.c.group_name, group_teams.c.team))
        )
        self._group_map = prepare(select(group_teams).order_by(group_teams.c.group_name, group_teams.c.team))

    def account(self, name: str) -> AccountRow | None:
        """An account, whatever the case of its name. A point read."""
        row = self._db.one(self._account, name.lower())
        return None if row is None else AccountRow(*row)

    def accounts(self) -> list[AccountRow]:
        """All of them, by name."""
        return [AccountRow(*row) for row in self._db.all(self._accounts)]

    def add_account(self, row: AccountRow) -> bool:
        """Keep a new account; False when there is one of that name, or of that issuer and subject."""
        values = (row.name.lower(), row.kind, row.issuer, row.subject)
        more = (row.created_at, row.seen_at, row.disabled_at, row.note)
        return self._db.run(self._add_account, *values, *more) > 0

    def sign_in(self, issuer: str, subject: str, name: str, groups: Collection[str], now: float) -> str:
        """Note that somebody signed in, with the groups that the issuer says they are in; their name here.

        Whom an issuer calls `subject` keeps the name of the first time; a name is never given to two.

        Raises:
            Conflict: the name is somebody else's.
        """
        with self._db.transaction() as transaction:
            row = transaction.one(self._account_of, issuer, subject)
            if row is None:
                values = (name.lower(), "user", issuer, subject, now, now, None, "")
                if not transaction.run(self._add_account, *values):
                    raise Conflict(f"the name {name} is already somebody else's here")
            account = name.lower() if row is None else str(row[0])
            transaction.run(self._account_seen, account, now)
            transaction.run(self._drop_groups_of, account)
            transaction.run_many(self._add_group, [(account, group, now) for group in sorted(set(groups))])
        return account

    def disable_account(self, name: str, now: float) -> bool:
        """End an account's sessions, and make its tokens worthless; whether there is such an account."""
        with self._db.transaction() as transaction:
            transaction.run(self._drop_sessions_of, name.lower())
            return transaction.run(self._disable, name.lower(), now) > 0

    def enable_account(self, name: str) -> bool:
        """Take a disabling back; whether there is such an account."""
        return self._db.run(self._disable, name.lower(), None) > 0

    # Groups

    def groups_of(self, name: str) -> list[str]:
        """The groups that an issuer lately said somebody is in. A point read."""
        return [row[0] for row in self._db.all(self._groups_of, name.lower())]

    def prune_groups(self, before: float) -> int:
        """Forget what issuers said before then; how many rows."""
        return self._db.run(self._prune_groups, before)

    def map_group(self, group: str, team: str) -> None:
        """Have everybody of a group be in a team. Again is free."""
        self._db.run(self._map_group, group, team)

    def unmap_group(self, group: str, team: str) -> bool:
        """Take that back; whether it was so."""
        return self._db.run(self._unmap_group, group, team) > 0

    def group_map(self) -> list[tuple[str, str]]:
        """Which groups are in which teams, by group."""
        return [(row[0], row[1]) for row in self._db.all(self._group_map)]
