"""Which workers there are and what they can draw."""

from __future__ import annotations

import json
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import workers

c = workers.c


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One worker process, as it introduces itself."""

    id: str
    host: str
    pid: int
    device: str
    models: tuple[str, ...]
    started_at: float
    """Unix seconds."""
    seen_at: float | None = None
    """When it last gave a sign of life; the database fills it in."""


_SEEN = sa.update(workers).where(c.id == bindparam("worker")).values(seen_at=bindparam("now"))
_DELETE = sa.delete(workers).where(c.id == bindparam("worker"))
_INSERT = sa.insert(workers).inline()
_ALIVE = sa.select(workers).where(c.seen_at >= bindparam("since")).order_by(c.started_at, c.id)
_PRUNE = sa.delete(workers).where(c.seen_at < bindparam("before")).returning(c.id)


def register(connection: Connection, worker: WorkerInfo, now: float) -> None:
    """Add a worker, in place of an earlier one with its id."""
    connection.execute(_DELETE, {"worker": worker.id})
    row = {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "device": worker.device,
        "models": json.dumps(worker.models),
        "started_at": worker.started_at,
        "seen_at": now,
    }
    connection.execute(_INSERT, row)


def beat(connection: Connection, worker_id: str, now: float) -> None:
    """Note that a worker lives."""
    connection.execute(_SEEN, {"worker": worker_id, "now": now})


def retire(connection: Connection, worker_id: str) -> None:
    """Remove a worker."""
    connection.execute(_DELETE, {"worker": worker_id})


def alive(connection: Connection, since: float) -> list[WorkerInfo]:
    """Return the workers that gave a sign of life after ``since``."""
    return [
        WorkerInfo(
            id=row.id,
            host=row.host,
            pid=row.pid,
            device=row.device,
            models=tuple(json.loads(row.models)),
            started_at=row.started_at,
            seen_at=row.seen_at,
        )
        for row in connection.execute(_ALIVE, {"since": since})
    ]


def prune(connection: Connection, before: float) -> list[str]:
    """Remove the workers silent since ``before``; return their ids."""
    return list(connection.execute(_PRUNE, {"before": before}).scalars())
