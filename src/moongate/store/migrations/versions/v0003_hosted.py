"""Hosted repositories: namespaces, who may, git's objects and refs, pull requests, uploads under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables."""
    _add_places()
    _add_git()
    _add_uploads()


def _add_places() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "namespaces",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_namespaces"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hosted_repos",
        sa.Column("repo_number", number, nullable=False, autoincrement=True),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("repo", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("private", sa.SmallInteger, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", name="pk_hosted_repos"),
        sa.UniqueConstraint("folded", name="uq_hosted_repos_folded"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hosted_repos_namespace", "hosted_repos", ["namespace"])
    op.create_table(
        "hosted_moves",
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("repo_number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("folded", name="pk_hosted_moves"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_hosted_moves_repo_number", "hosted_moves", ["repo_number"])
    op.create_table(
        "team_members",
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("team", "user_name", name="pk_team_members"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hosted_roles",
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("place", "subject", name="pk_hosted_roles"),
        sqlite_with_rowid=False,
    )


def _add_git() -> None:
    op.create_table(
        "git_objects",
        sa.Column("repo_number", sa.BigInteger, nullable=False),
        sa.Column("oid", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("packed", sa.SmallInteger, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", "oid", name="pk_git_objects"),
    )
    op.create_table(
        "hosted_blobs",
        sa.Column("repo_number", sa.BigInteger, nullable=False),
        sa.Column("oid", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("xet_hash", sa.Text),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", "oid", name="pk_hosted_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_hosted_blobs_etag", "hosted_blobs", ["etag"])
    op.create_table(
        "hosted_refs",
        sa.Column("repo_number", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("commit_hash", sa.Text, nullable=False),
        sa.Column("moved_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", "name", name="pk_hosted_refs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "discussions",
        sa.Column("repo_number", sa.BigInteger, nullable=False),
        sa.Column("discussion_number", sa.BigInteger, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("pull_request", sa.SmallInteger, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", "discussion_number", name="pk_discussions"),
        sqlite_with_rowid=False,
    )


def _add_uploads() -> None:
    op.create_table(
        "upload_leases",
        sa.Column("repo_number", sa.BigInteger, nullable=False),
        sa.Column("caller_key", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", "caller_key", "etag", name="pk_upload_leases"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_upload_leases_etag", "upload_leases", ["etag"])
    op.create_table(
        "upload_parts",
        sa.Column("upload", sa.Text, nullable=False),
        sa.Column("part_number", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("upload", "part_number", name="pk_upload_parts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "orphans",
        sa.Column("etag", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("etag", name="pk_orphans"),
        sqlite_with_rowid=False,
    )
