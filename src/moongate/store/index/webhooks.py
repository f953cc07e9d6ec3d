"""Webhooks, and what is still to be sent to them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, update

from moongate.core.webhooks import DeliveryRow, DeliveryState, HookRow
from moongate.store.index.database import Database, by
from moongate.store.schema import webhook_deliveries, webhooks

_MOST = 1000


class WebhookRows:
    """Webhooks and their deliveries."""

    def __init__(self, database: Database) -> None:
        prepare, sent = database.prepare, webhook_deliveries
        self._db = database
        self._put_hook = database.upsert(webhooks)
        self._hooks = prepare(select(webhooks).order_by(webhooks.c.created_at, webhooks.c.hook_id))
        self._drop_hook = prepare(delete(webhooks).where(by(webhooks.c.hook_id)))
        self._drop_hook_deliveries = prepare(delete(sent).where(by(sent.c.hook_id)))
        self._put_delivery = database.upsert(sent)
        self._due_deliveries = prepare(
            select(sent)
            .where(sent.c.state == "waiting", sent.c.next_at <= bindparam("now_"))
            .order_by(sent.c.next_at, sent.c.delivery_id)
            .limit(100)
        )
        self._deliveries_of = prepare(
            select(sent).where(by(sent.c.hook_id)).order_by(sent.c.created_at.desc()).limit(_MOST)
        )
        self._note_attempt = prepare(
            update(sent)
            .values(
                state=bindparam("state_"),
                next_at=bindparam("next_"),
                attempts=sent.c.attempts + 1,
                why=bindparam("why_"),
            )
            .where(sent.c.delivery_id == bindparam("id_")),
            "state_",
            "next_",
            "why_",
            "id_",
        )
        self._prune_deliveries = prepare(
            delete(sent).where(sent.c.state != "waiting", sent.c.created_at < bindparam("older_than"))
        )

    def put_hook(self, hook: HookRow) -> None:
        """Keep a new webhook."""
        self._db.run(
            self._put_hook,
            hook.id,
            hook.url,
            hook.secret,
            json.dumps(hook.kinds),
            hook.created_at,
            hook.created_by,
            hook.note,
        )

    def hooks(self) -> list[HookRow]:
        """Every webhook, the oldest first."""
        rows = self._db.all(self._hooks)
        return [
            HookRow(id_, url, secret, tuple(json.loads(kinds)), created_at, created_by, note)
            for id_, url, secret, kinds, created_at, created_by, note in rows
        ]

    def drop_hook(self, hook_id: str) -> bool:
        """Remove a webhook and what was still to be sent there; whether there was one."""
        with self._db.transaction() as transaction:
            transaction.run(self._drop_hook_deliveries, hook_id)
            return transaction.run(self._drop_hook, hook_id) > 0

    def put_deliveries(self, deliveries: Sequence[DeliveryRow]) -> None:
        """Keep what is to be sent."""
        with self._db.transaction() as transaction:
            transaction.run_many(
                self._put_delivery,
                (
                    (row.id, row.hook_id, row.kind, row.body, row.state, row.created_at, row.next_at,
                     row.attempts, row.why)
                    for row in deliveries
                ),
            )  # fmt: skip

    def due_deliveries(self, now: float) -> list[DeliveryRow]:
        """What is to be sent by now, at most a hundred."""
        return [DeliveryRow(*row) for row in self._db.all(self._due_deliveries, now)]

    def deliveries_of(self, hook_id: str) -> list[DeliveryRow]:
        """What was and is to be sent to a webhook, the newest first."""
        return [DeliveryRow(*row) for row in self._db.all(self._deliveries_of, hook_id)]

    def note_attempt(self, delivery_id: str, state: DeliveryState, next_at: float, why: str) -> None:
        """Write down what became of an attempt, and when the next one is due."""
        self._db.run(self._note_attempt, state, next_at, why, delivery_id)

    def prune_deliveries(self, older_than: float) -> int:
        """Forget what was sent or given up before then; how many."""
        return self._db.run(self._prune_deliveries, older_than)
