"""A simulated day: what members are told at submit is compared with how long it really took.

The queue, the turns and the estimates are the real ones; time is the tests' clock, and whoever draws is simulated. Two
machines of different and uneven speed draw for two communities, in which members order now and then, some in bursts, a
patron with twice the weight, and change their minds; one community's queue is paused over tea.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flux_core.database import members
from flux_core.database.queue import JobQueue
from flux_core.errors import FluxError
from flux_core.jobs import Account, Job, JobState
from flux_core.policy.guild import Limits
from flux_core.router import LOCAL
from tests.database.scene import SCHNELL, TINY, Scene, a_request, a_scene, pictures

HOUR = 3600.0
DAY = 24 * HOUR
PATRON = Account(7, 1)
MEDIAN_ERROR = 0.25
"""The most that half of the estimates may be off by, as a part of what it really took."""

SECONDS = {SCHNELL: (10.0, 30.0), TINY: (4.0, 16.0)}
"""What a job takes: fixed, and for each megapixel-step."""
MACHINES = {"garage": 0.9, "attic": 1.15}
"""How many times that each machine needs."""
UNEVEN = 0.12
"""The spread of what equal jobs take (the sigma of a log-normal factor)."""


@dataclass
class Hands:
    """A machine that draws one job after another."""

    name: str
    pace: float
    job: Job | None = None
    began: float = 0.0
    takes: float = 0.0


@dataclass
class Day:
    """What happens, in the order of time."""

    scene: Scene
    chance: random.Random
    machines: list[Hands] = field(default_factory=list)
    agenda: list[tuple[float, int, Callable[[], Coroutine[Any, Any, None]]]] = field(default_factory=list)
    told: dict[str, float] = field(default_factory=dict)
    """Job → seconds, as its member was told at once."""
    waited: dict[str, float] = field(default_factory=dict)
    """Job → seconds it really took until it was drawn."""
    behind: int = 0
    """Jobs that had others before them."""
    refused: int = 0
    number: int = 0

    @property
    def queue(self) -> JobQueue:
        return self.scene.queue

    def at(self, when: float, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.number += 1
        heapq.heappush(self.agenda, (when, self.number, what))

    async def live(self) -> None:
        """Go through the day."""
        while self.agenda:
            self.scene.clock.now, _, happens = heapq.heappop(self.agenda)
            await happens()
            await self.go_on_drawing()

    async def order(self, account: Account, model: str, count: int) -> None:
        """Have a member order pictures and read how long it will take."""
        await self.give_signs_of_life()
        try:
            job = await self.scene.submit(account, request=a_request(model, count=count))
        except FluxError:
            self.refused += 1
            return
        place = await self.scene.studio.place(job.id)
        assert place.seconds is not None
        self.told[job.id] = place.seconds
        self.behind += place.position > 1
        if self.chance.random() < 0.07:
            self.at(self.scene.clock.now + self.chance.uniform(1, 120), lambda: self.cancel(job))

    async def cancel(self, job: Job) -> None:
        """Have a member change their mind, if it is not too late."""
        if (await self.scene.studio.job(job.id)).state is JobState.QUEUED:
            await self.scene.studio.cancel(job.id, by=job.account.user_id, moderator=False)

    async def give_signs_of_life(self) -> None:
        """Have the machines tell how far they are, as they do while they draw."""
        for machine in self.machines:
            await self.queue.beat(machine.name)
            if machine.job is not None:
                done = int((self.scene.clock.now - machine.began) / machine.takes * machine.job.request.steps)
                await self.queue.progress(machine.name, machine.job.id, done, machine.job.request.steps)

    async def go_on_drawing(self) -> None:
        """Let whoever is free claim the next job."""
        for machine in self.machines:
            if machine.job is None:
                machine.job = await self.queue.claim(machine.name, list(SECONDS))
                if machine.job is not None:
                    fixed, each = SECONDS[machine.job.request.model]
                    usual = fixed + each * machine.job.request.megapixel_steps
                    machine.began = self.scene.clock.now
                    machine.takes = usual * machine.pace * self.chance.lognormvariate(0, UNEVEN)
                    self.at(machine.began + machine.takes, lambda machine=machine: self.finish(machine))  # type: ignore[misc]

    async def finish(self, machine: Hands) -> None:
        """Hand a drawing in."""
        job, machine.job = machine.job, None
        assert job is not None
        await self.queue.succeed(machine.name, job.id, pictures(job), provider=LOCAL, seconds=machine.takes)
        await self.queue.record_speed(LOCAL, job.request.model, job.request.megapixel_steps, machine.takes)
        self.waited[job.id] = self.scene.clock.now - job.created_at


def plan(day: Day) -> None:
    """Write down when everybody orders what."""
    chance, dawn = day.chance, day.scene.clock.now
    for guild, size in ((7, 15), (8, 5)):
        for user in range(size):
            account, flood = Account(guild, user), user == 0
            for _ in range(3 if flood else 9):
                # Most of it in the evening.
                when = dawn + min(chance.triangular(6, 24, 19), 23.9) * HOUR
                model = SCHNELL if chance.random() < 0.7 else TINY
                for number in range(8 if flood else chance.choice([1, 1, 2, 3])):
                    count = chance.choice([1, 1, 2, 4])
                    day.at(
                        when + number * chance.uniform(2, 20),
                        lambda account=account, model=model, count=count: day.order(account, model, count),  # type: ignore[misc]
                    )
    studio = day.scene.studio
    day.at(dawn + 17 * HOUR, lambda: studio.line.pause(8, by=1, reason="tea"))
    day.at(dawn + 18 * HOUR, lambda: studio.line.resume(8, by=1))


async def test_half_of_the_estimates_are_less_than_a_quarter_off(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, allowance=10**12, max_waiting=10) as scene:
        scene.queue.lease_seconds = DAY
        day = Day(scene, random.Random(20261121))
        for name, pace in MACHINES.items():
            await scene.worker(name, *SECONDS)
            day.machines.append(Hands(name, pace))
        # What was measured the day before.
        for model, (fixed, each) in SECONDS.items():
            for units in (2, 4, 8):
                await scene.queue.record_speed(LOCAL, model, units, fixed + each * units)
        await scene.db.write(members.put_limits, PATRON, Limits(weight=2))
        plan(day)
        await day.live()

    errors = [abs(day.told[job] - waited) / waited for job, waited in day.waited.items()]
    assert len(errors) > 300
    assert day.behind > 80
    assert len(day.waited) < len(day.told), "some changed their minds"
    assert day.refused > 0, "the queue was paused"
    assert statistics.median(errors) < MEDIAN_ERROR
