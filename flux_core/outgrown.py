"""Notice, while running, that a newer version has taken from the database what this program needs."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from flux_core.database import schema
from flux_core.database.engine import Database
from flux_core.errors import StorageUnavailable

LOOK_SECONDS = 5.0
"""Between two looks: one row by its key."""


async def until_outgrown(db: Database) -> None:
    """Never return; raise ConfigurationError once this program is too old for the database."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(StorageUnavailable):
            await db.read(schema.check)
