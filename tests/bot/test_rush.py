"""Many members order at the same moment: all are acknowledged, and every order ends in the queue, or is refused."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.connection import rush, tally
from bot.connection.tally import Tally
from bot.interactions import orders
from bot.sandbox.community import Member, User
from bot.sandbox.events import Event, InteractionSettled
from bot.sandbox.interactions import Callback, Interaction
from bot.sandbox.invoking import Invoker
from bot.sandbox.reading import text_of
from bot.sandbox.world import Limits
from flux_core.jobs import Account
from tests.bot.conftest import Stage

CROWD = rush.AT_ONCE + 24


@pytest.fixture
def limits() -> Limits:
    return Limits(rate_limits=True, ack_seconds=60.0)  # the machine may be slow; this is about who goes first


class Crowd:
    """Members who press /imagine, and how the bot answers each."""

    def __init__(self, stage: Stage, size: int) -> None:
        self._world = stage.sandbox.world
        self._news = asyncio.Event()
        self.settled: list[Interaction] = []
        self.members = [self._joins(number) for number in range(size)]
        self._world.bus.subscribe(self._hear)

    def _joins(self, number: int) -> str:
        user = User(id=str((10**6 + number) << 22), username=f"member-{number}", global_name=f"Member {number}")
        self._world.community.members[user.id] = Member(user)
        return user.id

    def _hear(self, event: Event) -> None:
        if isinstance(event, InteractionSettled):
            self.settled.append(event.interaction)
            self._news.set()

    def press(self, members: list[str] | None = None) -> None:
        """Let them all press in the same turn of the event loop."""
        invoker = Invoker(self._world)
        channel = next(one for one in self._world.community.channels.values() if one.name == "studio")
        for member in self.members if members is None else members:
            options = [{"name": "prompt", "type": 3, "value": f"a circle for {member}"}]
            invoker.command(member, channel, "imagine", 1, options, None)

    async def answered(self, number: int) -> None:
        async with asyncio.timeout(60):
            while len(self.settled) < number:
                self._news.clear()
                await self._news.wait()


@contextmanager
def held_up(database: Path) -> Iterator[None]:
    """Keep everybody from writing to a database."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def ordered(stage: Stage, number: int) -> Counter[Account]:
    """Wait for so many jobs; return whose they are."""
    version = None
    async with asyncio.timeout(60):
        while len(live := await stage.studio.live_jobs()) < number:
            version = await stage.studio.changed(version, 1)
    return Counter(one.job.account for one in live)


async def test_a_crowd_is_acknowledged_before_the_first_order_is_in_the_queue(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(orders, "QUICK_SECONDS", 60.0)
    crowd = Crowd(stage, CROWD)
    with held_up(stage.settings.data_dir / "flux-bot.db"):
        crowd.press()
        await crowd.answered(CROWD - rush.AT_ONCE)
        assert {one.callback for one in crowd.settled} == {Callback.DEFERRED_MESSAGE}
        assert await stage.studio.live_jobs() == []
    await crowd.answered(CROWD)
    assert Counter(one.state for one in crowd.settled) == {"acknowledged": CROWD}
    assert Counter(one.callback for one in crowd.settled) == {
        Callback.DEFERRED_MESSAGE: CROWD - rush.AT_ONCE,
        Callback.MESSAGE: rush.AT_ONCE,
    }
    jobs = await ordered(stage, CROWD)
    assert len(jobs) == CROWD
    assert set(jobs.values()) == {1}
    assert stage.bot is not None
    stage.bot.rush.close()
    said = [record.getMessage() for record in caplog.records if record.name == "bot.connection.rush"]
    assert said == [f"{CROWD - rush.AT_ONCE} orders were acknowledged before they were in the queue: many came at once"]


async def test_few_at_once_are_in_the_queue_before_their_acknowledgement(stage: Stage) -> None:
    crowd = Crowd(stage, rush.AT_ONCE)
    crowd.press()
    await crowd.answered(rush.AT_ONCE)
    assert {one.callback for one in crowd.settled} == {Callback.MESSAGE}
    assert len(await ordered(stage, rush.AT_ONCE)) == rush.AT_ONCE


class TestRefusals:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"max_waiting": 2}

    async def test_who_is_refused_in_a_crowd_is_told_in_private_and_no_placeholder_stays(self, stage: Stage) -> None:
        crowd = Crowd(stage, rush.AT_ONCE + 1)
        greedy = crowd.members[-1]
        crowd.press([*crowd.members, *[greedy] * 5])
        await crowd.answered(rush.AT_ONCE + 6)
        jobs = await ordered(stage, rush.AT_ONCE + 2)
        assert jobs[Account(int(stage.sandbox.world.guild_id), int(greedy))] == 2
        channel = crowd.settled[0].channel.id
        refused: list[str] = []
        async with asyncio.timeout(60):
            while len(refused) < 4:
                await asyncio.sleep(0.05)
                messages = list(stage.sandbox.world.messages.newest_first(channel))
                refused = [text_of(one.raw) for one in messages if one.ephemeral_for == greedy]
        assert all("waiting" in told for told in refused)
        public = [one for one in stage.sandbox.world.messages.newest_first(channel) if one.ephemeral_for is None]
        assert len(public) == rush.AT_ONCE + 2


async def test_orders_do_not_wait_for_ever_for_a_crowd_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rush, "PATIENCE", 0.01)
    busy = rush.Rush()
    with ExitStack() as waiting:
        for _ in range(rush.AT_ONCE):
            waiting.enter_context(busy.owing())
        async with asyncio.timeout(60), busy.filing():
            assert busy.on


async def test_orders_that_gave_way_go_into_the_queue_in_their_order_once_few_wait() -> None:
    busy = rush.Rush()
    waiting = ExitStack()
    for _ in range(rush.AT_ONCE - 1):
        waiting.enter_context(busy.owing())
    last = waiting.enter_context(ExitStack())
    last.enter_context(busy.owing())
    filed: list[int] = []

    async def file(number: int) -> None:
        async with busy.filing():
            filed.append(number)

    tasks = [asyncio.create_task(file(number)) for number in range(20)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert filed == []
    last.close()
    assert not busy.on
    await asyncio.gather(*tasks)
    assert filed == list(range(20))
    waiting.close()


async def test_what_many_meet_is_one_line_soon_and_then_one_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tally, "GATHERED_SECONDS", 0.0)
    counted = Tally(logging.getLogger("a crowd"), "%d came")

    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "a crowd"]

    for _ in range(3):
        counted.count(ValueError("the first of them"))
    async with asyncio.timeout(60):
        while not said():  # noqa: ASYNC110 (the log has no event)
            await asyncio.sleep(0.001)
    assert said() == ["3 came"]
    assert "the first of them" in caplog.text
    counted.count()
    counted.count()
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert said() == ["3 came"]  # the minute is not over
    counted.say()
    counted.say()
    assert said() == ["3 came", "2 came"]
