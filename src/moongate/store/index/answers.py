"""Whole answers of upstream, kept under a key of the asker's making.

Which answers anybody reads is noted in memory and written down by `flush_reads`, so that a read never waits
for a writer.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select, update

from moongate.core.names import CommitHash, RepoId
from moongate.store.index.database import Database, by
from moongate.store.schema import answers, repo_key

_PACK_ABOVE_BYTES = 4096
_PACK_LEVEL = 3
_NOTED_READS = 100_000


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One answer: status, the headers worth keeping, the body as it came, and when."""

    status: int
    headers: dict[str, str]
    body: bytes
    fetched_at: float


class AnswerRows:
    """Answers, and when they were last of use."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._read_answers: set[str] = set()
        self._get_answer = prepare(
            select(
                answers.c.status, answers.c.headers, answers.c.body, answers.c.packed, answers.c.fetched_at
            ).where(by(answers.c.key))
        )
        self._put_answer = database.upsert(answers)
        self._touch_answer = prepare(
            update(answers)
            .values(read_at=bindparam("now_"))
            .where(answers.c.key == bindparam("key_"), answers.c.read_at < bindparam("now_")),
            "key_",
            "now_",
        )
        self._drop_answer = prepare(delete(answers).where(by(answers.c.key)))
        self._drop_answers = prepare(delete(answers).where(by(answers.c.repo)))
        self._drop_answers_of_commit = prepare(
            delete(answers).where(by(answers.c.repo), answers.c.key.contains(bindparam("commit_hash"))),
            "repo",
            "commit_hash",
        )
        self._prune_answers = prepare(delete(answers).where(answers.c.read_at < bindparam("older_than")))

    def get_answer(self, key: str) -> StoredAnswer | None:
        """The answer under this key. A point read: fit for an event loop."""
        row = self._db.one(self._get_answer, key)
        if row is None:
            return None
        self.note_answer_read(key)
        status, headers, body, packed, fetched_at = row
        return StoredAnswer(
            status, json.loads(headers), zlib.decompress(body) if packed else body, fetched_at
        )

    def note_answer_read(self, key: str) -> None:
        """Say that an answer was of use although it was not read from here."""
        if len(self._read_answers) < _NOTED_READS:
            self._read_answers.add(key)

    def put_answer(self, key: str, repo: RepoId | None, answer: StoredAnswer) -> None:
        """Keep an answer, in place of an older one. An answer about one commit has the hash in its key."""
        packed = len(answer.body) > _PACK_ABOVE_BYTES
        self._db.run(
            self._put_answer,
            key,
            None if repo is None else repo_key(repo),
            answer.status,
            _headers_text(answer.headers),
            zlib.compress(answer.body, _PACK_LEVEL) if packed else answer.body,
            int(packed),
            answer.fetched_at,
            answer.fetched_at,
        )

    def drop_answer(self, key: str) -> None:
        """Forget one answer."""
        self._db.run(self._drop_answer, key)

    def drop_answers(self, repo: RepoId, commit_hash: CommitHash | None = None) -> int:
        """Forget what upstream said of a repository, or of one commit of it; how many answers that was."""
        if commit_hash is None:
            return self._db.run(self._drop_answers, repo_key(repo))
        return self._db.run(self._drop_answers_of_commit, repo_key(repo), commit_hash)

    def prune_answers(self, older_than: float) -> int:
        """Forget answers that were neither fetched nor read since; how many."""
        return self._db.run(self._prune_answers, older_than)

    def flush_reads(self, now: float) -> None:
        """Write down which answers were read since the last call, as read now. For a minute's timer."""
        keys, self._read_answers = self._read_answers, set()
        if keys:
            with self._db.transaction() as transaction:
                transaction.run_many(self._touch_answer, [(key, now) for key in sorted(keys)])


def _headers_text(headers: Mapping[str, str]) -> str:
    return json.dumps(dict(headers), separators=(",", ":"))
