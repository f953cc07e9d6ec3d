"""What scans said of content, by who judged it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "verdicts",
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("name_kind", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("feeds", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("basis", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("judged_at", sa.Double, nullable=False),
        sa.Column("retry_at", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("report", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("etag", "name_kind", "engine", "rules", "feeds", name="pk_verdicts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_verdicts_verdict_judged_at", "verdicts", ["verdict", "judged_at"])
