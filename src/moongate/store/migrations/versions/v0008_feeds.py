"""Threat intelligence: feeds with what they hold, answers of services, and sha256s of small files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "feeds",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("held_generation", sa.BigInteger),
        sa.Column("held_why", sa.Text, nullable=False),
        sa.Column("fetched_at", sa.Double),
        sa.Column("tried_at", sa.Double),
        sa.Column("trouble", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_feeds"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feed_indicators",
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("confidence", sa.SmallInteger, nullable=False),
        sa.Column("tlp", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("source", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("feed", "generation", "kind", "value", "source", name="pk_feed_indicators"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_feed_indicators_value_kind", "feed_indicators", ["value", "kind"])
    op.create_table(
        "feed_advisories",
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("ecosystem", sa.Text, nullable=False),
        sa.Column("package", sa.Text, nullable=False),
        sa.Column("advisory", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(
            "feed", "generation", "ecosystem", "package", "advisory", name="pk_feed_advisories"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_feed_advisories_package_ecosystem", "feed_advisories", ["package", "ecosystem"])
    op.create_table(
        "feed_rules",
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("feed", "generation", "name", name="pk_feed_rules"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "service_answers",
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("told", sa.Text),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("fresh_until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("service", "sha256", name="pk_service_answers"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "service_use",
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("span", sa.Text, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("service", "span", name="pk_service_use"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "content_digests",
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("etag", name="pk_content_digests"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_content_digests_sha256", "content_digests", ["sha256"])
