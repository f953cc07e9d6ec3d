"""Files that upstream keeps in Xet: their ids in listings, their reconstructions, and the xorbs they need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column and the two tables."""
    op.add_column("files", sa.Column("xet_hash", sa.Text))
    op.create_table(
        "reconstructions",
        sa.Column("file_id", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("terms", sa.LargeBinary, nullable=False),
        sa.Column("fetches", sa.LargeBinary, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.Column("verified_at", sa.Double),
        sa.Column("read_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("file_id", name="pk_reconstructions"),
    )
    op.create_index("ix_reconstructions_etag", "reconstructions", ["etag"])
    op.create_index("ix_reconstructions_read_at_file_id", "reconstructions", ["read_at", "file_id"])
    op.create_table(
        "file_xorbs",
        sa.Column("file_id", sa.Text, nullable=False),
        sa.Column("xorb", sa.LargeBinary, nullable=False),
        sa.Column("ranges", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("file_id", "xorb", name="pk_file_xorbs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_file_xorbs_xorb", "file_xorbs", ["xorb"])
