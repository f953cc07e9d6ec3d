"""What uploads through Xet need: the chunks of xorbs, those that can be asked for, and who may use which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the three tables."""
    op.create_table(
        "xorb_chunks",
        sa.Column("xorb", sa.LargeBinary, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("named", sa.LargeBinary, nullable=False),
        sa.Column("leaves", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("xorb", "first", name="pk_xorb_chunks"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_xorb_chunks_named", "xorb_chunks", ["named"])
    op.create_table(
        "dedup_chunks",
        sa.Column("chunk", sa.LargeBinary, nullable=False),
        sa.Column("xorb", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("chunk", "xorb", name="pk_dedup_chunks"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_dedup_chunks_xorb", "dedup_chunks", ["xorb"])
    op.create_table(
        "xorb_leases",
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("xorb", sa.LargeBinary, nullable=False),
        sa.Column("ranges", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("holder", "xorb", name="pk_xorb_leases"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_xorb_leases_xorb", "xorb_leases", ["xorb"])
