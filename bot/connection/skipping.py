"""Skip what Discord sends and discord.py cannot read: it would end the bot's connection, and the bot with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import discord

log = logging.getLogger(__name__)

NEEDED = frozenset({"READY", "RESUMED"})
"""Without these there is no session, so a failure has to be heard."""


def skip_unreadable(client: discord.Client) -> None:
    """Let ``client`` log an event that cannot be read, and go on with the next.

    Discord adds to what it sends at any time: a kind of component or of channel that discord.py does not know yet.
    """
    readers = client._connection.parsers
    for event, read in readers.items():
        if event not in NEEDED:
            readers[event] = _careful(event, read)


def _careful(event: str, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def careful(data: Any) -> Any:
        try:
            return read(data)
        except Exception as error:
            # Without the event itself: it holds tokens, and what members wrote.
            log.warning("an event %s from Discord could not be read: %s", event, type(error).__name__, exc_info=error)
            return None

    return careful
