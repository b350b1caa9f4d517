"""Which workers there are, what each can draw, and whether it takes jobs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, bindparam

from flux_core.database import locks
from flux_core.database.tables import workers
from flux_core.offers import Offer
from flux_core.router import LOCAL

log = logging.getLogger(__name__)

c = workers.c

_OFFERS = TypeAdapter(dict[str, Offer])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One provider in one worker process, as it introduces itself."""

    id: str
    host: str
    pid: int
    device: str
    offers: Mapping[str, Offer]
    """Model id → what the provider does with it."""
    started_at: float
    """Unix seconds."""
    provider: str = LOCAL
    hosted: bool = False
    closed: str | None = None
    """Why it takes no jobs at the moment."""
    slots: int = 1
    """Jobs it draws at once."""
    links: bool = False
    """Whether its picture store can hand out URLs."""
    money_cap: int | None = None
    """Millionths of a dollar that its provider may cost a day; None: no limit."""
    seen_at: float | None = None
    """When it last gave a sign of life; the database fills it in."""

    @property
    def models(self) -> tuple[str, ...]:
        """Return the ids of the models it can draw."""
        return tuple(self.offers)


_SEEN = sa.update(workers).where(c.id == bindparam("worker")).values(seen_at=bindparam("now"), closed=bindparam("why"))
_OFFER = (
    sa.update(workers)
    .where(c.id == bindparam("worker"))
    .values(offers=bindparam("models"), closed=bindparam("why"), seen_at=bindparam("now"))
)
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
        "provider": worker.provider,
        "hosted": worker.hosted,
        "offers": _text(worker.offers),
        "closed": worker.closed,
        "slots": worker.slots,
        "links": worker.links,
        "money_cap": worker.money_cap,
        "started_at": worker.started_at,
        "seen_at": now,
    }
    connection.execute(_INSERT, row)


def offer(connection: Connection, worker_id: str, offers: Mapping[str, Offer], now: float, closed: str | None) -> None:
    """Note what a worker draws from now on, and whether it takes jobs."""
    connection.execute(_OFFER, {"worker": worker_id, "models": _text(offers), "now": now, "why": closed})


def _text(offers: Mapping[str, Offer]) -> str:
    return _OFFERS.dump_json(dict(offers), exclude_defaults=True).decode()


@locks.may_be_undone
def beat(connection: Connection, worker_id: str, now: float, closed: str | None) -> bool:
    """Note that a worker lives, and whether it takes jobs; False where it is not in the list (any more)."""
    return connection.execute(_SEEN, {"worker": worker_id, "now": now, "why": closed}).rowcount == 1


def retire(connection: Connection, worker_id: str) -> None:
    """Remove a worker."""
    connection.execute(_DELETE, {"worker": worker_id})


@lru_cache(maxsize=256)
def _offers(text: str) -> Mapping[str, Offer]:
    # A worker's offers hardly ever change while it lives, and every claim of a hosted provider reads them.
    found = {}
    for model, said in json.loads(text).items():
        try:
            found[model] = Offer.model_validate(said)
        except ValidationError:
            # One worker of a newer version must not keep everybody here from ordering.
            log.warning("what a worker offers of %s cannot be read: it is of a newer version", model)
    return found


def alive(connection: Connection, since: float) -> list[WorkerInfo]:
    """Return the workers that gave a sign of life after ``since``."""
    return [
        WorkerInfo(
            id=row.id,
            host=row.host,
            pid=row.pid,
            device=row.device,
            offers=_offers(row.offers),
            started_at=row.started_at,
            provider=row.provider,
            hosted=row.hosted,
            closed=row.closed,
            slots=row.slots,
            links=row.links,
            money_cap=row.money_cap,
            seen_at=row.seen_at,
        )
        for row in connection.execute(_ALIVE, {"since": since})
    ]


def prune(connection: Connection, before: float) -> list[str]:
    """Remove the workers silent since ``before``; return their ids."""
    return list(connection.execute(_PRUNE, {"before": before}).scalars())
