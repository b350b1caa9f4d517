"""A new job, what is reserved for it, and where its member's next turn starts: on a server in one statement."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import jobs, ledger, members
from flux_core.database import tables as t
from flux_core.database.ledger import Payment
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
) -> None:
    """Put a new job into the queue, and reserve its cost.

    ``key`` names the submit, ``known`` says whether the member has a row; for the others see ``members.set_turn``.
    """
    if connection.dialect.name == "postgresql":
        _at_once(connection, job, key, payment, known, most_running, roles)
    else:
        jobs.insert(connection, job, key)
        ledger.reserve(connection, job, payment)
        members.set_turn(
            connection, job.account, job.lane, job.finish_tag, known=known, most_running=most_running, roles=roles
        )


def _at_once(
    connection: Connection,
    job: Job,
    key: str | None,
    payment: Payment,
    known: bool,
    most_running: int | None,
    roles: str | None,
) -> None:
    new = jobs.values_of(job, key)
    rows = ledger.reservation(job, payment)
    of = {"guild": job.account.guild_id, "user": job.account.user_id}
    parameters: dict[str, Any] = of | {"finish": job.finish_tag, "most": most_running, "held_roles": roles}
    parameters |= {f"job_{name}": value for name, value in new.items()}
    for number, row in enumerate(rows):
        parameters |= {f"row_{number}_{name}": value for name, value in row.items()}
    connection.execute(_statement(tuple(new), tuple(rows[0]), len(rows), job.lane, known), parameters)
    ledger.count_pool(connection, job, payment)


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
    return sa.select(sa.literal_column("1")).add_cte(
        sa.insert(t.jobs).inline().values(new).cte("entered"),
        sa.insert(t.ledger).from_select(list(row), sa.union_all(*booked), include_defaults=False).cte("booked"),
        turned.cte("turned"),
    )
