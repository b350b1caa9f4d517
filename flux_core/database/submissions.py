"""Accepting a job and taking one back: rules, quota, turn and queue, all together or not at all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from flux_core.database import jobs, ledger, locks, members, queueing, reviews, turns
from flux_core.database.admission import Offered, units_for, venue_for
from flux_core.database.ledger import Payment
from flux_core.database.rejoining import rejoin
from flux_core.database.standing import Standing, roles_text, standing
from flux_core.errors import FluxError, MemberError, PoolSpent, QuotaSpent
from flux_core.fairness import Turn, change_hands, move_up, next_turn
from flux_core.generation import GenerationRequest
from flux_core.jobs import (
    NOWHERE,
    SHELL_ACCOUNT,
    Account,
    Job,
    JobState,
    Lane,
    Origin,
    ReplyTo,
    VenueKind,
    Whereabouts,
    new_job_id,
)
from flux_core.moderation.prompts import Judgement
from flux_core.policy import house_rules
from flux_core.policy.guild import GuildPolicy, Renewal
from flux_core.policy.permitted import permitted_to
from flux_core.quota import QuotaRules, allow_waiting, payment

RELAXED = "relaxed"
"""The purse of jobs that cost nothing: it has nothing in it, and nothing is taken from it."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    """How a job would be accepted."""

    venue: VenueKind
    lane: Lane
    cost: int
    payment: Payment
    judgement: Judgement | None
    units: float
    """The work in it, in the mode that it will be drawn in."""


def _accept(
    connection: Connection,
    known: Standing,
    account: Account,
    request: GenerationRequest,
    origin: Origin,
    where: Whereabouts,
    price: int,
    offered: Offered,
    now: float,
) -> _Accepted:
    house_rules.allow_member(known.banned, known.paused)
    judgement = None
    if account != SHELL_ACCOUNT:
        house_rules.allow_channel(known.policy, where)
        house_rules.allow_request(permitted_to(known.entitlement, known.policy), request, offered.models)
        judgement = house_rules.judge_prompt(known.policy, request, where)
    venue = venue_for(connection, request, origin, known.policy, offered, now)
    house_rules.allow_pace(known.policy, known.last_order, now)
    allow_waiting(known.waiting, known.entitlement.max_waiting)
    lane = Lane.FAST
    try:
        shares = _shares(known, price)
    except MemberError:
        if not known.policy.relaxed:
            raise
        if venue == "hosted" and not _ours(connection, request, origin, known.policy, offered, now):
            raise
        # Where nobody is paid nobody may cost money.
        lane, venue, shares = Lane.RELAXED, "local", {RELAXED: 0}
    return _Accepted(
        venue=venue,
        lane=lane,
        cost=0 if lane is Lane.RELAXED else price,
        payment=Payment(
            shares=shares,
            allowance=known.period.purse,
            topped_up=0 if lane is Lane.RELAXED else known.topped_up,
            pool=None if known.pool is None else known.pool.purse,
        ),
        judgement=judgement,
        units=units_for(connection, request, venue, offered, now),
    )


def _ours(
    connection: Connection,
    request: GenerationRequest,
    origin: Origin,
    decided: GuildPolicy,
    offered: Offered,
    now: float,
) -> bool:
    """Say whether our own cards draw ``request``, where the community prefers hosted providers and none was named."""
    if request.provider is not None:
        return False
    at_home = (decided.routing or offered.policy).model_copy(update={"first": "local"})
    decided = decided.model_copy(update={"routing": at_home})
    return venue_for(connection, request, origin, decided, offered, now) != "hosted"


def _shares(known: Standing, price: int) -> dict[str, int]:
    """Return from which purses ``price`` is paid; raises QuotaSpent, or PoolSpent where only the pool is in the way."""
    renews_at = known.period.renews_at or known.rolling_back_at
    try:
        return payment(price, known.purses, renews_at)
    except QuotaSpent as error:
        own = known.entitlement.allowance - known.spent
        granted = sum(max(purse.left, 0) for purse in known.purses[1:])
        if known.pool is None or price > max(own, 0) + granted:
            raise
        raise PoolSpent(cost=price, left=error.facts["left"], renews_at=known.pool.renews_at) from None


def check(
    connection: Connection,
    account: Account,
    request: GenerationRequest,
    origin: Origin,
    where: Whereabouts,
    price: int,
    rules: QuotaRules,
    offered: Offered,
    now: float,
) -> None:
    """Raise what ``submit`` would raise for a job of this price now."""
    known = standing(connection, account, where.role_ids, rules, now)
    _accept(connection, known, account, request, origin, where, price, offered, now)


@locks.in_a_message
def submit(
    connection: Connection, submission: Submission, price: int, rules: QuotaRules, offered: Offered, now: float
) -> Job:
    """Reserve what a job of this price costs, and queue it in its turn.

    Raises the MemberError that says why not; then nothing has changed.
    """
    account, request, where = submission.account, submission.request, submission.where
    if locks.unneeded(connection):
        known = standing(connection, account, where.role_ids, rules, now, submission.key, before_locks=True)
        if known.shares_with_guild or (known.was_limited and known.entitlement.max_running is None):
            raise locks.Contended
    else:
        locks.account(connection, account)
        known = standing(connection, account, where.role_ids, rules, now, submission.key)
        if known.shares_with_guild and locks.guild(connection, account.guild_id):
            known = standing(connection, account, where.role_ids, rules, now, submission.key)
    if known.submitted is not None and (submitted := jobs.find(connection, known.submitted)):
        return submitted
    accepted = _accept(connection, known, account, request, submission.origin, where, price, offered, now)
    lane, said = accepted.lane, accepted.judgement
    to_approve = said is not None and said.action == "approve"
    if to_approve and known.seen is not None:
        raise locks.Contended
    turn = next_turn(known.virtual_time[lane], known.last_finish[lane], price, known.entitlement.weight)
    reply = submission.reply_to
    if reply is not None and said is not None and said.veiled:
        reply = replace(reply, spoiler=True)
    job = Job(
        id=new_job_id(),
        account=account,
        request=request,
        origin=submission.origin,
        cost=accepted.cost,
        price=price,
        lane=lane,
        created_at=now,
        parent_id=submission.parent_id,
        parent_position=submission.parent_position,
        reply_to=reply,
        start_tag=turn.start,
        finish_tag=turn.finish,
        venue=accepted.venue,
        units=accepted.units,
        held="approval" if to_approve else None,
        age_restricted=submission.where.age_restricted,
        notify=submission.notify,
    )
    if not known.guild_known:
        turns.enter(connection, account.guild_id)
    queueing.enqueue(
        connection,
        job,
        submission.key,
        accepted.payment,
        known=known.known,
        most_running=known.entitlement.max_running,
        roles=roles_text(submission.where.role_ids),
        seen=known.seen,
    )
    if known.was_limited and known.entitlement.max_running is None:
        jobs.release_held(connection, account)
        for any_lane in Lane:
            rejoin(connection, account, any_lane)
        job = jobs.find(connection, job.id) or job
    if job.held is not None and said is not None:
        reviews.open_approval(connection, job, said.said, now)
    return job


def withdraw(connection: Connection, job: Job, now: float) -> Job:
    """Cancel a waiting job: its cost goes back, and the account's later jobs take over its turn."""
    return _end_waiting(connection, job, JobState.CANCELLED, now)


def turn_down(connection: Connection, job: Job, error: FluxError, now: float) -> Job:
    """End a waiting job as refused with ``error``, otherwise as ``withdraw``."""
    return _end_waiting(connection, job, JobState.REFUSED, now, error)


def approve(connection: Connection, job: Job) -> bool:
    """Let a job go on that waited for a moderator; False when it does not wait for one any more."""
    approved = jobs.approve(connection, job.id)
    if approved:
        rejoin(connection, job.account, job.lane)
    return approved


def _end_waiting(connection: Connection, job: Job, state: JobState, now: float, error: FluxError | None = None) -> Job:
    ended = jobs.end_queued(connection, job.id, state, now, error)
    if ended is None:
        return job
    ledger.refund(connection, job, now, state.value if error is None else error.code)
    gone = Turn(job.start_tag, job.finish_tag)
    rows = [row for row in jobs.waiting_since(connection, job.account, job.lane, gone.start) if row.id != job.id]
    later = [Turn(row.start_tag, row.finish_tag) for row in rows]
    moved = move_up(gone, later)
    _retag(connection, [row.id for row in rows], later, moved)
    last = later[-1].finish if later else gone.finish
    end = moved[-1].finish if moved else gone.start
    members.take_back_turn(connection, job.account, job.lane, last, end)
    return ended


def _retag(connection: Connection, ids: list[str], before: list[Turn], after: list[Turn]) -> None:
    for id, old, new in zip(ids, before, after, strict=True):
        if old != new:
            jobs.retag(connection, id, new.start, new.finish)


def move_to_front(connection: Connection, job: Job) -> bool:
    """Let a waiting job be the first of its account's own; False when it is already.

    Nobody else waits longer: the account's turns stay where they are, and only change hands.
    """
    rows = jobs.waiting_since(connection, job.account, job.lane, float("-inf"))
    ids = [row.id for row in rows]
    place = ids.index(job.id)
    if place == 0:
        return False
    turns_now = [Turn(row.start_tag, row.finish_tag) for row in rows[: place + 1]]
    order = [place, *range(place)]
    _retag(
        connection,
        [ids[one] for one in order],
        [turns_now[one] for one in order],
        change_hands(turns_now, order),
    )
    # The turn of a job that waits for a moderator may be long past: it is nobody's to take over.
    rejoin(connection, job.account, job.lane)
    return True


def quota_of(
    connection: Connection, account: Account, role_ids: Collection[int], rules: QuotaRules, now: float
) -> Quota:
    """Return what an account may still spend, as a member with these roles."""
    known = standing(connection, account, role_ids, rules, now)
    granted = [purse for purse in known.purses[1:] if purse.left > 0]
    return Quota(
        allowance=known.entitlement.allowance,
        renewal=known.entitlement.renewal,
        spent=known.spent,
        granted=sum(purse.left for purse in granted),
        expiring=tuple((purse.left, purse.ends_at) for purse in granted if purse.ends_at is not None),
        left=sum(max(purse.left, 0) for purse in known.purses),
        renews_at=known.period.renews_at or known.rolling_back_at,
        pool_left=known.pool_left,
        relaxed=known.policy.relaxed,
        ready_at=house_rules.cooled_down_at(known.policy, known.last_order, now),
        waiting=known.waiting,
        max_waiting=known.entitlement.max_waiting,
        running=known.running,
        max_running=known.entitlement.max_running,
        weight=known.entitlement.weight,
        tiers=tuple(tier.name for tier in known.policy.tiers if tier.role_id in role_ids),
    )
