"""What communities have decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from flux_core.database import audit, policies
from flux_core.database.engine import Database
from flux_core.errors import AlreadySo
from flux_core.policy.guild import GuildPolicy
from flux_core.quota import QuotaRules


class Policies:
    """What communities have decided."""

    def __init__(self, db: Database, rules: QuotaRules) -> None:
        self._db = db
        self._rules = rules

    async def of(self, guild_id: int) -> GuildPolicy:
        """Return what a guild has decided; all of it left open where it has decided nothing."""
        return await self._db.read(policies.policy_of, guild_id)

    async def problems(self, guild_id: int) -> tuple[str, ...]:
        """Return what cannot be read of what a guild has decided; as long as there is any, nothing is drawn there."""
        return await self._db.read(policies.problems_of, guild_id)

    async def change(
        self,
        guild_id: int,
        change: Callable[[GuildPolicy], GuildPolicy],
        *,
        by: int,
        action: str,
        target: int | None = None,
        whole: bool = False,
        **facts: Any,
    ) -> GuildPolicy:
        """Change what a guild has decided, with an entry in the audit log; return the new policy.

        ``change`` gets the policy as it is and returns it as it shall be; what it raises refuses the change. It runs
        on the database's thread and must not wait for anything. ``action`` names the command, such as "tier add";
        ``facts`` are what the audit log tells of it (JSON). ``whole``: it replaces all there is, which is the one way
        to change what cannot be read.
        Raises InvalidPolicy when the result makes no sense, AlreadySo when it is what it was.
        """
        return await self._db.write(_change, guild_id, change, by, action, target, whole, facts, self._db.clock())


def _change(
    connection: Connection,
    guild_id: int,
    change: Callable[[GuildPolicy], GuildPolicy],
    by: int,
    action: str,
    target: int | None,
    whole: bool,
    facts: Mapping[str, Any],
    now: float,
) -> GuildPolicy:
    before = policies.to_change(connection, guild_id, whole=whole)
    after = policies.checked(change(before))
    if after == before and not policies.problems_of(connection, guild_id):
        raise AlreadySo()
    policies.put_policy(connection, guild_id, after, by, now)
    audit.note(connection, guild_id, by, action, now, target=target, **facts)
    return after
