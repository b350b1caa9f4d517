"""Everything that the database says, in one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database import outbox
from flux_core.database.bookkeeping import Discrepancy, discrepancies
from flux_core.database.tables import (
    discarded,
    guilds,
    jobs,
    ledger,
    members,
    pauses,
    pictures,
    pools,
    reviews,
    spending,
    virtual_time,
)
from flux_core.jobs import JobState

ENDED = tuple(state for state in JobState if state.ended)


@dataclass(frozen=True)
class Snapshot:
    """The rows of the tables that a job's life is written in."""

    jobs: dict[str, Any]
    ledger: list[Any]
    """In the order in which they were written."""
    now: float
    """The guilds' virtual time."""
    guilds: dict[int, Any]
    members: list[Any]
    pools: list[Any]
    spending: dict[tuple[str, str], int]
    pictures: dict[tuple[str, int], str | None]
    discarded: set[str]
    reviews: list[Any]
    pauses: dict[int, bool]
    outbox: list[str]
    """The ended jobs whose answer is to be handed over."""
    discrepancies: list[Discrepancy]


def snapshot(connection: Connection) -> Snapshot:
    """Look at everything."""

    def rows(table: sa.Table, *order: sa.Column[Any]) -> list[Any]:
        return list(connection.execute(sa.select(table).order_by(*order)).all())

    return Snapshot(
        jobs={row.id: row for row in rows(jobs, jobs.c.id)},
        ledger=rows(ledger, ledger.c.id),
        now=connection.execute(sa.select(virtual_time.c.value)).scalar_one(),
        guilds={row.guild_id: row for row in rows(guilds)},
        members=rows(members, members.c.guild_id, members.c.user_id),
        pools=rows(pools, pools.c.guild_id, pools.c.period),
        spending={(row.job_id, row.provider): row.microdollars for row in rows(spending)},
        pictures={(row.job_id, row.position): row.key for row in rows(pictures)},
        discarded={row.key for row in rows(discarded)},
        reviews=rows(reviews, reviews.c.id),
        pauses={row.guild_id: bool(row.drains) for row in rows(pauses)},
        outbox=[live.job.id for live in outbox.live(connection, None, ENDED)],
        discrepancies=discrepancies(connection),
    )
