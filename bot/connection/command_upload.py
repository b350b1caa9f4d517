"""Tells Discord the commands: once for all processes of the bot, and only when they differ from what it was told."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from discord import app_commands

from flux_core.database.uploaded_commands import Upload
from flux_core.service import Studio

log = logging.getLogger(__name__)

LEASE = 60.0
"""Seconds for which whoever began an upload is waited for."""
LOOK_GAP = 1.0
"""Most seconds between two looks whether it has ended."""


async def upload(tree: app_commands.CommandTree[Any], studio: Studio, *, application_id: int, api: str) -> bool:
    """Upload the commands of ``tree`` when Discord has others, or lost them; True where this process did.

    Another process that is at it is waited for. Raises what discord.py raises, and StorageUnavailable.
    """
    payload = [command.to_dict(tree) for command in tree.get_commands()]
    digest = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
    while True:
        known = await _settled(studio, application_id, api)
        # After it: ids that are newer than what is known differ from it, and then nobody lets us begin.
        registered = tuple(sorted(command.id for command in await tree.fetch_commands()))
        if registered and known is not None and (known.digest, known.ids) == (digest, registered):
            return False
        if await studio.bots.begin_upload(application_id, api, known, digest):
            break
    ids: tuple[int, ...] = ()
    try:
        ids = tuple(sorted(command.id for command in await tree.sync()))
    finally:
        await studio.bots.end_upload(application_id, api, digest, ids)
    log.info("uploaded %d commands", len(ids))
    return True


async def _settled(studio: Studio, application_id: int, api: str) -> Upload | None:
    """Return the latest upload once it has ended, or once whoever began it must be gone."""
    version: int | None = None
    while True:
        version = await studio.changed(version, LOOK_GAP)
        known = await studio.bots.uploaded(application_id, api)
        if known is None or known.ids or not studio.bots.recent(known, LEASE):
            return known
