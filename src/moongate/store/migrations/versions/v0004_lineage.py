"""Where hosted models come from, and large files that a retention rule let go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the two tables."""
    op.create_table(
        "hosted_lineage",
        sa.Column("repo_number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("commit_hash", sa.Text, nullable=False),
        sa.Column("base_repo", sa.Text, nullable=False),
        sa.Column("base_commit", sa.Text),
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", "commit_hash", "base_repo", name="pk_hosted_lineage"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "released_blobs",
        sa.Column("repo_number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("oid", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("released_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("repo_number", "oid", name="pk_released_blobs"),
        sqlite_with_rowid=False,
    )
