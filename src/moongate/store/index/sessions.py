"""Ways in that are under way: browsers' sessions, devices that wait for a person, words that were used up."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, update

from moongate.core.accounts import DeviceRow, DeviceState, SessionRow
from moongate.store.index.database import Database, by
from moongate.store.schema import device_codes, sessions, spent_words


class SessionRows:
    """Sessions, device codes and spent words."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_session = database.upsert(sessions)
        self._session = prepare(select(sessions).where(by(sessions.c.sha256)))
        self._drop_session = prepare(delete(sessions).where(by(sessions.c.sha256)))
        self._put_device = prepare(
            database.insert(device_codes)
            .values({column: bindparam(f"{column.name}_") for column in device_codes.c})
            .on_conflict_do_nothing()
        )
        self._device = prepare(select(device_codes).where(by(device_codes.c.sha256)))
        self._device_called = prepare(select(device_codes).where(by(device_codes.c.user_code)))
        self._answer_device = prepare(
            update(device_codes)
            .values(state=bindparam("state_"), account=bindparam("account_"))
            .where(device_codes.c.user_code == bindparam("code_"), device_codes.c.state == "waiting"),
            "code_",
            "state_",
            "account_",
        )
        self._drop_device = prepare(delete(device_codes).where(by(device_codes.c.sha256)))
        self._spend = prepare(
            database.insert(spent_words)
            .values(word=bindparam("word_"), expires_at=bindparam("expires_at_"))
            .on_conflict_do_nothing()
        )
        self._prunes = [
            prepare(delete(table).where(table.c.expires_at < bindparam("now_")))
            for table in (sessions, device_codes, spent_words)
        ]

    def put_session(self, row: SessionRow) -> None:
        """Keep a new session."""
        values = (row.sha256, row.account, row.token_sha256, row.created_at, row.expires_at)
        self._db.run(self._put_session, *values)

    def session(self, sha256: str) -> SessionRow | None:
        """The session of a cookie, ended ones too while they are kept. A point read."""
        row = self._db.one(self._session, sha256)
        return None if row is None else SessionRow(*row)

    def drop_session(self, sha256: str) -> bool:
        """End a session; whether there was one."""
        return self._db.run(self._drop_session, sha256) > 0

    def put_device(self, row: DeviceRow) -> bool:
        """Have a device wait; False when its code is another one's."""
        values = (row.sha256, row.user_code, row.expires_at, row.state, row.account)
        return self._db.run(self._put_device, *values) > 0

    def device(self, sha256: str) -> DeviceRow | None:
        """The device with this secret. A point read."""
        row = self._db.one(self._device, sha256)
        return None if row is None else DeviceRow(*row)

    def device_called(self, user_code: str) -> DeviceRow | None:
        """The device whose code a person typed. A point read."""
        row = self._db.one(self._device_called, user_code)
        return None if row is None else DeviceRow(*row)

    def answer_device(self, user_code: str, state: DeviceState, account: str) -> bool:
        """Allow or deny a waiting device; whether it still waited."""
        return self._db.run(self._answer_device, user_code, state, account) > 0

    def take_device(self, sha256: str) -> bool:
        """Let go of a device that got its token; False when somebody else was faster."""
        return self._db.run(self._drop_device, sha256) > 0

    def spend(self, word: str, expires_at: float) -> bool:
        """Use up a word that is good once; False when it was used already."""
        return self._db.run(self._spend, word, expires_at) > 0

    def prune_ways_in(self, now: float) -> int:
        """Forget what has ended; how many rows."""
        return sum(self._db.run(prune, now) for prune in self._prunes)
