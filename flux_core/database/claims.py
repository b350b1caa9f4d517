"""What workers of our own claim: the job whose turn it is, among those that they can draw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import locks
from flux_core.database.jobs import CLAIMED_BY_NOBODY, COLUMNS, LIMITED, job_of, reconsider
from flux_core.database.members import unlimited
from flux_core.database.routines import Routine
from flux_core.database.tables import EVERYWHERE, guilds, jobs, pauses
from flux_core.database.turns import advanced, charged, cost_of, guild_first, serve
from flux_core.jobs import Job, JobState, Lane

c = jobs.c

OPEN_EVERYWHERE = ~sa.exists(
    sa.select(pauses.c.guild_id).where(
        pauses.c.guild_id == sa.literal_column(str(EVERYWHERE)), pauses.c.drains.is_(sa.false())
    )
)
TAKEN = {
    "state": JobState.RUNNING.value,
    **CLAIMED_BY_NOBODY,
    "attempts": c.attempts + 1,
    "worker_id": bindparam("worker"),
    "lease_until": bindparam("until"),
    "started_at": bindparam("now"),
    "steps_done": 0,
    "steps_total": 0,
}
"""What becomes of a job that is claimed. Parameters: ``worker``, ``until``, ``now``."""


def _line(models: int, looked_at: int) -> sa.Subquery:
    """Return (id, start_tag) of the first jobs among ``models`` models in one lane, of the guild whose turn it is.

    Of each model ``looked_at`` at most. Parameters: ``model_0`` …, ``of_lane``.
    """
    # As a literal: not knowing how few there are, PostgreSQL plans for a tenth of all that wait, and reads them all.
    few: sa.ColumnElement[int] = sa.literal_column(str(looked_at), sa.Integer)
    guild = guild_first("waits_for", models)
    heads = []
    for number in range(models):
        waiting = jobs.alias(f"waiting_{number}")
        heads.append(
            sa.select(waiting.c.id, waiting.c.start_tag)
            .where(waiting.c.waits_for == bindparam(f"model_{number}"), waiting.c.lane == bindparam("of_lane"))
            .where(waiting.c.guild_id == guild)
            .order_by(waiting.c.start_tag, waiting.c.id)
            .limit(few)
            .subquery(f"head_{number}")
        )
    return sa.union_all(*(sa.select(head) for head in heads)).subquery("first")


@cache
def _first(models: int) -> sa.Select[Any]:
    """Return the job whose turn it is; parameters as ``_line``."""
    first = _line(models, 1)
    chosen = sa.select(first.c.id).order_by(first.c.start_tag, first.c.id).limit(sa.literal_column("1"))
    return chosen.where(OPEN_EVERYWHERE)


_TAKE = (
    sa.update(jobs).where(c.id == bindparam("job"), c.waits_for.is_not(None)).values(TAKEN).returning(*COLUMNS, LIMITED)
)


@cache
def _at_once(models: int, lane: Lane, looked_at: int) -> Routine:
    """Return the routine that picks, takes and charges the job whose turn it is, on a server.

    Parameters: those of ``_line`` and of ``TAKEN``. It returns no row where nothing waits in the lane; else the columns
    of the job that is taken, with ``found``: the job that was picked, also where it may not be taken without locks, or
    NULL where others are taking all that was looked at.
    """
    line = sa.select(_line(models, looked_at)).where(OPEN_EVERYWHERE).cte("line")
    one = jobs.alias("one")
    picked = (
        sa.select(one.c.id, one.c.guild_id, one.c.user_id)
        .join_from(line, one, one.c.id == line.c.id)
        .where(one.c.waits_for.is_not(None))  # others may have taken it since this statement began
        .order_by(line.c.start_tag, line.c.id)
        .limit(sa.literal_column("1"))
        .with_for_update(of=one, skip_locked=True)
        .cte("picked")
    )
    taken = sa.update(jobs).where(c.id == picked.c.id, unlimited(picked)).values(TAKEN).returning(*COLUMNS).cte("taken")
    served = (
        sa.update(guilds)
        .where(guilds.c.guild_id == taken.c.guild_id)
        .values(charged(lane, cost_of(taken.c.price), taken.c.start_tag))
        .returning(guilds.c.guild_id)
        .cte("served")
    )
    # Time goes on to where the guild stood when this statement began: nobody who waits stood before that. Its turn may
    # start later, where others have claimed for it since; those whom they overtook must not lose theirs. Read through
    # what was served, so that the guild's row is locked before the one of time, as where claims take locks: in another
    # order they would wait for one another.
    began = sa.select(guilds.c.finish).where(guilds.c.guild_id == served.c.guild_id).scalar_subquery()
    waits = sa.select(line.c.id).limit(sa.literal_column("1")).subquery("waits")
    statement = (
        sa.select(picked.c.id.label("found"), taken)
        .select_from(waits.outerjoin(picked, sa.true()).outerjoin(taken, sa.true()))
        .add_cte(served, advanced(began).cte("moved"))
    )
    name = f"claim_{models}_{lane.value}_{looked_at}"
    return Routine(name, statement, before=(locks.TOGETHER, locks.HASTY))


TAKE_FROM_LINE = (
    sa.update(jobs)
    .where(c.id == bindparam("job"), c.waits_for == bindparam("of"), c.waits_for.is_not(None), OPEN_EVERYWHERE)
    .values(TAKEN)
    .returning(*COLUMNS)
)
"""Takes a job that was seen in the line for the model ``of``. Parameters: also ``job``, and those of ``TAKEN``."""

LOOKED_AT = (8, 64)
"""Jobs at the head of the line that a claim beside others looks at, before it takes its turn among them."""


def _beside_others(connection: Connection, models: int, key: dict[str, Any]) -> Job | None:
    """Claim on a server with one call that waits for nobody who claims; raises Contended where that cannot be.

    A job that somebody else is just taking is passed by (SKIP LOCKED) for the next one of its guild. So while ``k``
    claims are under way at the same moment, each may pick as though the others had not been served: a guild gets
    ``k - 1`` turns early at most. Each of them is charged all the same, one after the other, and time waits for those
    who were overtaken: nothing of that adds up.
    """
    for looked_at in LOOKED_AT:
        for lane in Lane:
            rows = _at_once(models, lane, looked_at).rows(connection, key | {"of_lane": lane.value})
            if not rows:
                continue
            (row,) = rows
            if row.id is not None:
                return job_of(row)
            if row.found is not None:
                raise locks.Contended
            break
        else:
            return None
    raise locks.Contended


# A claim that a crash of the server undoes leaves its job waiting, and its worker without a lease.
@locks.in_a_message
@locks.writes_nothing_empty_handed
@locks.may_be_undone
def claim(connection: Connection, worker_id: str, models: Sequence[str], now: float, lease: float) -> Job | None:
    """Give the worker the job whose turn it is among ``models``, or None."""
    if not models:
        return None
    wanted: dict[str, Any] = {f"model_{number}": model for number, model in enumerate(models)}
    taker = {"worker": worker_id, "now": now, "until": now + lease}
    if locks.unneeded(connection):
        return _beside_others(connection, len(models), wanted | taker)
    locks.turns(connection)
    for lane in Lane:
        while job_id := connection.execute(_first(len(models)), wanted | {"of_lane": lane.value}).scalar():
            locks.account_of(connection, job_id)
            row = connection.execute(_TAKE, taker | {"job": job_id}).one_or_none()
            if row is None:
                continue  # held since: its member has just submitted another job, under other rules
            job = job_of(row)
            serve(connection, job)
            if row.limited is not None:
                reconsider(connection, job.account)
            return job
    return None
