"""What an IDENTIFY has to be, by Discord's close codes."""

from __future__ import annotations

from typing import Any

from .sessions import Closed, Shard

PRIVILEGED = 1 << 1 | 1 << 8 | 1 << 15
"""Members, presences and message content: this application has none of them switched on."""
MOST_INTENTS = (1 << 26) - 1


def check(data: Any, token: str) -> tuple[int, Shard]:
    """Return the intents and the shard of an IDENTIFY; raises Closed for one that breaks a rule."""
    if not isinstance(data, dict) or not isinstance(data.get("properties"), dict):
        raise Closed(4002, "Error while decoding payload.")
    if data.get("token") != token:
        raise Closed(4004, "Authentication failed.")
    intents = data.get("intents")
    if not isinstance(intents, int) or not 0 <= intents <= MOST_INTENTS:
        raise Closed(4013, "Invalid intent(s).")
    if intents & PRIVILEGED:
        raise Closed(4014, "Disallowed intent(s).")
    shard = data.get("shard")
    if shard is None:
        return intents, None
    if not (
        isinstance(shard, list)
        and len(shard) == 2
        and all(isinstance(part, int) for part in shard)
        and 0 <= shard[0] < shard[1]
    ):
        raise Closed(4010, "Invalid shard.")
    return intents, (shard[0], shard[1])
