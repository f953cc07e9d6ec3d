"""Which signed tokens of other issuers stand for whom here."""

from __future__ import annotations

import json

from sqlalchemy import delete, select

from moongate.core.accounts import TrustRow
from moongate.store.index.database import Database, by
from moongate.store.schema import trusts


class TrustRows:
    """Trusts."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_trust = database.upsert(trusts)
        self._drop_trust = prepare(delete(trusts).where(by(trusts.c.trust_id)))
        self._trusts = prepare(select(trusts))

    def put_trust(self, row: TrustRow) -> None:
        """Keep a trust."""
        self._db.run(
            self._put_trust,
            row.id,
            row.issuer,
            json.dumps(dict(row.claims), sort_keys=True),
            row.user,
            row.scope,
            " ".join(row.places),
            row.audience,
            row.algorithm,
            row.ttl_seconds,
            int(row.direct),
            row.created_at,
            row.note,
        )

    def drop_trust(self, trust_id: str) -> bool:
        """Take a trust back; whether there was one."""
        return self._db.run(self._drop_trust, trust_id) > 0

    def trusts(self) -> list[TrustRow]:
        """All of them, the oldest first."""
        rows = []
        for trust_id, issuer, claims, user, scope, places, audience, algorithm, *more in self._db.all(
            self._trusts
        ):
            ttl_seconds, direct, created_at, note = more
            rows.append(
                TrustRow(
                    trust_id,
                    issuer,
                    json.loads(claims),
                    user,
                    scope,
                    tuple(places.split()),
                    audience,
                    algorithm,
                    ttl_seconds,
                    bool(direct),
                    created_at,
                    note,
                )
            )
        return sorted(rows, key=lambda row: (row.created_at, row.id))
