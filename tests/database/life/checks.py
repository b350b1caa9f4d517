"""What is held to be true after every step: the rows of the database beside the model."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

from flux_core.jobs import Account
from tests.database.life.model import Known, Model
from tests.database.life.snapshot import Snapshot

MAY_BECOME = {
    "queued": {"queued", "running", "cancelled", "failed", "refused"},
    "running": {"running", "queued", "succeeded", "failed", "cancelled", "refused"},
}
"""Whatever is not named here stays what it is."""


def check(model: Model, before: Snapshot, after: Snapshot) -> None:
    """Raise AssertionError for the first thing that is not as it should be."""
    jobs_are_as_they_should_be(model, after)
    states_follow_one_another(before, after)
    the_ledger_is_what_happened(model, before, after)
    whoever_may_claim_finds_it(model, after)
    the_outbox_has_what_was_not_handed_over(model, after)
    pictures_are_where_they_belong(model, after)
    turns_are_in_order(model, before, after)
    every_turn_is_charged(before, after)
    assert after.pauses == model.paused
    assert after.discrepancies == []


def jobs_are_as_they_should_be(model: Model, seen: Snapshot) -> None:
    """States, owners, leases, attempts and all that one step may change in a job."""
    assert set(seen.jobs) == set(model.jobs)
    for number, job in enumerate(model.jobs.values()):
        row = seen.jobs[job.id]
        expected = {
            "state": job.state.value,
            "lease_until": job.lease_until,
            "attempts": job.attempts,
            "cancel_requested": job.cancel,
            "ended_at": job.ended_at,
            "error_code": job.error,
            "provider_job_id": None if job.kept == "nothing" else job.told,
            "tried": list(job.tried),
            "kept": job.kept,
            "held": "approval" if job.held else None,
            "cost": 0 if job.relaxed else job.price,
            "delivered": job.delivered,
            "given_up": job.given_up,
            "delivery": (None, None) if job.delivery is None else (job.delivery.owner, job.delivery.until),
            "venue": job.venue,
            "preview": job.preview,
        }
        if job.ended_at is None:
            expected |= {"worker": job.worker, "provider": job.provider}
        told = (
            _told(row) if job.ended_at is not None else _told(row) | {"worker": row.worker_id, "provider": row.provider}
        )
        assert told == expected, f"job {number}"
        assert (row.state == "running") == (row.lease_until is not None), f"job {number}: a lease for whoever runs"


def _told(row: Any) -> dict[str, Any]:
    same = ("state", "lease_until", "attempts", "cancel_requested", "ended_at", "error_code", "provider_job_id")
    return {name: getattr(row, name) for name in (*same, "kept", "held", "cost", "venue")} | {
        "tried": json.loads(row.tried or "[]"),
        "delivered": row.delivered_at is not None,
        "given_up": row.undeliverable_at is not None,
        "delivery": (row.delivery_owner, row.delivery_until),
        "preview": row.preview_key,
    }


def states_follow_one_another(before: Snapshot, after: Snapshot) -> None:
    """What has ended stays as it ended."""
    for id, row in before.jobs.items():
        was, now = row.state, after.jobs[id].state
        assert now in MAY_BECOME.get(was, {was}), f"{was} became {now}"


def the_ledger_is_what_happened(model: Model, before: Snapshot, after: Snapshot) -> None:
    """No row changes, and the rows are those of the model: each job paid once, and closed once when it has ended."""
    assert after.ledger[: len(before.ledger)] == before.ledger, "the ledger is append-only"
    booked: dict[Any, int] = defaultdict(int)
    for row in after.ledger:
        booked[Account(row.guild_id, row.user_id), row.purse, row.kind, row.job_id, row.part] += row.amount
    assert dict(booked) == dict(model.books.rows)
    closed = [(row.job_id, row.part) for row in after.ledger if row.kind in ("settle", "refund")]
    assert len(closed) == len(set(closed)), "settled or given back twice"


def whoever_may_claim_finds_it(model: Model, seen: Snapshot) -> None:
    """The columns that claims look for hold exactly what waits and is not held."""
    for number, job in enumerate(model.jobs.values()):
        row = seen.jobs[job.id]
        assert row.waits_for == (job.model if model.for_cards(job) else None), f"job {number}, for our own cards"
        assert row.waits_hosted == (job.model if model.for_hosted(job) else None), f"job {number}, for hosted providers"


def the_outbox_has_what_was_not_handed_over(model: Model, seen: Snapshot) -> None:
    """Nothing that ended is missing there, and nothing is there twice or after it was handed over."""
    assert seen.outbox == [job.id for job in model.jobs.values() if job.ended_at is not None and job.awaited]


def pictures_are_where_they_belong(model: Model, seen: Snapshot) -> None:
    """Jobs that succeeded have theirs until they are let go of; nothing that is needed is to be deleted."""
    found: dict[str, dict[int, bool]] = {id: {} for id in model.jobs}
    for (id, position), key in seen.pictures.items():
        found[id][position] = key is not None
    assert found == {job.id: job.pictures for job in model.jobs.values()}
    needed = {key for key in seen.pictures.values() if key} | {job.preview for job in model.jobs.values()}
    assert not needed & seen.discarded


def turns_are_in_order(model: Model, before: Snapshot, after: Snapshot) -> None:
    """Time goes forward, and the turns of one member follow one another.

    A job that was claimed before comes back where it stood, whatever its member has moved meanwhile.
    """
    assert after.now >= before.now
    for guild, row in before.guilds.items():
        later = after.guilds[guild]
        assert (later.finish, later.fast, later.relaxed) >= (row.finish, row.fast, row.relaxed)
        assert later.fast >= row.fast
        assert later.relaxed >= row.relaxed
    lines: dict[Any, list[Any]] = defaultdict(list)
    for row in after.jobs.values():
        if row.state == "queued" and row.held is None and not model.jobs[row.id].ran:
            lines[row.guild_id, row.user_id, row.lane].append(row)
    for line in lines.values():
        for first, second in pairwise(sorted(line, key=lambda row: (row.start_tag, row.id))):
            assert first.finish_tag <= second.start_tag * (1 + 1e-9) + 1e-6, "one member's turns overlap"


def every_turn_is_charged(before: Snapshot, after: Snapshot) -> None:
    """A guild whose jobs were claimed has its next turn later by what they take: without that it would never end.

    What a provider has been asked for already took its turn then.
    """
    taken: dict[int, int] = defaultdict(int)
    for id, row in before.jobs.items():
        if row.state == "queued" and after.jobs[id].state == "running" and row.provider_job_id is None:
            taken[row.guild_id] += max(row.price, 1)
    for guild, price in taken.items():
        since = max(before.guilds[guild].finish, before.now)
        assert after.guilds[guild].finish >= (since + price) * (1 - 1e-9), "a turn that cost nothing"
    for guild in before.guilds.keys() - taken.keys():
        assert after.guilds[guild].finish == before.guilds[guild].finish, "charged for nothing"


def first_for_cards(model: Model, seen: Snapshot, models: list[str]) -> Known | None:
    """Return the job whose turn it is among ``models``: by lane, then guild by guild, then in the guild's order."""
    able = [job for job in model.jobs.values() if model.for_cards(job) and job.model in models]
    if not able or model.paused.get(-1) is False:
        return None

    def turn(job: Known) -> tuple[Any, ...]:
        row, guild = seen.jobs[job.id], seen.guilds[job.account.guild_id]
        return (job.relaxed, guild.finish, guild.guild_id, row.start_tag, job.id)

    return min(able, key=turn)
