"""A process that does at random whatever can be done to credits and turns, for ``test_spending_spree``."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from flux_core.batching import TRIALS, shape_of
from flux_core.errors import DrawingBroken, LeaseLost, MemberError, OutOfMemory, ProviderDown
from flux_core.jobs import Account, Job, Origin, Whereabouts
from flux_core.policy.guild import GuildPolicy, Limits, PromptRule, Renewal, Tier
from flux_core.router import RoutingPolicy
from flux_core.service import Submission
from tests.database.scene import NOON, SCHNELL, Scene, a_request, a_scene, pictures

HOURS_A_SECOND = 6.0
"""Days, weeks and grants come to an end while it goes on."""
LEASE_HOURS = 3.0
GUILDS, USERS, SUPPORTER, ARTIST = (7, 8), 6, 1, 2
ACCOUNTS = [Account(guild, user) for guild in GUILDS for user in range(1, USERS + 1)]
REQUESTS = [*(a_request(count=number) for number in (1, 1, 2, 3)), a_request(prompt="something wild")]
TO_BE_APPROVED = PromptRule(kind="word", pattern="wild", action="approve")
RENEWALS = [
    Renewal(),
    Renewal(at="06:00", zone="Europe/Berlin"),
    Renewal(zone="Asia/Tokyo"),
    Renewal(every="week"),
    Renewal(every="month", at="23:59"),
    Renewal(every="rolling", hours=12),
]


def clock(began: float) -> Callable[[], float]:
    """Return the clock of all the processes of a spree that began at ``began`` (unix seconds)."""
    return lambda: NOON + (time.time() - began) * HOURS_A_SECOND * 3600


class NothingToDo(Exception):
    """What was drawn as a lot is not possible now."""


@dataclass
class Spender:
    """Draws lots about what to do next."""

    scene: Scene
    name: str
    chance: random.Random
    submitted: list[str] = field(default_factory=list)
    """Its latest jobs."""
    claimed: list[tuple[str, Job]] = field(default_factory=list)
    """Worker and job."""

    @property
    def account(self) -> Account:
        """Somebody."""
        return self.chance.choice(ACCOUNTS)

    @property
    def roles(self) -> frozenset[int]:
        """Somebody's roles."""
        return frozenset(self.chance.sample((SUPPORTER, ARTIST), self.chance.randrange(3)))

    @property
    def order(self) -> str:
        """One of its latest jobs."""
        if not self.submitted:
            raise NothingToDo
        return self.chance.choice(self.submitted)

    async def submit(self) -> None:
        """Order something."""
        job = await self.scene.studio.submit(
            Submission(
                account=self.account,
                request=self.chance.choice(REQUESTS),
                origin=Origin.IMAGINE,
                where=Whereabouts(channel_ids=(5,), role_ids=self.roles),
            )
        )
        self.submitted = [*self.submitted[-20:], job.id]

    async def cancel(self) -> None:
        """Take back one of the latest orders."""
        await self.scene.studio.cancel(self.order, by=1, moderator=True)

    async def move_up(self) -> None:
        """Let one of the latest orders be the first of its member's own."""
        job = await self.scene.studio.job(self.order)
        await self.scene.studio.move_up(job.id, by=job.account.user_id)

    async def claim(self) -> None:
        """Take what comes next to a card of our own, alone or with company, or to a hosted provider."""
        queue, way = self.scene.queue, self.chance.random()
        worker = self.name if way < 0.7 else f"acme-{self.name}"
        taken: list[Job | None]
        if way < 0.4:
            taken = [*await queue.claim_together(worker, [SCHNELL], "cpu", 8)]
        elif way < 0.7:
            taken = [await queue.claim(worker, [SCHNELL])]
        else:
            await queue.beat(worker)
            taken = [await queue.claim_hosted(worker)]
        found = [(worker, job) for job in taken if job is not None]
        if not found:
            raise NothingToDo
        self.claimed += found

    async def end(self) -> None:
        """End one of the jobs taken, one way or another."""
        if not self.claimed:
            raise NothingToDo
        worker, job = self.claimed.pop(self.chance.randrange(len(self.claimed)))
        queue, fate = self.scene.queue, self.chance.random()
        if (await queue.wanted(worker, [job.id])).get(job.id):
            await queue.cancelled(worker, job.id)
        elif fate < 0.6:
            missing = self.chance.randrange(job.request.count)
            drawn = pictures(job)[: job.request.count - missing]
            provider = "local" if worker == self.name else "acme"
            paid = None if provider == "local" or fate < 0.3 else self.chance.randrange(10_000)
            await queue.succeed(
                worker, job.id, drawn, provider=provider, seconds=1.0, missing=missing, microdollars=paid
            )
        elif fate < 0.8:
            await queue.fail(worker, job.id, self.chance.choice((OutOfMemory(), DrawingBroken(), ProviderDown())))
        elif fate < 0.9 and worker != self.name:
            await queue.pass_on(worker, job.id, ProviderDown())
        else:
            await queue.hand_back(worker, job.id)

    async def forget(self) -> None:
        """Lose a job, as a worker that hangs does."""
        if not self.claimed:
            raise NothingToDo
        self.claimed.pop(0)

    async def judge(self) -> None:
        """Approve or reject a job that waits for a moderator."""
        guild, reviews = self.chance.choice(GUILDS), self.scene.studio.reviews
        found = await reviews.waiting(guild)
        if not found:
            raise NothingToDo
        if self.chance.random() < 0.6:
            await reviews.approve(self.chance.choice(found).id, guild_id=guild, by=1)
        else:
            await reviews.reject(self.chance.choice(found).id, guild_id=guild, by=1)

    async def rescue(self) -> None:
        """Do what maintenance does."""
        await self.scene.queue.rescue()
        await self.scene.queue.admit_local()

    async def grant(self) -> None:
        """Give credits, for good or for some hours, or take some back."""
        now, members = self.scene.db.clock(), self.scene.studio.members
        expires_at = self.chance.choice((None, now + 3600 * self.chance.randrange(1, 30)))
        amount = self.chance.choice((1500, 4000, -1000, -2500))
        if amount < 0:
            expires_at = None
        await members.grant(self.account, amount, by=1, reason="chance", expires_at=expires_at)

    async def reset(self) -> None:
        """Give back what somebody, or everybody in a server, spent."""
        if self.chance.random() < 0.8:
            await self.scene.studio.members.reset(self.account, by=1, role_ids=self.roles)
        else:
            await self.scene.studio.members.reset_all(self.chance.choice(GUILDS), None, by=1)

    async def decide(self) -> None:
        """Change what a server has decided."""
        policy = self.policy()
        await self.scene.studio.policies.change(
            self.chance.choice(GUILDS), lambda before: policy, by=1, action="policy import"
        )

    def policy(self) -> GuildPolicy:
        """Return any policy."""
        chance = self.chance
        return GuildPolicy(
            everybody=Limits(
                credits=chance.choice((None, None, 5, 30)),
                renewal=chance.choice((None, *RENEWALS)),
                max_running=chance.choice((None, None, 1, 3)),
                max_waiting=chance.choice((None, 5, 30)),
            ),
            tiers=(
                Tier(role_id=SUPPORTER, name="Supporter", credits=chance.choice((5, 40)), weight=4),
                Tier(role_id=ARTIST, name="Artist", credits=20, renewal=chance.choice(RENEWALS)),
            ),
            pool=chance.choice((None, None, 50, 500)),
            relaxed=chance.random() < 0.5,
            prompt_rules=chance.choice(((), (TO_BE_APPROVED,))),
            moderators_channel=9,
            routing=chance.choice((None, RoutingPolicy(first="hosted"))),
        )

    async def limit(self) -> None:
        """Change what is set for a member alone."""
        limits = Limits(
            credits=self.chance.choice((None, None, 1, 50)), max_running=self.chance.choice((None, None, 2))
        )
        await self.scene.studio.members.change_limits(self.account, lambda before: limits, by=1)

    async def stop(self) -> None:
        """Resume a server's queue; where that runs, pause it now and then, or let it drain."""
        guild, line = self.chance.choice(GUILDS), self.scene.studio.line
        if not await line.resume(guild, by=1) and self.chance.random() < 0.3:
            await line.pause(guild, by=1, reason="a moment", drains=self.chance.random() < 0.5)

    async def clear(self) -> None:
        """Cancel what a member has waiting, or forget the member altogether."""
        if self.chance.random() < 0.7:
            account = self.account
            await self.scene.studio.line.cancel_of(account.guild_id, account.user_id, by=1)
        else:
            await self.scene.studio.personal.forget(self.account, patience=0)

    async def look(self) -> None:
        """Read what somebody has: never more than an allowance and grants, never less than nothing."""
        quota = await self.scene.studio.quota(self.account, self.roles)
        assert quota.left >= 0
        assert quota.granted >= 0


WHAT: dict[str, tuple[Callable[[Spender], Any], int]] = {
    "s": (Spender.submit, 34),
    "c": (Spender.claim, 27),
    "e": (Spender.end, 27),
    "x": (Spender.cancel, 5),
    "f": (Spender.forget, 1),
    "r": (Spender.rescue, 2),
    "g": (Spender.grant, 4),
    "z": (Spender.reset, 1),
    "d": (Spender.decide, 1),
    "l": (Spender.limit, 1),
    "m": (Spender.move_up, 2),
    "p": (Spender.stop, 2),
    "v": (Spender.judge, 4),
    "w": (Spender.clear, 1),
    "q": (Spender.look, 2),
}
"""Letter in the tally → what it stands for, and how often it comes."""


async def _agree_that_company_helps(scene: Scene) -> None:
    shape = shape_of(REQUESTS[0])
    assert shape is not None
    for at_once, seconds in ((1, 1.0), (2, 1.0), (4, 2.0), (8, 4.0)):
        for _ in range(TRIALS):
            await scene.queue.record_pace("cpu", shape, at_once, float(at_once), seconds)


async def main(url: str, folder: str, number: str, life: str, seed: str, began: str) -> None:
    """Go on for ever; each thing done is one letter in the file ``tally-NUMBER``, a dot where it was refused."""
    chance = random.Random(f"{seed} {number} {life}")
    name = f"spender-{number}-{life}"
    tally = os.open(Path(folder) / f"tally-{number}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with a_scene(url, Path(folder), allowance=20_000, max_waiting=50) as scene:
        scene.db.clock = clock(float(began))
        scene.queue.lease_seconds = LEASE_HOURS * 3600
        await scene.worker(name)
        await scene.vendor("acme", worker=f"acme-{name}")
        await _agree_that_company_helps(scene)
        spender = Spender(scene, name, chance)
        letters, weights = list(WHAT), [weight for _, weight in WHAT.values()]
        for _ in count():
            [letter] = chance.choices(letters, weights)
            try:
                await WHAT[letter][0](spender)
            except (MemberError, LeaseLost, NothingToDo):
                letter = "."
            os.write(tally, letter.encode())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
