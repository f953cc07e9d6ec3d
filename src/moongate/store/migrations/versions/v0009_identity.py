"""What identity needs: accounts, groups, roles, sessions, trusted issuers, and more about tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables and the columns."""
    op.add_column("tokens", sa.Column("origin", sa.Text, nullable=False, server_default=""))
    op.add_column("tokens", sa.Column("places", sa.Text, nullable=False, server_default=""))
    op.add_column("tokens", sa.Column("last_used_at", sa.Double))
    _people()
    _ways_in()


def _people() -> None:
    op.create_table(
        "accounts",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double),
        sa.Column("disabled_at", sa.Double),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_accounts"),
        sa.UniqueConstraint("issuer", "subject", name="uq_accounts_issuer_subject"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "user_groups",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("account", "group_name", name="pk_user_groups"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_teams",
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("group_name", "team", name="pk_group_teams"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "standing_roles",
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("place", "subject", "role", name="pk_standing_roles"),
        sqlite_with_rowid=False,
    )


def _ways_in() -> None:
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("token_sha256", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_sessions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sessions_account", "sessions", ["account"])
    op.create_table(
        "device_codes",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("user_code", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_device_codes"),
        sa.UniqueConstraint("user_code", name="uq_device_codes_user_code"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "spent_words",
        sa.Column("word", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("word", name="pk_spent_words"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trusts",
        sa.Column("trust_id", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("claims", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("places", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("ttl_seconds", sa.Double, nullable=False),
        sa.Column("direct", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("trust_id", name="pk_trusts"),
        sqlite_with_rowid=False,
    )
