"""PostgreSQL servers of the tests' own, and databases in one that all of them share."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import quote

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine

from flux_core.database.schema import upgrade

TEMPLATE = "flux_template"
_numbers = itertools.count()


class Server:
    """A server that ends with this process, whatever becomes of it."""

    def __init__(self, *settings: str) -> None:
        """Make a new one with further ``settings`` such as "fsync=on", and start it."""
        self.folder = Path(tempfile.mkdtemp(prefix="flux-pg-"))
        self._has_template = False
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.database.postgres_keeper", str(self.folder), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests; this one sees that they are gone
        )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._ask("start")

    def stop(self) -> None:
        """Stop it at once, as a crash would: its connections break, and its transactions are undone."""
        self._ask("stop")

    def kill(self) -> None:
        """Kill all of its processes, as a power cut would; ``start`` then repairs what they left."""
        self._ask("kill")

    def close(self) -> None:
        """Stop it and remove its files."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(30)

    def _ask(self, word: str) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{word}\n")
        self._keeper.stdin.flush()
        assert self._keeper.stdout.readline(), "the server did not start"

    def url_of(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{name}?host={quote(str(self.folder))}"

    async def run(self, statement: str, name: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the server's owner, outside of a transaction; return its rows."""
        connection = await asyncpg.connect(host=str(self.folder), user="postgres", database=name)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    async def new_database(self, *, migrated: bool = True) -> str:
        """Create an empty database, with all tables unless said otherwise, and return its URL."""
        name = f"flux_{os.getpid()}_{next(_numbers)}"
        if migrated and not self._has_template:
            await self._make_template()
            self._has_template = True
        await self.run(f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE} STRATEGY FILE_COPY" if migrated else ""))
        return self.url_of(name)

    async def _make_template(self) -> None:
        """Migrate once: copying is quicker than migrating anew."""
        await self.run(f"CREATE DATABASE {TEMPLATE}")
        engine = create_async_engine(driver(self.url_of(TEMPLATE)))
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
        await engine.dispose()


def driver(url: str) -> str:
    """Return ``url`` as SQLAlchemy wants it."""
    return url.replace("postgresql:", "postgresql+asyncpg:", 1)


@cache
def shared() -> Server:
    """Return the server that all tests share which leave it as it is."""
    return Server()


async def new_database(*, migrated: bool = True) -> str:
    """Create a database in the shared server and return its URL."""
    return await shared().new_database(migrated=migrated)
