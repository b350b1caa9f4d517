"""Bring a database to the tables that this program knows."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from flux_core.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()
"""Alembic keeps its current environment in module globals."""


def config_for(connection: Connection) -> Config:
    """Return an Alembic configuration that works on ``connection``, without any ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, in the caller's transaction.

    Raises ConfigurationError for a database that a newer program has migrated.
    """
    config = config_for(connection)
    with _one_at_a_time:
        script = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == script.get_current_head():
            return
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"The database is at revision {current!r}, which this flux-bot does not know. Install the newer "
                "version that last used it, or point DATABASE_URL elsewhere."
            ) from error
