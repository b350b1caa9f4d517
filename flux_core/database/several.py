"""Look up several members of a community in one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from flux_core.jobs import Account

SIZES = (1, 4, 16, 64, 256)
"""How many members one statement names: each number is a statement of its own, which a connection has to prepare."""


def by_guild(accounts: Collection[Account]) -> Iterator[tuple[int, list[int]]]:
    """Yield guilds, each with as many user ids of its ``accounts`` as one of ``SIZES``; the last may be there again."""
    guilds: dict[int, list[int]] = {}
    for account in dict.fromkeys(accounts):
        guilds.setdefault(account.guild_id, []).append(account.user_id)
    for guild, users in guilds.items():
        for first in range(0, len(users), SIZES[-1]):
            some = users[first : first + SIZES[-1]]
            size = next(size for size in SIZES if size >= len(some))
            yield guild, some + some[-1:] * (size - len(some))
