"""Content of which wrong bytes may have been given out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "tainted",
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("tainted_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("etag", name="pk_tainted"),
    )
