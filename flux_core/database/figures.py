"""How the whole house is doing, in figures: what waits, runs and is to be told, who draws, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import spending, workers
from flux_core.database.jobs import IS_QUEUED, IS_RUNNING
from flux_core.database.tables import jobs, ledger, reviews
from flux_core.database.tables import workers as worker_table
from flux_core.jobs import JobState, Lane
from flux_core.quota import day_at
from flux_core.skills import model_of

c = jobs.c

OURS, HOSTED = "ours", "hosted"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Jobs that wait for the same: how many, and when the oldest of them was asked for (unix seconds)."""

    jobs: int
    oldest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """Thousandths of a credit that the jobs of one day took."""

    reserved: int
    """Of jobs that have not ended."""
    settled: int
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One look at everything."""

    waiting: Mapping[tuple[Lane, str, str], Crowd]
    """(lane, model, OURS or HOSTED) → what may be claimed: by our own cards as well, or by hosted providers alone."""
    resuming: Mapping[str, int]
    """Hosted provider → jobs that wait to go on there."""
    stopped: int
    """Jobs that wait and may not be claimed."""
    running: Mapping[tuple[str, str], int]
    """(model, provider of the worker; "" where that is not known) → jobs."""
    expired: int
    """Running jobs whose lease is over."""
    undelivered: Crowd
    """Ended; its ``oldest`` is when the first of them ended, 0 for none."""
    undeliverable: int
    workers: Mapping[tuple[str, bool], int]
    """(provider, whether it takes jobs) → workers that live."""
    slots: Mapping[str, int]
    """Provider → jobs that its workers draw at once, those that take any."""
    caps: Mapping[str, int]
    """Hosted provider → the most that it may get a day, in millionths of a dollar."""
    reviews: Mapping[str, int]
    """Kind → open ones."""
    credits: Credits
    microdollars: Mapping[str, int]
    """Hosted provider → what it gets today, in millionths of a dollar."""


_NOTHING = sa.select(sa.literal_column("1", sa.Integer))
# Counted from the indexes that claims use. Ids are sorted by time, and in the indexes; the time itself is not.
_COUNTS = (c.lane, sa.func.count().label("jobs"), sa.func.min(c.id).label("first"))
_FOR_US = sa.select(c.waits_for.label("of"), *_COUNTS).where(c.waits_for.is_not(None)).group_by(c.waits_for, c.lane)
_FOR_HOSTED = (
    sa.select(c.waits_hosted.label("of"), *_COUNTS)
    .where(c.waits_hosted.is_not(None), c.waits_for.is_(None), c.provider_job_id.is_(None))
    .group_by(c.waits_hosted, c.lane)
)
_ASKED_AT = sa.select(c.id, c.created_at).where(c.id.in_(bindparam("jobs", expanding=True)))
_RESUMING = (
    sa.select(c.provider, sa.func.count().label("jobs"))
    .where(IS_QUEUED, c.provider_job_id.is_not(None))
    .group_by(c.provider)
)
_QUEUED = sa.select(sa.func.count()).where(IS_QUEUED)
_RUNNING = (
    sa.select(c.model, worker_table.c.provider, c.lease_until)
    .select_from(jobs.outerjoin(worker_table, worker_table.c.id == c.worker_id))
    .where(IS_RUNNING)
)
_UNDELIVERED = sa.select(sa.func.count().label("jobs"), sa.func.min(c.ended_at).label("oldest")).where(
    c.state.in_([sa.literal_column(f"'{state.value}'") for state in JobState if state.ended]),
    c.channel_id.is_not(None),
    c.delivered_at.is_(None),
    c.undeliverable_at.is_(None),
)
_UNDELIVERABLE = sa.select(sa.func.count()).where(c.undeliverable_at.is_not(None))
_REVIEWS = (
    sa.select(reviews.c.kind, sa.func.count().label("open")).where(reviews.c.verdict.is_(None)).group_by(reviews.c.kind)
)
# As the partial index over outcomes has it; what is settled counts nothing.
_OUTCOMES: tuple[sa.ColumnElement[str], ...] = (sa.literal_column("'settle'"), sa.literal_column("'refund'"))
_reserve, _outcome = ledger.alias("reserve"), ledger.alias("outcome")
_ENDED = sa.exists(
    sa.select(_outcome.c.id).where(
        _outcome.c.job_id == _reserve.c.job_id,
        _outcome.c.part == sa.literal_column("0"),
        _outcome.c.kind.in_(_OUTCOMES),
    )
)
_RESERVED = sa.select(
    sa.func.coalesce(sa.func.sum(-_reserve.c.amount), 0).label("amount"),
    sa.func.coalesce(sa.func.sum(sa.case((_ENDED, -_reserve.c.amount), else_=0)), 0).label("ended"),
).where(_reserve.c.kind == sa.literal_column("'reserve'"), _reserve.c.job_id >= bindparam("first"))
_REFUNDED = sa.select(sa.func.coalesce(sa.func.sum(ledger.c.amount), 0)).where(
    ledger.c.kind.in_(_OUTCOMES), ledger.c.job_id >= bindparam("first")
)


def answers(connection: Connection) -> None:
    """Ask for nothing, to see whether anybody is there."""
    connection.execute(_NOTHING)


def figures(connection: Connection, now: float, alive_since: float, zone: ZoneInfo) -> Figures:
    """Look at everything; workers count that gave a sign of life after ``alive_since``, and today is that of ``zone``.

    It takes as long as it takes to count what waits: about a second for a million jobs on SQLite, read beside writers.
    """
    waiting = _waiting(connection)
    resuming = {row.provider: row.jobs for row in connection.execute(_RESUMING)}
    queued = connection.execute(_QUEUED).scalar_one()
    claimable = sum(crowd.jobs for crowd in waiting.values()) + sum(resuming.values())
    running = connection.execute(_RUNNING).all()
    undelivered = connection.execute(_UNDELIVERED).one()
    crew = workers.alive(connection, alive_since)
    slots: Counter[str] = Counter()
    for worker in crew:
        if worker.closed is None:
            slots[worker.provider] += worker.slots
    return Figures(
        waiting=waiting,
        resuming=resuming,
        stopped=queued - claimable,
        running=Counter((row.model, row.provider or "") for row in running),
        expired=sum(row.lease_until < now for row in running),
        undelivered=Crowd(undelivered.jobs, undelivered.oldest or 0.0),
        undeliverable=connection.execute(_UNDELIVERABLE).scalar_one(),
        workers=Counter((worker.provider, worker.closed is None) for worker in crew),
        slots=slots,
        caps={worker.provider: worker.money_cap for worker in crew if worker.money_cap is not None},
        reviews={row.kind: row.open for row in connection.execute(_REVIEWS)},
        credits=_credits(connection, now, zone),
        microdollars=spending.on(connection, day_at(now, zone)),
    )


def _waiting(connection: Connection) -> dict[tuple[Lane, str, str], Crowd]:
    counted: list[tuple[str, Any]] = [(OURS, row) for row in connection.execute(_FOR_US)]
    counted += [(HOSTED, row) for row in connection.execute(_FOR_HOSTED)]
    firsts = {"jobs": [row.first for _, row in counted]}
    asked_at = {row.id: row.created_at for row in connection.execute(_ASKED_AT, firsts)}
    found: dict[tuple[Lane, str, str], Crowd] = {}
    for venue, row in counted:
        key = Lane(row.lane), model_of(row.of), venue  # with whatever LoRA
        known = found.get(key, Crowd(0, asked_at[row.first]))
        found[key] = Crowd(known.jobs + row.jobs, min(known.oldest, asked_at[row.first]))
    return found


def _credits(connection: Connection, now: float, zone: ZoneInfo) -> Credits:
    midnight = datetime.combine(datetime.fromtimestamp(now, zone), time.min, zone).timestamp()
    today = {"first": f"{int(midnight * 1000):012x}"}  # how the ids of jobs begin
    row = connection.execute(_RESERVED, today).one()
    refunded = int(connection.execute(_REFUNDED, today).scalar_one())
    ended = int(row.ended)
    return Credits(reserved=int(row.amount) - ended, settled=ended - refunded, refunded=refunded)
