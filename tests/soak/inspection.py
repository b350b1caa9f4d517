"""After a run: what the database, the picture store and the sandbox say has to be the same story."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.sandbox.messages import EPHEMERAL
from bot.sandbox.reading import pictures_of
from flux_core.bootstrap import job_queue
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.engine import Database
from flux_core.database.tables import jobs, ledger, pictures, removals
from flux_core.images.store import PictureStore
from flux_core.maintenance import DAY, chores
from flux_core.settings import Settings
from tests.soak.watching import Watch, is_final, is_waiting, job_on

CLEANING = (
    "previews of ended jobs dropped",
    "unused uploads dropped",
    "stray files dropped",
    "discarded pictures deleted",
)
_JOBS = sa.select(
    *(jobs.c[name] for name in ("id", "key", "guild_id", "user_id", "state", "cost", "private", "message_id")),
    *(
        jobs.c[name]
        for name in (
            "ended_at",
            "delivered_at",
            "undeliverable_at",
            "delivery_problem",
            "attempts",
            "error_code",
            "input_key",
        )
    ),
)
_LEDGER = sa.select(ledger.c.job_id, ledger.c.kind, ledger.c.amount).where(ledger.c.job_id.is_not(None))
_PICTURES = sa.select(pictures.c.job_id, pictures.c.key)
_REMOVALS = sa.select(sa.func.count()).select_from(removals)
_OPEN = sa.select(sa.func.count()).where(
    sa.or_(jobs.c.ended_at.is_(None), sa.and_(jobs.c.delivered_at.is_(None), jobs.c.undeliverable_at.is_(None)))
)


@dataclass(slots=True)
class Findings:
    """What is wrong, each with examples, and what there was."""

    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, what: str, example: object) -> None:
        """Write down something that must not be."""
        self.wrong[what].append(str(example))


def still_open(connection: Connection) -> int:
    """Return how many jobs have not ended or not been delivered, and how many messages are still to be deleted."""
    return int(connection.execute(_OPEN).scalar_one()) + int(connection.execute(_REMOVALS).scalar_one())


async def inspect(db: Database, settings: Settings, watch: Watch, accepted: Mapping[str, str]) -> Findings:
    """Compare everything with everything; nobody else may be at work. Sweeps the picture store first."""
    found = Findings()
    store = PictureStore(settings.pictures)
    await _sweep(db, settings, store)
    rows = {row.id: row for row in await db.read(lambda connection: connection.execute(_JOBS).all())}
    shown = _shown(watch)
    stored = await db.read(lambda connection: connection.execute(_PICTURES).all())
    booked = await db.read(lambda connection: connection.execute(_LEDGER).all())
    for interaction, job in accepted.items():
        if job not in rows:
            found.note("accepted and lost", f"{job} of interaction {interaction}")
        elif rows[job].key != interaction:
            found.note("an answer that shows another order's job", job)
    for job in watch.jobs - rows.keys():
        found.note("shown and not in the database", job)
    keys = defaultdict(list)
    for picture in stored:
        keys[picture.job_id].append(picture.key)
    for row in rows.values():
        found.counts[f"jobs {row.state}" + (f": {row.error_code}" if row.error_code else "")] += 1
        found.counts["attempts beyond the first"] += max(0, row.attempts - 1)
        _ended(found, row, shown.get(row.id, []), keys[row.id])
    _paid(found, rows, booked)
    named = {key for listed in keys.values() for key in listed if key is not None}
    found.counts["pictures"] = len(named)
    there = {file.key for file in await store.list("")}
    given = {row.input_key: row.state for row in sorted(rows.values(), key=lambda row: row.state == "succeeded")}
    given.pop(None, None)
    # Of orders that came to nothing, what was uploaded for them goes after a day; it may be there for others still.
    needed = {key for key, state in given.items() if state == "succeeded"}
    found.counts["uploads let go of, as their orders came to nothing"] = len(given.keys() - needed - there)
    _files(found, named | needed | (given.keys() & there), there)
    _nothing_waits(found, watch)
    for discrepancy in await db.read(discrepancies):
        found.note("the books do not agree", discrepancy)
    if await db.read(still_open):
        found.note("work that is left", await db.read(still_open))
    found.counts["results shown on two messages for a while"] = sum(len(ids) > 1 for ids in watch.finals.values())
    return found


def _shown(watch: Watch) -> dict[str, list[dict[str, Any]]]:
    """Return the messages that show how a job ended, by job."""
    shown: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in watch.messages():
        if (job := job_on(message.raw)) is not None and is_final(message.raw):
            shown[job].append(message.raw)
    return shown


def _ended(found: Findings, row: Any, messages: list[dict[str, Any]], keys: list[str | None]) -> None:
    if row.ended_at is None:
        found.note("not ended", f"{row.id} is {row.state}")
        return
    if row.delivered_at is not None:
        found.counts["delivered"] += 1
        if not messages and row.state != "cancelled":
            found.note("delivered and nowhere to be seen", f"{row.id} {row.state}")
    elif row.undeliverable_at is not None and row.delivery_problem:
        found.counts["given up with a reason"] += 1
    else:
        found.note("neither delivered nor given up with a reason", row.id)
    # A private answer that was edited last thing before its token died, and a bot with it, can be neither found nor
    # taken back: whoever asked has the result in a direct message as well.
    private = [message for message in messages if message["flags"] & EPHEMERAL]
    if len(messages) - len(private) > 1 or len(private) > 1:
        found.note("posted twice", f"{row.id} on {' and '.join(map(_described, messages))}")
    elif len(messages) > 1:
        found.counts["private results that came by direct message as well"] += 1
    if row.state == "succeeded":
        if not keys or None in keys:
            found.note("succeeded without its pictures", row.id)
        if messages and len(pictures_of(messages[0])) != len(keys):
            found.note("shown with other pictures than it has", row.id)
    elif keys:
        found.note("pictures of a job that did not succeed", row.id)


def _described(raw: dict[str, Any]) -> str:
    """Say which message this is, and how it came about."""
    how = "an answer" if "interaction_metadata" in raw else f"a post with the nonce {raw.get('nonce')}"
    edited = "" if raw["edited_timestamp"] is None else f", edited {raw['edited_timestamp']}"
    return f"{raw['id']} in {raw['channel_id']} ({how}, {raw['timestamp']}{edited})"


def _paid(found: Findings, rows: Mapping[str, Any], booked: list[Any]) -> None:
    """Each job is paid once and ends in one settlement or one refund of all of it, counted without the books' help."""
    entries = defaultdict(list)
    for entry in booked:
        entries[entry.job_id].append(entry)
    for row in rows.values():
        kinds = Counter(entry.kind for entry in entries[row.id])
        taken = -sum(entry.amount for entry in entries[row.id])
        if taken != (row.cost if row.state == "succeeded" else 0):
            found.note("charged wrongly", f"{row.id} {row.state} costs {row.cost}, taken {taken}")
        if row.cost and (kinds["settle"], bool(kinds["refund"])) not in ((1, False), (0, True)):
            found.note("settled or refunded other than once", f"{row.id} {dict(kinds)}")
        found.counts["credits charged, in thousandths"] += taken


def _files(found: Findings, named: set[str], there: set[str]) -> None:
    for key in sorted(named - there):
        found.note("pictures that are not in the store", key)
    for key in sorted(there - named):
        found.note("files that nothing refers to", key)


def _nothing_waits(found: Findings, watch: Watch) -> None:
    for message in watch.messages():
        if message.is_loading:
            # Discord itself says after a quarter of an hour that nothing came of it.
            found.counts["orders whose bot died before there was a job"] += 1
        if not is_waiting(message):
            continue
        if message.ephemeral_for is None:
            found.note("messages that wait for ever", f"{message.id} of job {job_on(message.raw)}")
        else:
            # Discord lets nobody edit a private answer whose token has expired; the result went by direct message.
            found.counts["private answers that no longer can be edited"] += 1


async def _sweep(db: Database, settings: Settings, store: PictureStore) -> None:
    """Do the cleaning that is done once a file is old enough, as it will be in two days."""
    today, db.clock = db.clock, lambda: time.time() + 2 * DAY
    try:
        for chore in chores(db, job_queue(settings, db), store):
            if chore.name in CLEANING:
                while await chore.work():
                    pass
    finally:
        db.clock = today
