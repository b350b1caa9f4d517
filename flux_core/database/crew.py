"""Who could draw a job, as things stand: the living workers with what they do now, their speed and their money."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database import lineup, speeds, spending, workers
from flux_core.database.jobs import IS_RUNNING
from flux_core.database.tables import jobs
from flux_core.database.wanted import waited_for
from flux_core.database.workers import WorkerInfo
from flux_core.estimates import Speed, units_of, wait
from flux_core.generation import GenerationRequest
from flux_core.jobs import Account, Job, Origin
from flux_core.offers import Offer
from flux_core.policy.guild import NOTHING_DECIDED, GuildPolicy
from flux_core.router import LOCAL, Errand, Venue
from flux_core.skills import draws, model_of, of_use, skill_for, skills_of

COUNTED = 2_000
"""Waiting jobs of our own cards that a hosted provider's claim counts; whoever stands further behind waits long."""
AWAY = "our own cards are away"

c = jobs.c

_RUNNING = (
    sa.select(c.id, c.worker_id, c.model, c.units, c.steps_done, c.steps_total, c.started_at, c.provider)
    .add_columns(c.guild_id, c.user_id)
    .where(IS_RUNNING)
    .order_by(c.started_at, c.id)
)
Work = Mapping[str, tuple[int, float]]
"""Model or, of our own cards, skill (``flux_core.skills``) → how many jobs, and their megapixel-steps."""


class Crew:
    """One look at everybody who draws."""

    def __init__(self, connection: Connection, alive_since: float, day: str) -> None:
        """Read the workers that gave a sign of life after ``alive_since``, and what was spent on ``day``."""
        self.workers = workers.alive(connection, alive_since)
        self._speeds = speeds.known(connection)
        self._running: dict[str, list[Any]] = defaultdict(list)
        for row in connection.execute(_RUNNING):
            self._running[row.worker_id].append(row)
        limited = any(worker.money_cap is not None for worker in self.workers)
        self._spent = spending.on(connection, day) if limited else {}
        self._connection, self._day = connection, day
        self._ours = [worker for worker in self.workers if not worker.hosted]
        self._hosted: dict[str, list[WorkerInfo]] = {}
        for worker in self.workers:
            if worker.hosted:
                self._hosted.setdefault(worker.provider, []).append(worker)
        self._spent_by_guild: dict[int, int] = {}
        self._rivals: dict[str, frozenset[str]] = {}
        self._busy: dict[str, Sequence[float]] = {}
        self._waited_for: Sequence[str] | None = None

    # Our own cards

    @property
    def local_models(self) -> frozenset[str]:
        """Return the models that our own cards draw."""
        return frozenset(model for worker in self._ours for model in worker.offers)

    @property
    def local_skills(self) -> frozenset[str]:
        """Return what our own cards draw: their models, and those with LoRAs for which a job waits."""
        return frozenset(one for worker in self._ours for one in self._skills_of(worker))

    def _skills_of(self, worker: WorkerInfo) -> list[str]:
        if not any(offer.loras for offer in worker.offers.values()):
            return list(worker.offers)
        if self._waited_for is None:
            self._waited_for = waited_for(self._connection)
        return of_use(skills_of(worker.offers), self._waited_for)

    def able(self, skill: str) -> list[WorkerInfo]:
        """Return our own workers that have ``skill`` and take jobs."""
        return [worker for worker in self._ours if draws(worker.offers, skill) and worker.closed is None]

    def rivals(self, skill: str) -> frozenset[str]:
        """Return the skills that the same workers of ours have."""
        if skill not in self._rivals:
            theirs = (self._skills_of(worker) for worker in self.able(skill))
            self._rivals[skill] = frozenset({skill}.union(*theirs))
        return self._rivals[skill]

    def local_seconds(self, skill: str, units: float, ahead: Work) -> float | None:
        """Return the seconds until our own cards have drawn a job behind ``ahead``; None when that is not known."""
        own, busy, rivals = self.drawing(LOCAL, skill, units), self._busy_with(skill), self.rivals(skill)
        before = total(
            [self.drawing(LOCAL, other, work, count) for other, (count, work) in ahead.items() if other in rivals]
        )
        if not busy or own is None or before is None:
            return None
        return wait(before, busy) + own

    def _busy_with(self, skill: str) -> Sequence[float]:
        """Return for each of our workers that has ``skill`` how long it is busy; nothing when that is not known."""
        if skill not in self._busy:
            able = self.able(skill)
            busy = [total([self.remaining(row) for row in self._running[worker.id]]) for worker in able]
            known = [until for until in busy if until is not None]
            self._busy[skill] = known if len(known) == len(busy) else []
        return self._busy[skill]

    # Hosted providers

    def hosted_seconds(
        self, providers: Collection[str], request: GenerationRequest, count: int, work: float
    ) -> float | None:
        """Return the seconds until one of ``providers`` has drawn ``request`` behind ``count`` others of its model.

        ``work``: the megapixel-steps of those.
        """
        model = request.model
        crew = [
            worker
            for name in sorted(providers)
            for worker in self._hosted.get(name, ())
            if worker.closed is None and self._speed(name, model) is not None
        ]
        if not crew:
            return None
        busy = [self.remaining(row) or 0.0 for worker in crew for row in self._running[worker.id]]
        hands = sum(worker.slots for worker in crew)
        own = min(self.drawing(one.provider, model, self.units(one.provider, request)) or 0.0 for one in crew)
        ahead = min(self.drawing(one.provider, model, work, count) or 0.0 for one in crew)
        return wait(ahead, [*busy[:hands], *[0.0] * (hands - len(busy))]) + own

    # Speeds

    def units(self, provider: str, request: GenerationRequest) -> float:
        """Return the work of ``request`` there, in the mode that those draw it in who live: the mean of theirs."""
        crew = self.able(skill_for(request)) if provider == LOCAL else self._hosted.get(provider, ())
        return units_of(request, [worker.offers for worker in crew])

    def drawing(self, provider: str, skill: str, units: float, count: int = 1) -> float | None:
        """Return the seconds that ``count`` jobs of ``units`` megapixel-steps together take one worker."""
        speed = self._speed(provider, skill)
        return None if speed is None else speed.seconds_for(units, count)

    def _speed(self, provider: str, skill: str) -> Speed | None:
        names = [worker.provider for worker in self.able(skill)] if provider == LOCAL else []
        known = (self._speeds.get((name, model_of(skill))) for name in (provider, *names))
        return next((speed for speed in known if speed is not None), None)

    def remaining(self, row: Any) -> float | None:
        """Return the seconds that a running job still needs."""
        whole = self.drawing(row.provider or LOCAL, row.model, row.units)
        if whole is None:
            return None
        return whole * (1 - min(row.steps_done / row.steps_total, 1.0)) if row.steps_total else whole

    def in_hands(self, worker_id: str | None) -> Sequence[Any]:
        """Return the running jobs of a worker, the first begun first."""
        return self._running[worker_id or ""]

    def running_of(self, account: Account) -> Sequence[Any]:
        """Return the running jobs of an account."""
        running = (row for rows in self._running.values() for row in rows)
        return [row for row in running if Account(row.guild_id, row.user_id) == account]

    # Venues

    def free(self, provider: str) -> int:
        """Return how many jobs a hosted provider could begin at once."""
        crew = [worker for worker in self._hosted.get(provider, ()) if worker.closed is None]
        return sum(max(0, worker.slots - len(self._running[worker.id])) for worker in crew)

    def venues(
        self,
        request: GenerationRequest,
        ahead: Work,
        *,
        expected: bool = False,
        guild_id: int = 0,
        policy: GuildPolicy = NOTHING_DECIDED,
    ) -> list[Venue]:
        """Return who could draw a guild's ``request``, our own cards for those ``ahead`` of it first.

        ``expected``: whether our own cards are one of them even while none of them lives.
        """
        return [
            *self._local(request, ahead, expected),
            *within_budget(self._vendors(request), policy, lambda: self._spent_by(guild_id)),
        ]

    def _spent_by(self, guild_id: int) -> int:
        if guild_id not in self._spent_by_guild:
            self._spent_by_guild[guild_id] = spending.of_guild(self._connection, guild_id, self._day)
        return self._spent_by_guild[guild_id]

    def _local(self, request: GenerationRequest, ahead: Work, expected: bool) -> Iterator[Venue]:
        model, skill = request.model, skill_for(request)
        crew = [worker for worker in self._ours if draws(worker.offers, skill)]
        if not crew and not expected:
            return
        offers = {model: crew[0].offers[model]} if crew else {model: Offer(theirs=model)}
        closed = AWAY if not crew else next((w.closed for w in crew if not self.able(skill)), None)
        hands = sum(max(0, worker.slots - len(self._running[worker.id])) for worker in self.able(skill))
        first = sum(count for other, (count, _) in ahead.items() if other in self.rivals(skill))
        seconds = self.local_seconds(skill, self.units(LOCAL, request), ahead)
        yield Venue(
            provider=LOCAL, hosted=False, offers=offers, closed=closed, free=max(0, hands - first), seconds=seconds
        )

    def _vendors(self, request: GenerationRequest) -> Iterator[Venue]:
        for provider, crew in self._hosted.items():
            caps = [worker.money_cap for worker in crew if worker.money_cap is not None]
            yield Venue(
                provider=provider,
                hosted=True,
                offers=crew[-1].offers,
                closed=None if any(worker.closed is None for worker in crew) else crew[-1].closed,
                free=self.free(provider),
                seconds=self.drawing(provider, request.model, self.units(provider, request)),
                money_left=min(caps) - self._spent.get(provider, 0) if caps else None,
                money_cap=min(caps, default=None),
                links=crew[-1].links,
            )


class Line:
    """The jobs that our own cards draw in their turn, counted as far as somebody has walked along it."""

    def __init__(self, connection: Connection, skills: frozenset[str]) -> None:
        self._passed: dict[str, tuple[int, float]] = {}
        self._rows = lineup.for_us(connection, skills, COUNTED)
        self._place = {row.id: number for number, row in enumerate(self._rows)}
        self._next = 0

    def walk_to(self, job: Any) -> Work:
        """Return the work ahead of a row of ``lineup.for_hosted``; each walk goes on from the last one."""
        end = self._place.get(job.id)
        while self._next < len(self._rows) and (
            self._next < end if end is not None else _stands_before(self._rows[self._next], job)
        ):
            row = self._rows[self._next]
            count, units = self._passed.get(row.waits_for, (0, 0.0))
            self._passed[row.waits_for] = (count + 1, units + row.units)
            self._next += 1
        return self._passed

    def first(self, besides: str, guild_id: int | None = None) -> Any | None:
        """Return the first job in the line other than ``besides``, of one guild when that is given."""
        return next(
            (row for row in self._rows if row.id != besides and guild_id in (None, row.guild_id)),
            None,
        )


def _stands_before(row: Any, job: Any) -> bool:
    return (row.lane, row.turn) < (job.lane, job.turn)


def within_budget(venues: Iterable[Venue], policy: GuildPolicy, spent: Callable[[], int]) -> Iterator[Venue]:
    """Yield hosted ``venues`` with what a guild may pay them today, where it has a cap of its own.

    ``spent`` tells what it has paid today already, in millionths of a dollar.
    """
    if policy.dollars_a_day is None:
        yield from venues
        return
    cap = round(policy.dollars_a_day * 1_000_000)
    left = max(0, cap - spent())
    for venue in venues:
        yield replace(
            venue,
            money_left=left if venue.money_left is None else min(left, venue.money_left),
            money_cap=cap if venue.money_cap is None else min(cap, venue.money_cap),
        )


def is_bound(job: Job) -> bool:
    """Say whether a job was submitted to a hosted provider: that one alone may go on with it."""
    return job.provider_job_id is not None and job.provider != LOCAL


def errand_of(job: Job, *, bound: bool = True, now: float = inf, since: float = 0.0) -> Errand:
    """Return what the router has to know of a job; without its bond, when that is about to end.

    ``since``: when whoever asks began to look. At a start, what waited all night has not waited for our own cards yet.
    What our own cards alone may draw (nobody pays for a relaxed job) is sent nowhere else, as if they were asked for.
    """
    ours_alone = job.venue == "local" and job.request.provider is None
    return Errand(
        request=job.request.model_copy(update={"provider": LOCAL}) if ours_alone else job.request,
        variation=job.origin is Origin.VARIATION,
        waited=now - max(job.created_at, since),
        tried=frozenset(job.tried),
        bound_to=job.provider if bound and is_bound(job) else None,
    )


def total(parts: Sequence[float | None]) -> float | None:
    """Return the sum, or None when one part is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
