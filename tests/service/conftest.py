"""The studio on a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.database.conftest import scene
from tests.database.new_file import new_file
from tests.database.postgres import new_database

__all__ = ["database_url", "scene"]

ON_BOTH = (
    "test_house_rules",
    "test_submitting",
    "test_members",
    "test_delivering",
    "test_retention",
    "test_old_records",
    "test_circumstances",
)
"""The files whose subject is what the database does; the others' is told by SQLite alone, to save minutes."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the databases of each test."""
    if "database_url" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
        metafunc.parametrize("database_url", ["sqlite", *(["postgresql"] if both else [])], indirect=True)


@pytest.fixture
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with all tables, in a file or in a server."""
    if request.param == "postgresql":
        return await new_database()
    return new_file(tmp_path / "studio" / "flux-bot.db")
