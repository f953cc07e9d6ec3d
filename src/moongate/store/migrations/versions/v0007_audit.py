"""The audit log: lines, the head of their chain, signed checkpoints; and what was recalled."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_NOTHING = b"\0" * 32


def upgrade() -> None:
    """Add the four tables, and the head of an empty chain."""
    op.create_table(
        "audit_lines",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("repo", sa.Text),
        sa.Column("digest", sa.Text),
        sa.Column("line", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_lines"),
    )
    op.create_index("ix_audit_lines_at", "audit_lines", ["at"])
    op.create_index("ix_audit_lines_actor_seq", "audit_lines", ["actor", "seq"])
    op.create_index("ix_audit_lines_repo_seq", "audit_lines", ["repo", "seq"], **_where("repo IS NOT NULL"))
    op.create_index(
        "ix_audit_lines_digest_seq", "audit_lines", ["digest", "seq"], **_where("digest IS NOT NULL")
    )
    op.create_index(
        "ix_audit_lines_kind_seq", "audit_lines", ["kind", "seq"], **_where("kind <> 'file.deliver'")
    )
    head = op.create_table(
        "audit_head",
        sa.Column("only", sa.SmallInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("checkpoint_seq", sa.BigInteger, nullable=False),
        sa.Column("checkpoint_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("only", name="pk_audit_head"),
        sqlite_with_rowid=False,
    )
    op.bulk_insert(head, [{"only": 1, "seq": 0, "hash": _NOTHING, "checkpoint_seq": 0, "checkpoint_at": 0.0}])
    op.create_table(
        "audit_checkpoints",
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_checkpoints"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recalls",
        sa.Column("recall_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text),
        sa.Column("repo", sa.Text),
        sa.Column("commit_hash", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("undone_by", sa.Text),
        sa.Column("undone_at", sa.Double),
        sa.PrimaryKeyConstraint("recall_id", name="pk_recalls"),
        sqlite_with_rowid=False,
    )


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
