"""Trouble at Discord strikes a house that has a job at every stage: each ends delivered, or explained and refunded.

| Trouble                      | An order at its acknowledgement | Public answers      | Private answers |
|------------------------------|---------------------------------|---------------------|-----------------|
| gateway drops, RESUME        | goes on                         | on their message    | same            |
| gateway drops, invalid       | goes on                         | on their message    | same            |
| a storm of 5xx               | unheard, costs nothing          | on their message    | same            |
| a storm of 429               | unheard, costs nothing          | on their message    | same            |
| the global limit             | goes on                         | on their message    | same            |
| slow uploads                 | goes on                         | on their message    | same            |
| a smaller upload limit       | goes on                         | on their message    | same            |
| lost permissions             | goes on                         | on their message    | same            |
| tokens expire                | goes on, as a new post          | new post            | direct message  |
| … and permissions are lost   | goes on, edited by the bot      | edited by the bot   | direct message  |
| … and direct messages closed | goes on, as a new post          | new post            | wait in /jobs   |
| … and the bot token is reset | goes on, as a new post          | new post            | direct message  |
| messages deleted             | goes on                         | new post            | direct message  |
| channel deleted              | unheard, costs nothing          | direct message      | direct message  |
| thread archived              | goes on                         | a new post opens it | any of these    |
| thread locked                | goes on, as a direct message    | direct message      | direct message  |
| bot removed from the server  | unheard, costs nothing          | wait in /jobs       | wait in /jobs   |

`STAGES` are the stages; every trouble strikes all of them at once, for a public and for a private order each.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import discord
import pytest

from bot.client import FluxBot
from bot.delivery import outbox as delivery
from bot.delivery import posting
from bot.sandbox import events
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, pictures_of, text_of
from bot.sandbox.server import TOKEN
from bot.sandbox.world import Limits
from flux_core.errors import OutOfMemory
from flux_core.jobs import Job, JobState
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, spent

PATIENCE = 90.0
STAGES = ("answering", "waiting", "running", "ending", "failing")
"""At its acknowledgement; in the queue; being drawn; drawn, but not handed over; about to fail."""
SAME, NEW, DIRECT, KEPT, UNHEARD = "same message", "new message", "direct message", "kept in /jobs", "unheard"
ANY = "same, new or direct message"


@dataclass(frozen=True)
class Trouble:
    """What happens, and how jobs end after it."""

    strike: dict[str, Any]
    public: str = SAME
    private: str = SAME
    answering: str | None = None
    """How an order ends that was about to be acknowledged, where that is another way."""
    waiting: str | None = None
    passes: dict[str, Any] | None = None
    """What ends the trouble once it has been met; None: it stays."""
    channel: str = "studio"

    def ending(self, stage: str, private: bool) -> str:
        usual = self.private if private else self.public
        return {"answering": self.answering, "waiting": self.waiting}.get(stage) or usual


EXPIRED = {"expire_tokens": True}
TROUBLES = {
    "gateway drops, RESUME": Trouble({"drop_gateway": "resume"}),
    "gateway drops, invalid": Trouble({"drop_gateway": "invalid"}),
    "a storm of 5xx": Trouble({"rest_500": 10_000}, answering=UNHEARD, passes={"rest_500": 0}),
    "a storm of 429": Trouble({"rest_429": 10_000, "retry_after": 0.05}, answering=UNHEARD, passes={"rest_429": 0}),
    "the global limit": Trouble({"rest_429": 4, "retry_after": 0.05, "global": True}),
    "slow uploads": Trouble({"slow_ms": 900}, passes={"slow_ms": 0}),
    "a smaller upload limit": Trouble({"largest_file": 60_000}),
    "lost permissions": Trouble({"deny": ["VIEW_CHANNEL", "SEND_MESSAGES", "ATTACH_FILES"]}),
    "tokens expire": Trouble(EXPIRED, NEW, DIRECT),
    "tokens expire and permissions are lost": Trouble(EXPIRED | {"deny": ["SEND_MESSAGES"]}, SAME, DIRECT),
    "tokens expire and direct messages are closed": Trouble(EXPIRED | {"closed_dms": True}, NEW, KEPT),
    "tokens expire and the bot token is reset": Trouble(
        EXPIRED | {"bot_token": "reset"}, NEW, DIRECT, passes={"bot_token": TOKEN}
    ),
    "messages deleted": Trouble({"delete_messages": True}, NEW, DIRECT, answering=SAME),
    "channel deleted": Trouble({"delete_channel": "general"}, DIRECT, DIRECT, answering=UNHEARD, channel="general"),
    "thread archived": Trouble({"archive_threads": "archived"}, ANY, ANY, channel="colour studies"),
    "thread locked": Trouble({"archive_threads": "locked"}, DIRECT, DIRECT, channel="colour studies"),
    "bot removed": Trouble({"remove_bot": True}, KEPT, KEPT, answering=UNHEARD, waiting=UNHEARD),
}


@pytest.fixture
def limits() -> Limits:
    """Without rate limits: ten answers in one channel would wait for seconds. Slowness is no refusal here, either."""
    return Limits(rate_limits=False, ack_seconds=30.0)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Hold acknowledgements back while it is closed; it is open."""
    send, open_ = discord.InteractionResponse.send_message, asyncio.Event()
    open_.set()

    async def held(response: discord.InteractionResponse[Any], *args: Any, **options: Any) -> Any:
        await open_.wait()
        return await send(response, *args, **options)

    monkeypatch.setattr(discord.InteractionResponse, "send_message", held)
    return open_


class House:
    """The jobs of one test, a public (Ada's) and a private one (Linus's) at every stage."""

    def __init__(self, stage: Stage, trouble: Trouble, ada: Person, linus: Person) -> None:
        self.stage = stage
        self.trouble = trouble
        self.people = {False: ada, True: linus}
        self.asked: dict[tuple[str, bool], str] = {}
        """The interaction of each order."""
        self.ids: dict[tuple[str, bool], str] = {}
        self.noisy = "largest_file" in trouble.strike

    async def order(self, stage: str) -> None:
        for private, person in self.people.items():
            asked = await person.command(
                "imagine", prompt=stage, count=1, private=private, channel=self.trouble.channel
            )
            self.asked[stage, private] = asked
            if stage != "answering":
                await person.response(asked)
            self.ids[stage, private] = await self._job_id(person, stage)

    async def _job_id(self, person: Person, prompt: str) -> str:
        version = None
        async with asyncio.timeout(PATIENCE):
            while True:
                for job in await self.stage.studio.jobs_of(account_of(person), active_only=False):
                    if job.request.prompt == prompt:
                        return job.id
                version = await self.stage.studio.changed(version, 1)

    async def job(self, stage: str, private: bool) -> Job:
        return await self.stage.studio.job(self.ids[stage, private])

    def each(self, *endings: str) -> Iterator[tuple[str, bool]]:
        """Go through the jobs that are to end in one of these ways."""
        return (key for key in self.ids if self.trouble.ending(*key) in endings)

    async def until(self, fits: Callable[[], Awaitable[bool]]) -> None:
        """Wait until ``fits`` says so."""
        version = None
        async with asyncio.timeout(PATIENCE):
            while not await fits():
                version = await self.stage.studio.changed(version, 0.5)

    async def draw_the_rest(self) -> None:
        """Draw whatever waits."""
        while (job := await self.stage.easel.queue.claim("easel", self.stage.easel.skills)) is not None:
            await self.stage.easel.finish(job, noisy=self.noisy)

    async def unheard_are_cancelled(self) -> bool:
        return all([(await self.job(*key)).state is JobState.CANCELLED for key in self.each(UNHEARD)])

    async def was_met(self) -> bool:
        return any(one.delivery_attempts for one in await self.stage.studio.live_jobs())

    async def is_over(self) -> bool:
        live = {one.job.id for one in await self.stage.studio.live_jobs()}
        return live.isdisjoint(self.ids[key] for key in self.each(SAME, NEW, DIRECT, ANY, KEPT))

    def answers(self, job_id: str) -> list[RawMessage]:
        """Return every message, wherever it is, that tells how a job ended."""
        world = self.stage.sandbox.world
        found = [m.for_page() for c in world.community.channels for m in world.messages.newest_first(c)]
        return [m for m in found if f":{job_id}" in json.dumps(m["components"]) and "Cancel" not in labels_of(m)]

    async def strike(self, blow: dict[str, Any]) -> None:
        """Put a trouble in force, or end it; some the sandbox has no fault for."""
        world, rest = self.stage.sandbox.world, dict(blow)
        if "bot_token" in rest:
            world.token = rest.pop("bot_token")
        if rest.pop("delete_messages", False):
            for channel_id in world.community.channels:
                for message in list(world.messages.newest_first(channel_id)):
                    world.messages.remove(message)
                    world.bus.publish(events.MessageDeleted(message))
        if rest:
            self.stage.sandbox.inject(**rest)


@pytest.mark.parametrize("name", TROUBLES)
async def test_every_job_ends_delivered_or_explained(
    stage: Stage,
    ada: Person,
    linus: Person,
    gate: asyncio.Event,
    hasty: None,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trouble = TROUBLES[name]
    monkeypatch.setattr(posting, "DM_UPLOAD_LIMIT", 60_000)
    patience = delivery.SEND_TIMEOUT
    if "slow_ms" in trouble.strike:
        monkeypatch.setattr(delivery, "SEND_TIMEOUT", 0.4)
    if "drop_gateway" in trouble.strike:
        monkeypatch.setattr(FluxBot, "before_identify_hook", _at_once)
    easel, house = stage.easel, House(stage, trouble, ada, linus)
    for at in ("running", "ending", "failing"):
        await house.order(at)
    taken = {
        (job.request.prompt, job.account == account_of(linus)): job for job in [await easel.take() for _ in range(6)]
    }
    await house.order("waiting")
    gate.clear()
    await house.order("answering")

    await house.strike(trouble.strike)
    for private in (False, True):
        await easel.finish(taken["ending", private], noisy=house.noisy)
        await easel.fail(taken["failing", private], OutOfMemory())
        await easel.step(taken["running", private], 2)
    gate.set()
    for key in [key for key in house.ids if key[0] == "answering" and trouble.ending(*key) is not UNHEARD]:
        await house.people[key[1]].outcome(house.asked[key])
    await house.until(house.unheard_are_cancelled)
    for private in (False, True):
        await easel.finish(taken["running", private], noisy=house.noisy)
    await house.draw_the_rest()
    if trouble.passes is not None:
        await house.until(house.was_met)
        await house.strike(trouble.passes)
        monkeypatch.setattr(delivery, "SEND_TIMEOUT", patience)  # on a busy machine, any answer may take 0.4 seconds
    await house.until(house.is_over)

    for key in house.ids:
        await ended(house, *key)
    for private, person in house.people.items():
        jobs = [await house.job(*key) for key in house.ids if key[1] is private]
        assert await spent(stage, person) == sum(job.cost for job in jobs if job.state is JobState.SUCCEEDED)
    kept = list(house.each(KEPT))
    if kept:
        stage.sandbox.inject(remove_bot=False)
        person = house.people[kept[0][1]]
        listed = await person.response(await person.command("jobs"))
        assert "not posted yet" in text_of(listed)
        assert "memory" in text_of(listed)
        await person.press(listed, "Show")
        await person.wait_for(lambda m: m["id"] != listed["id"] and pictures_of(m))


async def ended(house: House, stage: str, private: bool) -> None:
    """Check how one job ended, and where its member reads it: once, and nobody else where it is private."""
    job, person = await house.job(stage, private), house.people[private]
    way, found = house.trouble.ending(stage, private), house.answers(job.id)
    if way is UNHEARD:
        assert (job.state, found) == (JobState.CANCELLED, []), stage
        return
    assert job.state is (JobState.FAILED if stage == "failing" else JobState.SUCCEEDED)
    if way is KEPT:
        assert (found, job.delivered_at) == ([], None)
        assert job.id in {one.id for one in await house.stage.studio.jobs_of(account_of(person))}
        return
    assert len(found) == 1, (stage, private, [text_of(one) for one in found])
    [answer] = found
    assert len(pictures_of(answer)) == (0 if stage == "failing" else 1)
    assert ("memory" in text_of(answer)) is (stage == "failing")
    first = (await person.outcome(house.asked[stage, private])).response_message_id
    direct = answer["channel_id"] == house.stage.sandbox.world.community.direct_channel(person.id).id
    taken = DIRECT if direct else SAME if answer["id"] == first else NEW
    assert way in (taken, ANY), (stage, private, taken)
    assert not private or direct or answer["ephemeral_for"] == person.id


async def _at_once(*_: Any, **__: Any) -> None:
    """Identify again without the 5 seconds that discord.py keeps between two of them."""
