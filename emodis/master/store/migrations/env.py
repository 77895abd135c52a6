"""What Alembic runs to migrate; `database.migrate` gives it a connection inside a transaction."""

from __future__ import annotations

from alembic import context

from emodis.master.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
