"""An account whose jobs were held stands in line again: where it would by now, not where it stood.

Time in which nobody might draw for it is not saved up: else all that was held would come before everybody else's.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import members
from flux_core.database.jobs import IS_QUEUED, IS_RUNNING, retag
from flux_core.database.tables import guilds, jobs
from flux_core.fairness import Turn, come_back
from flux_core.jobs import Account, Lane
from flux_core.skills import skill

c = jobs.c

_TIME = {
    lane: sa.select(column).where(guilds.c.guild_id == bindparam("guild"))
    for lane, column in ((Lane.FAST, guilds.c.fast), (Lane.RELAXED, guilds.c.relaxed))
}
_MINE = (c.guild_id == bindparam("guild"), c.user_id == bindparam("user"))
_WAITING = (
    sa.select(c.id, c.model, c.lora, c.start_tag, c.finish_tag)
    .where(*_MINE, IS_QUEUED, c.lane == bindparam("of_lane"), c.held.is_(None))
    .order_by(c.start_tag, c.id)
)
_RUNNING = sa.select(sa.func.count()).where(*_MINE, IS_RUNNING)
_NEXT_OF_OTHERS = [
    sa.select(c.start_tag)
    .where(*can_claim, c.lane == bindparam("of_lane"), c.guild_id == bindparam("guild"))
    .where(c.user_id != bindparam("user"))
    .order_by(c.start_tag)
    .limit(1)
    for can_claim in (
        (c.waits_for == bindparam("of"), c.waits_for.is_not(None)),
        (c.waits_hosted == bindparam("of"), c.waits_hosted.is_not(None), c.provider_job_id.is_(None)),
    )
]
"""Where the first turn of somebody else in the guild starts who wants the same model."""


def rejoin(connection: Connection, account: Account, lane: Lane) -> None:
    """Let no waiting job of an account stand before now in its guild; its turns still follow one another.

    Where others have waited for the same model since long before, that is where their first turn starts.
    """
    key = {"guild": account.guild_id, "user": account.user_id, "of_lane": lane.value}
    now = connection.execute(_TIME[lane], {"guild": account.guild_id}).scalar()
    rows = connection.execute(_WAITING, key).all()
    if now is None or not rows:
        return
    wanted = (skill(rows[0].model, rows[0].lora), rows[0].model)  # of our own workers, and of hosted providers
    for statement, of in zip(_NEXT_OF_OTHERS, wanted, strict=True) if rows[0].start_tag < now else ():
        others = connection.execute(statement, key | {"of": of}).scalar()
        now = now if others is None else min(now, others)
    before = [Turn(row.start_tag, row.finish_tag) for row in rows]
    after = come_back(now, before)
    if after == before:
        return
    for row, old, new in zip(rows, before, after, strict=True):
        if old != new:
            retag(connection, row.id, new.start, new.finish)
    members.put_off_turn(connection, account, lane, after[-1].finish)


def rejoin_after(connection: Connection, account: Account, most_running: int) -> None:
    """Do so after one of an account's jobs ended, where it had as many running as it may."""
    key = {"guild": account.guild_id, "user": account.user_id}
    if connection.execute(_RUNNING, key).scalar_one() + 1 >= most_running:
        for lane in Lane:
            rejoin(connection, account, lane)
