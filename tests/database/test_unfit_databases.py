"""A database that flux-bot cannot work with says so in a sentence for the operator, and stays as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flux_core.database.connecting import connect
from flux_core.errors import ConfigurationError
from tests.database import postgres


@pytest.fixture
async def stranger() -> AsyncIterator[str]:
    """Return the name of a user who owns nothing on the shared server."""
    server = postgres.shared()
    await server.run("DROP ROLE IF EXISTS stranger")
    await server.run("CREATE ROLE stranger LOGIN")
    yield "stranger"
    await server.run("DROP ROLE stranger")


@pytest.mark.parametrize("migrated", [False, True], ids=["may make nothing", "may read nothing"])
async def test_a_user_who_owns_nothing_there_is_told_to(stranger: str, migrated: bool) -> None:
    url = await postgres.new_database(migrated=migrated)
    with pytest.raises(ConfigurationError, match=r"permission denied for .*ALTER DATABASE … OWNER TO"):
        await connect(url.replace("//postgres@", f"//{stranger}@"))


async def test_tables_of_another_program_on_a_server_are_left_alone() -> None:
    url = await postgres.new_database(migrated=False)
    name = sa.make_url(url).database or ""
    await postgres.shared().run("CREATE TABLE jobs (id integer)", name)
    with pytest.raises(ConfigurationError, match="tables of another program, such as jobs"):
        await connect(url)
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert await postgres.shared().run(tables, name) == [("jobs",)]


async def test_tables_of_another_program_in_a_file_are_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE jobs (id integer)")
    with pytest.raises(ConfigurationError, match="tables of another program, such as jobs"):
        await connect(f"sqlite:///{tmp_path}/other.db")
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("jobs",)]
    other.close()
