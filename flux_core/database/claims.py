"""What workers of our own claim: the job whose turn it is, among those that they can draw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import locks
from flux_core.database.jobs import CLAIMED_BY_NOBODY, COLUMNS, LIMITED, job_of, reconsider
from flux_core.database.tables import EVERYWHERE, jobs, pauses
from flux_core.database.turns import guild_first, serve
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


@cache
def _first(models: int) -> sa.Select[Any]:
    """Return the job whose turn it is among ``models`` models in one lane: the first one of the guild whose turn it is.

    Parameters: ``model_0`` …, ``of_lane``.
    """
    guild = guild_first("waits_for", models)
    heads = []
    for number in range(models):
        waiting = jobs.alias(f"waiting_{number}")
        heads.append(
            sa.select(waiting.c.id, waiting.c.start_tag)
            .where(waiting.c.waits_for == bindparam(f"model_{number}"), waiting.c.lane == bindparam("of_lane"))
            .where(waiting.c.guild_id == guild)
            .order_by(waiting.c.start_tag, waiting.c.id)
            .limit(sa.literal_column("1"))
            .subquery(f"head_{number}")
        )
    first = sa.union_all(*(sa.select(head) for head in heads)).subquery("first")
    chosen = sa.select(first.c.id).order_by(first.c.start_tag, first.c.id).limit(sa.literal_column("1"))
    return chosen.where(OPEN_EVERYWHERE)


_TAKE = (
    sa.update(jobs).where(c.id == bindparam("job"), c.waits_for.is_not(None)).values(TAKEN).returning(*COLUMNS, LIMITED)
)


@locks.beside_others
def claim(connection: Connection, worker_id: str, models: Sequence[str], now: float, lease: float) -> Job | None:
    """Give the worker the job whose turn it is among ``models``, or None."""
    if not models:
        return None
    wanted: dict[str, Any] = {f"model_{number}": model for number, model in enumerate(models)}
    locks.turns(connection)
    for lane in Lane:
        while job_id := connection.execute(_first(len(models)), wanted | {"of_lane": lane.value}).scalar():
            locks.account_of(connection, job_id)
            key = {"job": job_id, "worker": worker_id, "now": now, "until": now + lease}
            row = connection.execute(_TAKE, key).one_or_none()
            if row is None:
                continue  # held since: its member has just submitted another job, under other rules
            job = job_of(row)
            serve(connection, job)
            if row.limited is not None:
                reconsider(connection, job.account)
            return job
    return None
