"""Bring a database to the tables that this program knows, and work on one that a newer program has brought further.

Revisions are numbers of four digits that count up, so a program can compare one that it does not know with its own.
A migration that only adds (expand) leaves ``program.oldest_revision`` as it is, and programs from that revision on go
on working. One that takes away what they use (contract) raises it, and they end. See docs/operations.md, "Migrations".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from flux_core.database.tables import metadata, program
from flux_core.errors import ConfigurationError

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()
"""Alembic keeps its current environment in module globals."""
_OLDEST = sa.select(program.c.oldest_revision)
DENIED = "42501"
"""PostgreSQL's code of what a user may not do (insufficient_privilege)."""


@cache
def head() -> str:
    """Return the revision that this program was written for."""
    found = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert found is not None
    return found


def config_for(connection: Connection) -> Config:
    """Return an Alembic configuration that works on ``connection``, without any ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, in the caller's transaction; none on a database that is newer.

    Raises ConfigurationError for a newer database that has lost what this program needs, for one that no version of it
    has made, and for one in which it may make nothing.
    """
    current = revision_of(connection)
    if current == head():
        return
    if current is None and (others := sorted(metadata.tables.keys() & set(sa.inspect(connection).get_table_names()))):
        raise ConfigurationError(
            f"The database has tables of another program, such as {others[0]}. Point DATABASE_URL at one of flux-bot's "
            "own, empty or as an earlier flux-bot left it."
        )
    if _is_newer(connection, current):
        check(connection)
        log.warning(
            "The database is at revision %s, this flux-bot was written for %s: it works beside the newer version "
            "until you replace it",
            current,
            head(),
        )
        return
    with _one_at_a_time, _allowed():
        try:
            command.upgrade(config_for(connection), "head")
        except CommandError as error:
            raise ConfigurationError(
                f"The database is at revision {current!r}, which this flux-bot does not know. Install the newer "
                "version that last used it, or point DATABASE_URL elsewhere."
            ) from error


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a database; None for an empty one. Raises ConfigurationError where it may not be read."""
    with _allowed():
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _allowed() -> Iterator[None]:
    """Say what to do where the server does not allow it: whoever makes a database easily forgets to give it away."""
    try:
        yield
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != DENIED:
            raise
        raise ConfigurationError(
            f"The user in DATABASE_URL may not do there what flux-bot has to ({error.orig}). Let that user own the "
            "database: ALTER DATABASE … OWNER TO …, and its tables, if there are any."
        ) from error


def check(connection: Connection) -> None:
    """Raise ConfigurationError when a newer version has taken from the database what this program needs."""
    oldest = connection.execute(_OLDEST).scalar_one()
    if int(oldest) > int(head()):
        raise ConfigurationError(
            f"The database has gone on to a version that needs flux-bot of revision {oldest} or newer, and this one is "
            f"of revision {head()}. Install the newer version, or point DATABASE_URL elsewhere."
        )


def _is_newer(connection: Connection, current: str | None) -> bool:
    """Say whether a later version of this program has migrated the database: one that says who may still use it."""
    if current is None or not current.isdecimal() or int(current) <= int(head()):
        return False
    return sa.inspect(connection).has_table(program.name)
