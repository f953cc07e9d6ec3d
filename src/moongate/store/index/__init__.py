"""`Index`: what this gateway knows, in SQLite or PostgreSQL.

    Index ── refs · answers · files · blobs · reconstructions · xorbs · usage       (one noun a file)
       │     pins · fills · access · leases · removal
       │     hosted_places · hosted_git · hosted_uploads · hosted_usage           (what is hosted here)
       │     hosted_lineage · discussions · verdicts · audit · recalls
       │     feeds · services · attestations                    (threat intelligence, provenance)
       │     tokens · accounts · standing · sessions · trusts                     (who is who)
       └── Database: SqliteDatabase | PostgresDatabase

Everything here is synchronous and may be called from any thread. Point reads (they say so) take some
microseconds on SQLite and a round trip on PostgreSQL, and may be called on an event loop; writes and walks
may wait for another writer and belong in a thread. Open an index after forking, not before.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from moongate.core.callers import TokenRow
from moongate.core.errors import StoreError
from moongate.store.index.access import AccessRow, AccessRows, Allowed, Grant
from moongate.store.index.accounts import AccountRows
from moongate.store.index.answers import AnswerRows, StoredAnswer
from moongate.store.index.approvals import ApprovalRows
from moongate.store.index.attestations import AttestationRows
from moongate.store.index.audit import Added, AuditHead, AuditRow, AuditRows, AuditSearch
from moongate.store.index.blobs import EVICTIONS, BlobRow, BlobRows, Eviction
from moongate.store.index.database import Database
from moongate.store.index.decided import DecidedRows
from moongate.store.index.discussions import DiscussionRow, DiscussionRows
from moongate.store.index.feeds import FeedRows
from moongate.store.index.files import FileRows
from moongate.store.index.fills import Failure, FillRows
from moongate.store.index.hosted_git import (
    GitObjectRow,
    GitRows,
    HostedBlob,
    HostedRef,
    Landing,
    ObjectKind,
    RefUpdate,
)
from moongate.store.index.hosted_lineage import BaseModel, LineageRows
from moongate.store.index.hosted_places import (
    HostedRow,
    NamespaceRow,
    NamespaceRows,
    Role,
    RoleRow,
    RoleRows,
)
from moongate.store.index.hosted_uploads import UploadPart, UploadRows
from moongate.store.index.hosted_usage import HostedUsageRows
from moongate.store.index.leases import LeaseRows
from moongate.store.index.pins import Pin, PinRows
from moongate.store.index.recalls import RecallRow, RecallRows
from moongate.store.index.reconstructions import (
    KeptFetch,
    ReconstructionRow,
    ReconstructionRows,
    XetFileRow,
)
from moongate.store.index.refs import RefRow, RefRows
from moongate.store.index.removal import HeldContent, RemovalRows
from moongate.store.index.services import DigestRows, ServiceRows
from moongate.store.index.sessions import SessionRows
from moongate.store.index.sqlite import SqliteDatabase
from moongate.store.index.standing import StandingRows
from moongate.store.index.tokens import TokenRows
from moongate.store.index.trusts import TrustRows
from moongate.store.index.usage import RepoUsage, UsageRows
from moongate.store.index.verdicts import VerdictRows
from moongate.store.index.waivers import WaiverRows
from moongate.store.index.webhooks import WebhookRows
from moongate.store.index.xorbs import ChunkRun, XorbRows

__all__ = [
    "EVICTIONS",
    "AccessRow",
    "Added",
    "Allowed",
    "AuditHead",
    "AuditRow",
    "AuditSearch",
    "BaseModel",
    "BlobRow",
    "ChunkRun",
    "DiscussionRow",
    "Eviction",
    "Failure",
    "GitObjectRow",
    "Grant",
    "HeldContent",
    "HostedBlob",
    "HostedRef",
    "HostedRow",
    "Index",
    "KeptFetch",
    "Landing",
    "NamespaceRow",
    "ObjectKind",
    "Pin",
    "RecallRow",
    "ReconstructionRow",
    "RefRow",
    "RefUpdate",
    "RepoUsage",
    "Role",
    "RoleRow",
    "StoredAnswer",
    "TokenRow",
    "UploadPart",
    "XetFileRow",
]


class Index(
    RefRows,
    AnswerRows,
    FileRows,
    BlobRows,
    ReconstructionRows,
    XorbRows,
    UsageRows,
    PinRows,
    FillRows,
    AccessRows,
    TokenRows,
    AccountRows,
    StandingRows,
    SessionRows,
    TrustRows,
    LeaseRows,
    RemovalRows,
    NamespaceRows,
    RoleRows,
    GitRows,
    UploadRows,
    DiscussionRows,
    LineageRows,
    HostedUsageRows,
    ApprovalRows,
    WaiverRows,
    WebhookRows,
    DecidedRows,
    VerdictRows,
    AuditRows,
    RecallRows,
    FeedRows,
    ServiceRows,
    DigestRows,
    AttestationRows,
):
    """The index at a path or URL, made when there is none, brought up to date when it is old."""

    def __init__(self, where: str | Path) -> None:
        """Opens `sqlite:///path`, `postgresql://user@host/name` (any libpq URL), or the file of a `Path`.

        Raises:
            StoreError: the URL is none of those, the database cannot be reached, is damaged, or was written
                by a newer Moongate.
        """
        database = _open(where)
        for rows in Index.__bases__:
            rows.__init__(self, database)  # type: ignore[misc]

    @property
    def was_created(self) -> bool:
        """Whether this start made it. Sealed files that are there already want `keeping.collect`."""
        return self._db.was_created

    def close(self) -> None:
        """Let go of every connection. May be called twice."""
        self._db.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(where: str | Path) -> Database:
    if isinstance(where, Path):
        return SqliteDatabase(where)
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise StoreError("not a database URL: use sqlite:///path or postgresql://user@host/name") from error
    kind = url.get_backend_name()
    if kind == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise StoreError("an index in memory would be lost at once: use sqlite:///path")
        return SqliteDatabase(Path(str(url.database)))
    if kind in ("postgresql", "postgres"):
        # Its driver is an extra.
        from moongate.store.index.postgres import PostgresDatabase  # noqa: PLC0415

        return PostgresDatabase(url.set(drivername="postgresql").render_as_string(hide_password=False))
    raise StoreError(f"no index can be kept in {kind!r}: use sqlite:///path or postgresql://user@host/name")
