from __future__ import annotations

from tests.database.conftest import database_url, scene

__all__ = ["database_url", "scene"]
