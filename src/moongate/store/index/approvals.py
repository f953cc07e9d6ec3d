"""Requests for an approval: opened once for each hold, decided once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import bindparam, select, update

from moongate.core.approvals import MOST_REQUESTS, Request, RequestState, Terms, Waiver
from moongate.store.index.database import Database, Row, by
from moongate.store.index.waivers import raise_serial, waiver_values
from moongate.store.schema import approval_askers, approval_requests, waivers


class ApprovalRows:
    """Requests with their askers; a decided one stays."""

    def __init__(self, database: Database) -> None:
        prepare, table = database.prepare, approval_requests
        self._db = database
        self._put_request = database.upsert(table)
        self._request_by_id = prepare(select(table).where(by(table.c.request_id)))
        self._request_by_key = prepare(
            select(table).where(by(table.c.dedup_key)).order_by(table.c.opened_at.desc()).limit(1)
        )
        self._requests_in = prepare(
            select(table)
            .where(table.c.state == bindparam("state"))
            .order_by(table.c.opened_at.desc(), table.c.request_id)
            .limit(MOST_REQUESTS)
        )
        self._requests_all = prepare(
            select(table).order_by(table.c.opened_at.desc(), table.c.request_id).limit(MOST_REQUESTS)
        )
        self._ask_request_again = prepare(
            update(table)
            .values(asked_at=bindparam("now_"), asked_count=table.c.asked_count + 1)
            .where(table.c.request_id == bindparam("id_")),
            "now_",
            "id_",
        )
        self._decide_request = prepare(
            update(table)
            .values(
                state=bindparam("state_"),
                decided_at=bindparam("now_"),
                decided_by=bindparam("who_"),
                comment=bindparam("comment_"),
                waiver_id=bindparam("waiver_"),
            )
            .where(table.c.request_id == bindparam("id_"), table.c.state == "open"),
            "state_",
            "now_",
            "who_",
            "comment_",
            "waiver_",
            "id_",
        )
        self._propose_request = prepare(
            update(table)
            .values(proposal=bindparam("proposal_"), proposed_by=bindparam("who_"))
            .where(
                table.c.request_id == bindparam("id_"), table.c.state == "open", table.c.proposed_by == ""
            ),
            "proposal_",
            "who_",
            "id_",
        )
        self._put_asker = prepare(
            database.insert(approval_askers)
            .values({column: bindparam(f"{column.name}_") for column in approval_askers.c})
            .on_conflict_do_nothing()
        )
        self._askers_of = prepare(
            select(approval_askers.c.asker)
            .where(by(approval_askers.c.request_id))
            .order_by(approval_askers.c.asked_at, approval_askers.c.asker)
        )
        self._put_granted_waiver = database.upsert(waivers)
        self._raise_for_grant = raise_serial(database)

    def open_request(self, request: Request, asker: str) -> Request:
        """Keep a new request, or count one more asking of the one with its key that is still open."""
        with self._db.transaction() as transaction:
            row = transaction.one(self._request_by_key, request.key)
            if row is not None and row[1] == "open":
                request = replace(
                    _request_of(row), asked_at=request.asked_at, asked_count=row[13] + 1, askers=()
                )
                transaction.run(self._ask_request_again, request.asked_at, request.id)
            else:
                transaction.run(self._put_request, *_values(request))
            transaction.run(self._put_asker, request.id, asker, request.asked_at)
        return request

    def get_request(self, request_id: str) -> Request | None:
        """One request, with who asked. A point read."""
        row = self._db.one(self._request_by_id, request_id)
        return None if row is None else self._with_askers(_request_of(row))

    def last_request(self, key: str) -> Request | None:
        """The newest request of a key, whatever became of it. A point read."""
        row = self._db.one(self._request_by_key, key)
        return None if row is None else self._with_askers(_request_of(row))

    def requests(self, state: RequestState | None = None) -> list[Request]:
        """The newest requests first, at most a thousand; of one state if it is named."""
        rows = self._db.all(self._requests_all) if state is None else self._db.all(self._requests_in, state)
        return [self._with_askers(_request_of(row)) for row in rows]

    def propose(self, request_id: str, terms: Terms, who: str) -> bool:
        """Write down what a first approver would allow; whether nobody had before."""
        return self._db.run(self._propose_request, json.dumps(asdict(terms)), who, request_id) > 0

    def decide_requests(
        self,
        request_ids: Sequence[str],
        state: RequestState,
        who: str,
        comment: str,
        now: float,
        waiver: Waiver | None = None,
    ) -> list[str]:
        """Decide those that are still open, with the waiver that grants them; which ones they were.

        Nothing is written when there are none, the waiver neither.
        """
        waiver_id = waiver.id if waiver else ""
        with self._db.transaction() as transaction:
            decided = [
                request_id
                for request_id in request_ids
                if transaction.run(self._decide_request, state, now, who, comment, waiver_id, request_id)
            ]
            if decided and waiver is not None:
                transaction.run(self._put_granted_waiver, *waiver_values(waiver))
                transaction.run(self._raise_for_grant, "waivers", 1)
        return decided

    def _with_askers(self, request: Request) -> Request:
        rows = self._db.all(self._askers_of, request.id)
        return replace(request, askers=tuple(row[0] for row in rows))


def _values(request: Request) -> tuple[Any, ...]:
    return (
        request.id,
        request.state,
        request.key,
        request.action,
        request.repo,
        request.commit_hash,
        request.path,
        request.digest,
        request.effect,
        json.dumps(request.rules),
        request.reason,
        json.dumps(request.evidence),
        request.opened_at,
        request.asked_count,
        request.asked_at,
        request.decided_at,
        request.decided_by,
        request.comment,
        request.waiver_id,
        None if request.proposal is None else json.dumps(asdict(request.proposal)),
        request.proposed_by,
    )


def _request_of(row: Row) -> Request:
    return Request(
        id=row[0],
        state=row[1],
        key=row[2],
        action=row[3],
        repo=row[4],
        commit_hash=row[5],
        path=row[6],
        digest=row[7],
        effect=row[8],
        rules=tuple(json.loads(row[9])),
        reason=row[10],
        evidence=json.loads(row[11]),
        opened_at=row[12],
        asked_count=row[13],
        asked_at=row[14],
        decided_at=row[15],
        decided_by=row[16],
        comment=row[17],
        waiver_id=row[18],
        proposal=None if row[19] is None else Terms(**json.loads(row[19])),
        proposed_by=row[20],
    )
