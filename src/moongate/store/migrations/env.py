"""What Alembic runs: the migrations, on the connection that `upgrade` gave. Its caller commits."""

from __future__ import annotations

from alembic import context

from moongate.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
