"""The rows of the guilds that a process of the bot looks after."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from flux_core.shards import Share


def of_share(guild_id: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Return the condition that a guild belongs to the share whose ``parameters`` are given; see ``shard_of``."""
    # 22 as it stands: PostgreSQL shifts by an integer, and a parameter would be as large as the id.
    shard = guild_id.bitwise_rshift(sa.literal_column("22")) % bindparam("shard_count")
    return shard.in_(bindparam("shards", expanding=True))


def parameters(share: Share) -> dict[str, Any]:
    """Return what ``of_share`` has to be given."""
    return {"shard_count": share.count, "shards": sorted(share.ids)}
