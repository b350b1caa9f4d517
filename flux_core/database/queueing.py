"""A new job, what is reserved for it, and where its member's next turn starts: on a server in one message."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import jobs, ledger, locks, members
from flux_core.database import tables as t
from flux_core.database.ledger import Payment
from flux_core.database.routines import Routine
from flux_core.database.standing import Versions
from flux_core.jobs import Job, Lane


def enqueue(
    connection: Connection,
    job: Job,
    key: str | None,
    payment: Payment,
    *,
    known: bool,
    most_running: int | None,
    roles: str | None,
    seen: Versions | None = None,
) -> None:
    """Put a new job into the queue, and reserve its cost; hold it where its member has as many running as they may.

    ``key`` names the submit, ``known`` says whether the member has a row; for ``most_running`` and ``roles`` see
    ``members.set_turn``. ``seen``: as what no locks have protected so far, and a pool is not counted; raises Contended
    where that has changed.
    """
    if connection.dialect.name == "postgresql":
        _at_once(connection, job, key, payment, known, most_running, roles, seen)
    else:
        jobs.insert(connection, job, key)
        ledger.reserve(connection, job, payment)
        members.set_turn(
            connection, job.account, job.lane, job.finish_tag, known=known, most_running=most_running, roles=roles
        )
    if most_running is not None and seen is None:
        jobs.reconsider(connection, job.account)


def _at_once(
    connection: Connection,
    job: Job,
    key: str | None,
    payment: Payment,
    known: bool,
    most_running: int | None,
    roles: str | None,
    seen: Versions | None,
) -> None:
    new = jobs.values_of(job, key)
    rows = ledger.reservation(job, payment)
    of = {"guild": job.account.guild_id, "user": job.account.user_id}
    parameters: dict[str, Any] = of | {"finish": job.finish_tag, "most": most_running, "held_roles": roles}
    parameters |= {f"job_{name}": value for name, value in new.items()}
    for number, row in enumerate(rows):
        parameters |= {f"row_{number}_{name}": value for name, value in row.items()}
    kind = (tuple(new), tuple(rows[0]), len(rows), job.lane, known)
    if seen is None:
        connection.execute(_statement(*kind), parameters)
        ledger.count_pool(connection, job, payment)
    elif not _routine(*kind, most_running is not None).rows(connection, parameters | seen._asdict()):
        raise locks.Contended


@cache
def _routine(
    columns: tuple[str, ...], row: tuple[str, ...], rows: int, lane: Lane, known: bool, limited: bool
) -> Routine:
    """Return the routine that runs ``_statement`` where what was seen has not changed."""
    return Routine(
        f"submit_{rows}_{lane.value}_{known:d}_{limited:d}",
        _statement(columns, row, rows, lane, known),
        before=(locks.TOGETHER, locks.OWN),
        provided=locks.UNCHANGED,
        after=(jobs.RECONSIDER,) if limited else (),
    )


@cache
def _statement(columns: tuple[str, ...], row: tuple[str, ...], rows: int, lane: Lane, known: bool) -> sa.Select[Any]:
    """Return the statement for a job with these columns and ``rows`` rows in the ledger."""
    # From a select, in order: SQLAlchemy would compile an insert of several rows anew each time.
    booked = [
        sa.select(*(bindparam(f"row_{number}_{name}", type_=t.ledger.c[name].type) for name in row))
        for number in range(rows)
    ]
    turned = members.turn_set(lane) if known else members.turn_begun(lane)
    new = {name: bindparam(f"job_{name}", type_=t.jobs.c[name].type) for name in columns}
    return sa.select(sa.literal_column("1", sa.Integer).label("done")).add_cte(
        sa.insert(t.jobs).inline().values(new).cte("entered"),
        sa.insert(t.ledger).from_select(list(row), sa.union_all(*booked), include_defaults=False).cte("booked"),
        turned.cte("turned"),
    )
