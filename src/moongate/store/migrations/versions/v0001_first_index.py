"""The first index: refs, facts, renames, commits, files, answers, blobs, pins, failures, access, leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table and index."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "refs",
        sa.Column("repo", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("commit_hash", sa.Text, nullable=False),
        sa.Column("checked_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo", "revision", name="pk_refs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "facts",
        sa.Column("repo", sa.Text, nullable=False),
        sa.Column("private", sa.SmallInteger),
        sa.Column("gated", sa.SmallInteger),
        sa.Column("checked_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo", name="pk_facts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "renames",
        sa.Column("old_repo", sa.Text, nullable=False),
        sa.Column("new_repo", sa.Text, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("old_repo", name="pk_renames"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "commits",
        sa.Column("commit_number", number, nullable=False, autoincrement=True),
        sa.Column("repo", sa.Text, nullable=False),
        sa.Column("commit_hash", sa.Text, nullable=False),
        sa.Column("complete", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("commit_number", name="pk_commits"),
        sa.UniqueConstraint("repo", "commit_hash", name="uq_commits_repo_commit_hash"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "files",
        sa.Column("commit_number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("commit_number", "path", name="pk_files"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_files_etag", "files", ["etag"])
    op.create_table(
        "answers",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("repo", sa.Text),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("packed", sa.SmallInteger, nullable=False),
        sa.Column("fetched_at", sa.Double, nullable=False),
        sa.Column("read_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_answers"),
    )
    op.create_index("ix_answers_repo", "answers", ["repo"])
    op.create_index("ix_answers_read_at", "answers", ["read_at"])
    op.create_table(
        "blobs",
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sealed_at", sa.Double, nullable=False),
        sa.Column("read_at", sa.Double, nullable=False),
        sa.Column("verified_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("etag", name="pk_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_blobs_read_at_etag_size_bytes", "blobs", ["read_at", "etag", "size_bytes"])
    op.create_table(
        "pins",
        sa.Column("repo", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("pinned_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo", "revision", name="pk_pins"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "failures",
        sa.Column("failure_number", number, nullable=False, autoincrement=True),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("repo", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("failed_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("failure_number", name="pk_failures"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "access",
        sa.Column("caller_key", sa.Text, nullable=False),
        sa.Column("repo", sa.Text, nullable=False),
        sa.Column("allowed", sa.Text, nullable=False),
        sa.Column("checked_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("caller_key", "repo", name="pk_access"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_access_repo", "access", ["repo"])
    op.create_table(
        "grants",
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("repo_pattern", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("user_name", "repo_pattern", name="pk_grants"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("token_id", name="pk_tokens"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
        sqlite_with_rowid=False,
    )
