"""The audit log: what moderators changed, written with the change itself. The database refuses to alter it."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database.tables import audit

_INSERT = sa.insert(audit).inline()


def note(
    connection: Connection,
    guild_id: int,
    by: int,
    action: str,
    now: float,
    *,
    target: int | None = None,
    **facts: Any,
) -> None:
    """Write down that the user ``by`` did ``action`` (the command, such as "quota grant") in a guild.

    ``target``: the member it was done to. ``facts``: what else there is to tell, as JSON.
    """
    connection.execute(
        _INSERT,
        {
            "at": now,
            "guild_id": guild_id,
            "by_user": by,
            "action": action,
            "target_user": target,
            "facts": json.dumps(facts, default=str),
        },
    )
