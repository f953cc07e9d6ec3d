"""What was asked of the policy, by day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "decided_requests",
        sa.Column("day", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("facts_digest", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("asked_count", sa.BigInteger, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("day", "facts_digest", name="pk_decided_requests"),
        sqlite_with_rowid=False,
    )
