"""Every test here runs once per kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.database.new_file import new_file
from tests.database.postgres import new_database
from tests.database.scene import Scene, a_scene


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with all tables, in a file or in a server."""
    if request.param == "postgresql":
        return await new_database()
    return new_file(tmp_path / "studio" / "flux-bot.db")


@pytest.fixture
async def scene(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A studio on an empty database."""
    async with a_scene(database_url, tmp_path) as scene:
        yield scene
