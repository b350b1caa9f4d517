"""Accepting a job and taking one back: quota, turn and queue change together or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from flux_core.database import jobs, ledger, members
from flux_core.database.admission import Offered, venue_for
from flux_core.database.standing import Standing, standing
from flux_core.errors import QueuePaused
from flux_core.fairness import Turn, move_up, next_turn
from flux_core.generation import GenerationRequest
from flux_core.jobs import NOWHERE, Account, Job, Origin, ReplyTo, Whereabouts, new_job_id
from flux_core.policy import Renewal
from flux_core.quota import GRANTED, Period, Purse, QuotaRules, allow_waiting, payment, period_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a member asks for and where the answer belongs."""

    account: Account
    request: GenerationRequest
    origin: Origin
    reply_to: ReplyTo | None = None
    parent_id: str | None = None
    parent_position: int | None = None
    where: Whereabouts = NOWHERE
    notify: bool = False
    """Whether the member wants a direct message when the pictures are there."""
    key: str | None = None
    """Names this submit, such as an interaction's id: a second submit with it returns the first one's job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What an account may still spend; thousandths of a credit."""

    allowance: int
    """Each ``renewal``."""
    renewal: Renewal
    spent: int
    """Of this period's allowance; of a rolling one, within its window."""
    granted: int
    """Left of what moderators gave, all of it."""
    expiring: tuple[tuple[int, float], ...] = ()
    """The parts of ``granted`` that expire: (thousandths, unix seconds), the soonest first."""
    left: int
    """What a job may cost now."""
    renews_at: float | None
    """Unix seconds; of a rolling allowance when the next part of it comes back, None while nothing is spent."""
    pool_left: int | None = None
    """What all members together may still spend of their allowances; None: there is no pool."""
    relaxed: bool = False
    """Whether jobs are drawn without credits, after everybody else's."""
    ready_at: float | None = None
    """Until when the cooldown lasts; None: it is over."""
    waiting: int
    max_waiting: int
    running: int = 0
    max_running: int | None = None
    weight: float = 1.0
    tiers: tuple[str, ...] = ()
    """Names of the member's tiers."""


def _allowance(known: Standing, rules: QuotaRules) -> int:
    return rules.allowance if known.allowance is None else known.allowance


def _purses(known: Standing, rules: QuotaRules, period: Period) -> list[Purse]:
    # What the day's purse has not received yet arrives with the next job.
    day = known.day + _allowance(known, rules) - known.posted
    return [Purse(period.purse, day, period.renews_at), Purse(GRANTED, known.granted, None)]


def _payment(known: Standing, cost: int, rules: QuotaRules, period: Period) -> dict[str, int]:
    if known.paused is not None:
        raise QueuePaused(reason=known.paused)
    allow_waiting(known.waiting, rules.max_waiting)
    return payment(cost, _purses(known, rules, period), period.renews_at)


def check(
    connection: Connection,
    account: Account,
    request: GenerationRequest,
    origin: Origin,
    cost: int,
    rules: QuotaRules,
    offered: Offered,
    now: float,
) -> None:
    """Raise what ``submit`` would raise for a job of ``cost`` now."""
    venue_for(connection, request, origin, account.guild_id, offered, now)
    period = period_at(now, Renewal(), rules.zone)
    _payment(standing(connection, account, period.purse), cost, rules, period)


def submit(
    connection: Connection, submission: Submission, cost: int, rules: QuotaRules, offered: Offered, now: float
) -> Job:
    """Reserve ``cost`` and queue the job in its turn.

    Raises UnknownProvider, NobodyDraws, QueuePaused, TooManyWaiting or QuotaSpent.
    """
    account, period = submission.account, period_at(now, Renewal(), rules.zone)
    known = standing(connection, account, period.purse, submission.key)
    if known.submitted is not None and (submitted := jobs.find(connection, known.submitted)):
        return submitted
    venue = venue_for(connection, submission.request, submission.origin, account.guild_id, offered, now)
    shares = _payment(known, cost, rules, period)
    turn = next_turn(known.virtual_time, known.last_finish, cost, known.weight)
    job = Job(
        id=new_job_id(),
        account=account,
        request=submission.request,
        origin=submission.origin,
        cost=cost,
        created_at=now,
        parent_id=submission.parent_id,
        parent_position=submission.parent_position,
        reply_to=submission.reply_to,
        start_tag=turn.start,
        finish_tag=turn.finish,
        venue=venue,
    )
    jobs.insert(connection, job, submission.key)
    ledger.reserve(connection, job, shares, period.purse, _allowance(known, rules) - known.posted)
    members.set_turn(connection, account, job.lane, turn.finish, known=known.known, most_running=None, roles=None)
    return job


def withdraw(connection: Connection, job: Job, now: float) -> Job:
    """Cancel a waiting job: its cost goes back, and the account's later jobs take over its turn."""
    cancelled = jobs.cancel_queued(connection, job.id, now)
    if cancelled is None:
        return job
    ledger.refund(connection, job, now, "cancelled")
    gone = Turn(job.start_tag, job.finish_tag)
    rows = jobs.waiting_after(connection, job.account, job.start_tag)
    later = [Turn(row.start_tag, row.finish_tag) for row in rows]
    moved = move_up(gone, later)
    for row, before, after in zip(rows, later, moved, strict=True):
        if before != after:
            jobs.retag(connection, row.id, after.start, after.finish)
    last = later[-1].finish if later else gone.finish
    members.take_back_turn(connection, job.account, job.lane, last, moved[-1].finish if moved else gone.start)
    return cancelled


def quota_of(connection: Connection, account: Account, rules: QuotaRules, now: float) -> Quota:
    """Return what an account may still spend."""
    period = period_at(now, Renewal(), rules.zone)
    known = standing(connection, account, period.purse)
    return Quota(
        allowance=_allowance(known, rules),
        renewal=Renewal(),
        spent=known.posted - known.day,
        granted=known.granted,
        left=sum(max(purse.left, 0) for purse in _purses(known, rules, period)),
        renews_at=period.renews_at,
        waiting=known.waiting,
        max_waiting=rules.max_waiting,
    )
