"""From DATABASE_URL to a database: SQLite in a file, or PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from flux_core.database.engine import Database
from flux_core.errors import ConfigurationError

POOL = 5
"""Connections of one process to a server, besides the one that listens."""


async def connect(url: str, *, pool: int = POOL, clock: Callable[[], float] = time.time) -> Database:
    """Open the database at ``url``, creating a file and running migrations when they are missing.

    ``pool``: most transactions at once on a server. Raises ConfigurationError for a URL that cannot work,
    StorageUnavailable when the database does not answer.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "DATABASE_URL is no database URL. Examples: sqlite:////srv/flux-bot/flux-bot.db, postgresql://flux@db/flux"
        ) from None
    # Each driver is loaded by those alone who use it.
    match parsed.get_backend_name():
        case "sqlite":
            from flux_core.database.sqlite import SqliteDatabase

            return await SqliteDatabase.open_file(parsed, clock=clock)
        case "postgresql" | "postgres":  # as many who rent servers out write it
            from flux_core.database.postgres import PostgresDatabase

            return await PostgresDatabase.connect(parsed, pool=pool, clock=clock)
        case other:
            raise ConfigurationError(f"DATABASE_URL names {other!r}; flux-bot works with sqlite and postgresql.")
