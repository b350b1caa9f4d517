"""The studio on a database of its own."""

from tests.database.conftest import database_url, scene

__all__ = ["database_url", "scene"]
