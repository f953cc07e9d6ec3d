"""Who vouches for what is kept, and everything known of a commit."""

from __future__ import annotations

import time
from dataclasses import replace

from moongate.app.wiring.names import SIGNING_KEY
from moongate.app.wiring.stock import Stock
from moongate.core.errors import StoreError
from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileEntry
from moongate.core.spans import ByteSpan
from moongate.policy.provenance.facts import CommitFacts
from moongate.policy.provenance.keys import PrivateKey, Trust
from moongate.policy.provenance.model_signing import MAX_BUNDLE_BYTES
from moongate.policy.provenance.vouching import Vouching
from moongate.store.at_rest import AtRest
from moongate.store.index.audit import AuditSearch


def open_vouching(stock: Stock) -> Vouching:
    """Who vouches for what is kept. Usable from any thread."""

    settings, at_rest = stock.settings, AtRest(stock.blobs, stock.segments, stock.index)

    def read(entry: FileEntry) -> bytes | None:
        if entry.size_bytes > MAX_BUNDLE_BYTES:
            return None
        try:
            return at_rest.read(entry.etag, ByteSpan(0, entry.size_bytes))
        except StoreError:
            return None

    def trust() -> Trust:
        believed = Trust.read(settings.trusted_signers or settings.home / "signers")
        own = settings.home / SIGNING_KEY
        if own.exists():
            believed = replace(believed, keys=(*believed.keys, PrivateKey.read(own).public))
        return believed

    return Vouching(stock.index, read, trust, time.time)


def commit_facts(stock: Stock, repo: RepoId, commit_hash: CommitHash, *, hosted: bool) -> CommitFacts:
    """Everything known of a commit.

    Raises:
        Absent: nothing is known here of it.
    """
    settings = stock.settings
    base = (settings.public_url or f"http://localhost:{settings.port}") if hosted else settings.upstream
    key = f"{repo.repo_type}s/{repo.repo_id}"
    approvals = [
        {"id": one.id, "scope": one.scope, "lifts": one.lifts, "by": one.created_by, "at": one.created_at,
         "expires_at": one.expires_at, "comment": one.comment}
        for one in stock.index.waivers()
        if one.repo == key
    ]  # fmt: skip
    return open_vouching(stock).facts(
        repo,
        commit_hash,
        origin=f"{base}{repo.file_path}/tree/{commit_hash}",
        hosted=hosted,
        approvals=approvals,
        deliveries=deliveries_of(stock, repo),
    )


def deliveries_of(stock: Stock, repo: RepoId) -> list[dict[str, object]]:
    """Who received files of a repository, by the audit log: the newest thousand, the newest first."""

    wanted = AuditSearch(kind="file.deliver", repo=f"{repo.repo_type}s/{repo.repo_id}")
    rows = stock.index.search_audit(wanted, 1 << 62, 1000)
    return [{"line": row.seq, "at": row.at, "actor": row.actor, "digest": row.digest} for row in rows]
