"""What has to be true of every job, worker and guild, kept in plain Python beside the database."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from flux_core.jobs import Account, Job, JobState
from flux_core.router import LOCAL
from tests.database.life.books import Books, Rules
from tests.database.life.ground import HOSTED, KEPT, LEASE, VENDORS

DAY = 86_400.0
RUNNING, QUEUED, SUCCEEDED = JobState.RUNNING, JobState.QUEUED, JobState.SUCCEEDED
FAILED, CANCELLED, REFUSED = JobState.FAILED, JobState.CANCELLED, JobState.REFUSED
ABOUT = "about to order"
"""What is written down before a hosted provider is asked for anything."""


@dataclass(frozen=True)
class Delivery:
    """Who hands the answer over, and until when."""

    owner: str
    until: float


@dataclass
class Known:
    """One job."""

    id: str
    account: Account
    key: str
    model: str
    count: int
    asked: str | None
    """The provider that its member named."""
    price: int
    relaxed: bool
    venue: str
    created_at: float
    held: bool
    """For a moderator."""
    answered: bool
    """Whether somebody waits for the answer in a channel."""
    state: JobState = QUEUED
    worker: str | None = None
    lease_until: float | None = None
    ran: bool = False
    """Whether it was claimed before."""
    attempts: int = 0
    cancel: bool = False
    provider: str | None = None
    told: str | None = None
    """What is known of the order at a hosted provider."""
    tried: tuple[str, ...] = ()
    ended_at: float | None = None
    error: str | None = None
    delivered: bool = False
    given_up: bool = False
    delivery: Delivery | None = None
    kept: str = "all"
    pictures: dict[int, bool] = field(default_factory=dict)
    """Position → whether the picture is still there."""
    preview: str | None = None

    @property
    def bound(self) -> bool:
        """Whether a hosted provider was told of it: that one alone may go on."""
        return self.told is not None and self.provider != LOCAL

    @property
    def awaited(self) -> bool:
        """Whether it is in the outbox."""
        return self.answered and not self.delivered and not self.given_up


class Model:
    """Everybody and everything."""

    def __init__(self) -> None:
        self.jobs: dict[str, Known] = {}
        self.books = Books()
        self.rules: dict[int, Rules] = defaultdict(Rules)
        self.approves: set[int] = set()
        """Guilds whose moderators look at wild prompts first."""
        self.paused: dict[int, bool] = {}
        """Guild → whether it drains."""
        self.most_running: dict[Account, int | None] = {}
        """As it was when the account ordered last."""
        self.alive: dict[str, float] = {}
        """Worker → when it was heard of last."""
        self.orders: dict[str, list[str]] = defaultdict(list)
        """What hosted providers were asked to draw, and have not told that they will not: job → providers."""
        self.missing: dict[str, float] = {}
        """Provider with orders and without a worker → since when maintenance knows."""

    def of(self, *states: JobState) -> list[Known]:
        """Return the jobs in these states, the oldest first."""
        return [job for job in self.jobs.values() if job.state in states]

    def in_hand(self, account: Account) -> int:
        """Return how many jobs of an account run."""
        return sum(job.account == account for job in self.of(RUNNING))

    # Who may claim

    def holds(self, guild_id: int) -> bool:
        """Say whether what waits in a guild is held."""
        return self.paused.get(guild_id) is False

    def may_be_claimed(self, job: Known) -> bool:
        """Say whether a job waits and nothing holds it in its guild."""
        if job.state is not QUEUED or job.held or self.holds(job.account.guild_id):
            return False
        most = self.most_running.get(job.account)
        return most is None or self.in_hand(job.account) < most

    def for_cards(self, job: Known) -> bool:
        """Say whether our own cards may claim it now."""
        ours = job.venue != "hosted" and LOCAL not in job.tried and not job.bound
        return ours and self.may_be_claimed(job)

    def for_hosted(self, job: Known) -> bool:
        """Say whether a hosted provider may claim it now, if not which."""
        theirs = job.bound or (job.venue != "local" and job.told is None)
        return theirs and self.may_be_claimed(job)

    def for_vendor(self, job: Known, vendor: str) -> bool:
        """Say whether this one may."""
        if not self.for_hosted(job):
            return False
        return job.provider == vendor if job.bound else job.asked in (None, vendor) and vendor not in job.tried

    def is_alive(self, worker: str, now: float) -> bool:
        """Say whether a worker counts as alive."""
        return worker in self.alive and self.alive[worker] >= now - LEASE

    # What happens to a job

    def submitted(self, job: Job, key: str, *, approve: bool, now: float) -> None:
        """Note a new job."""
        rules = self.rules[job.account.guild_id]
        self.jobs[job.id] = Known(
            id=job.id,
            account=job.account,
            key=key,
            model=job.request.model,
            count=job.request.count,
            asked=None if job.request.provider == LOCAL else job.request.provider,
            price=job.price,
            relaxed=bool(job.lane),
            venue=job.venue,
            created_at=now,
            held=approve,
            answered=job.reply_to is not None,
        )
        self.most_running[job.account] = rules.most_running
        self.books.order(job.id, job.account, job.price, rules, now, relaxed=bool(job.lane))

    def claimed(self, job: Known, worker: str, provider: str | None, now: float) -> None:
        """Note that a worker has it."""
        job.state, job.worker, job.lease_until = RUNNING, worker, now + LEASE
        job.attempts, job.ran = job.attempts + 1, True
        if provider is not None:
            job.provider = provider

    def requeued(self, job: Known, *, counted: bool) -> None:
        """Note that it waits again."""
        job.state, job.worker, job.lease_until = QUEUED, None, None
        if not counted:
            job.attempts -= 1
        if job.told is None:
            job.provider = None

    def ended(self, job: Known, state: JobState, now: float, error: str | None = None) -> None:
        """Note its end without pictures."""
        self._close(job, state, now, error)
        self.books.refund(job.id, now)

    def succeeded(self, job: Known, provider: str, missing: int, now: float) -> None:
        """Note its end with pictures."""
        self._close(job, SUCCEEDED, now, None)
        job.provider = provider
        job.pictures = dict.fromkeys(range(job.count - missing), True)
        if missing:
            self.books.settle_partly(job.id, missing, job.count, now)
        else:
            self.books.settle(job.id)

    def _close(self, job: Known, state: JobState, now: float, error: str | None) -> None:
        job.state, job.lease_until, job.ended_at, job.error = state, None, now, error

    def cancelled(self, job: Known, now: float) -> None:
        """Note that somebody wants it stopped."""
        if job.state is QUEUED:
            self.ended(job, CANCELLED, now)
        else:
            job.cancel = True

    def broke(self, job: Known, now: float, most: int, code: str, *, retryable: bool) -> None:
        """Note an attempt that failed."""
        if retryable and job.cancel:
            self.ended(job, CANCELLED, now)
        elif retryable and job.attempts < most:
            self.requeued(job, counted=True)
        else:
            self.ended(job, FAILED, now, code)

    def handed_back(self, job: Known, now: float) -> None:
        """Note that a worker gave it back before it had drawn it."""
        if job.cancel:
            self.ended(job, CANCELLED, now)
        else:
            self.requeued(job, counted=False)

    def rescued(self, now: float, most: int) -> list[str]:
        """Note that the jobs with expired leases were taken from their workers; return them."""
        lost = [job for job in self.of(RUNNING) if (job.lease_until or 0.0) <= now]
        for job in lost:
            if job.cancel:
                self.ended(job, CANCELLED, now)
            elif job.attempts >= most:
                self.ended(job, FAILED, now, "worker_lost")
            else:
                self.requeued(job, counted=True)
        return [job.id for job in lost]

    def expired(self, worker: str, now: float) -> None:
        """Note that a worker is new, or gone: what it had is due for rescue."""
        for job in self.of(RUNNING):
            if job.worker == worker:
                job.lease_until = now

    def abandoned(self, now: float, patience: float) -> list[str]:
        """Note that jobs were given up whose provider is gone; return them."""
        waited_for = {job.provider for job in self.of(QUEUED) if job.bound}
        there = {HOSTED[worker] for worker in HOSTED if self.is_alive(worker, now)}
        self.missing = {name: self.missing.get(name, now) for name in VENDORS if name in waited_for - there}
        gone = {name for name, since in self.missing.items() if now - since >= patience}
        found = [job for job in self.of(QUEUED) if job.bound and job.provider in gone]
        for job in found:
            self.ended(job, FAILED, now, "outcome_unknown")
        return [job.id for job in found]

    # What is let go of

    def old(self, job: Known, days: int, now: float) -> bool:
        """Say whether a job ended so long ago, and nobody waits for its answer."""
        return job.ended_at is not None and job.ended_at < now - days * DAY and not job.awaited

    def pictures_dropped(self, now: float) -> list[str]:
        """Note that old pictures are let go of; return of which jobs."""
        due = [job for job in self.jobs.values() if job.kept == "all" and self.old(job, KEPT.pictures_days, now)]
        for job in due:
            job.kept = "words"
            job.pictures = dict.fromkeys(job.pictures, False)
        return [job.id for job in due]

    def forgotten(self, job: Known) -> None:
        """Note that nothing is known of a job any more but numbers."""
        job.kept, job.pictures, job.preview = "nothing", {}, None
        job.answered = job.given_up = False

    def jobs_forgotten(self, now: float) -> list[str]:
        """Note that old jobs are forgotten; return them."""
        due = [job for job in self.jobs.values() if job.kept != "nothing" and self.old(job, KEPT.jobs_days, now)]
        for job in due:
            self.forgotten(job)
        return [job.id for job in due]
