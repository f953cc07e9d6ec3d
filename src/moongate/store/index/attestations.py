"""Signed statements about commits."""

from __future__ import annotations

import hashlib

from sqlalchemy import delete, select

from moongate.core.attestations import Attestation
from moongate.core.names import CommitHash, RepoId
from moongate.store.index.database import Database, by
from moongate.store.schema import attestations, repo_key


class AttestationRows:
    """Attestations, by the commit that they are about."""

    def __init__(self, database: Database) -> None:
        prepare, table = database.prepare, attestations
        self._db = database
        self._attestation_put = database.upsert(table)
        self._attestation_list = prepare(
            select(table.c.kind, table.c.signer, table.c.made_at, table.c.body)
            .where(by(table.c.repo, table.c.commit_hash))
            .order_by(table.c.made_at, table.c.sha256)
        )
        self._attestation_drop = prepare(
            delete(table).where(by(table.c.repo, table.c.commit_hash, table.c.sha256))
        )

    def put_attestation(self, repo: RepoId, commit_hash: CommitHash, told: Attestation) -> None:
        """Keep a statement; the same one again is free."""
        sha256 = hashlib.sha256(told.body).hexdigest()
        row = (repo_key(repo), commit_hash, sha256, told.kind, told.signer, told.made_at, told.body)
        self._db.run(self._attestation_put, *row)

    def attestations(self, repo: RepoId, commit_hash: CommitHash) -> list[Attestation]:
        """What was stated about a commit, the oldest first. A point read."""
        return [
            Attestation(*row) for row in self._db.all(self._attestation_list, repo_key(repo), commit_hash)
        ]

    def drop_attestation(self, repo: RepoId, commit_hash: CommitHash, body: bytes) -> bool:
        """Forget exactly this statement; whether it was there."""
        sha256 = hashlib.sha256(body).hexdigest()
        return self._db.run(self._attestation_drop, repo_key(repo), commit_hash, sha256) > 0
