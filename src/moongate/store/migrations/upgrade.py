"""Bring an index's tables up to date, within the caller's transaction and under the caller's lock."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from moongate.core.errors import StoreError
from moongate.store.schema import KNOWN_VERSIONS, SCHEMA_VERSION


def is_current(version: str | None) -> bool:
    """Whether tables of this version need nothing; None means that there are none.

    Raises:
        StoreError: a newer program wrote them.
    """
    if version is not None and version not in KNOWN_VERSIONS:
        raise StoreError(
            f"the index was written by a newer Moongate (its tables are of version {version}, this program "
            f"knows up to {SCHEMA_VERSION}): upgrade Moongate, or give it another home or database"
        )
    return version == SCHEMA_VERSION


def upgrade(connection: Connection) -> bool:
    """Run what is missing; whether the tables were made from nothing. Whoever came second finds them done.

    Raises:
        StoreError: a newer program wrote them.
    """
    version = _version(connection)
    if is_current(version):
        return False
    # Alembic is slow to import, and only a new or an old index needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return version is None


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if version is None else str(version)
