"""Run by Alembic, on the connection (in its transaction) that ``flux_core.database.schema`` hands over."""

from __future__ import annotations

from alembic import context

from flux_core.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
