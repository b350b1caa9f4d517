"""Moderators see the queue in its order, stop it, and take jobs out of it with everything given back."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from flux_core.database import line
from flux_core.database.audit import Wanted
from flux_core.database.line import Crowd, Removed
from flux_core.database.tables import jobs
from flux_core.errors import AlreadySo, JobAlreadyEnded, JobNotFound, NotThere
from flux_core.jobs import JobState, Lane
from tests.database.scene import ABROAD, ANNE, BERT, NOON, Scene

GUILD = ANNE.guild_id


async def log(scene: Scene, guild: int | None = GUILD) -> list[tuple[str, int | None, dict[str, object]]]:
    page = await scene.studio.audit.page(Wanted(guild_id=guild), limit=50)
    return [(one.action, one.target, dict(one.facts)) for one in page.entries]


async def change(scene: Scene, job_id: str, **values: object) -> None:
    """Put a job into a state that takes other parts of the studio to come to."""
    statement = sa.update(jobs).where(jobs.c.id == job_id).values(**values)
    await scene.db.write(lambda connection: connection.execute(statement))


async def test_the_crowd_is_counted_by_what_it_waits_for(scene: Scene) -> None:
    assert await scene.studio.line.crowd(GUILD) == Crowd()
    first = await scene.submit()
    scene.clock.now += 60
    await scene.claim()
    waiting = [await scene.submit(account) for account in (ANNE, ANNE, BERT)]
    await scene.submit(ABROAD)
    await change(scene, waiting[0].id, lane=Lane.RELAXED.value)
    await change(scene, waiting[2].id, held="approval")
    crowd = await scene.studio.line.crowd(GUILD)
    assert crowd.waiting == {Lane.FAST: 1, Lane.RELAXED: 1}
    assert (crowd.running, crowd.for_approval, crowd.all_waiting, crowd.oldest) == (1, 1, 3, NOON + 60)
    assert await scene.studio.line.waiting(GUILD) == 3
    assert await scene.studio.line.waiting(None) == 4
    order = [first.id, waiting[1].id, waiting[0].id, waiting[2].id]
    assert [job.id for job in await scene.studio.line.in_turn(GUILD)] == order, "running, in turn, relaxed, held"
    for skipped in range(5):
        page = await scene.studio.line.in_turn(GUILD, skipped=skipped, limit=2)
        assert [job.id for job in page] == order[skipped : skipped + 2]


async def test_turns_are_those_in_which_jobs_are_drawn(scene: Scene) -> None:
    for account in (ANNE, ANNE, ANNE, BERT, BERT):
        await scene.submit(account)
    expected = [job.id for job in await scene.studio.line.in_turn(GUILD)]
    drawn = []
    for _ in expected:
        job = await scene.claim()
        drawn.append(job.id)
        await scene.succeed(job)
    assert drawn == expected


async def test_a_drain_lets_what_waits_be_drawn_and_a_pause_after_it_does_not(scene: Scene) -> None:
    await scene.submit()
    await scene.submit(BERT)
    await scene.studio.line.pause(GUILD, by=9, reason="storm")
    assert await scene.queue.claim("w1", ["flux-schnell"]) is None
    assert await scene.studio.line.holding(GUILD)
    await scene.studio.line.pause(GUILD, by=9, reason="closing", drains=True)
    assert not await scene.studio.line.holding(GUILD)
    await scene.claim()
    await scene.studio.line.pause(GUILD, by=9, reason="storm")
    assert await scene.queue.claim("w1", ["flux-schnell"]) is None
    [stop] = await scene.studio.line.stops(GUILD)
    assert (stop.reason, stop.by, stop.since, stop.drains, stop.everywhere) == ("storm", 9, NOON, False, False)
    assert await scene.studio.line.resume(GUILD, by=9)
    assert not await scene.studio.line.resume(GUILD, by=9)
    await scene.claim()
    assert [action for action, _, _ in await log(scene)] == [
        "queue resume",
        "queue pause",
        "queue drain",
        "queue pause",
    ]


async def test_a_drain_everywhere_holds_nothing(scene: Scene) -> None:
    await scene.submit()
    await scene.studio.line.pause(None, by=9, reason="moving house", drains=True)
    assert not await scene.studio.line.holding(GUILD)
    await scene.studio.line.pause(GUILD, by=8, reason="storm", drains=True)
    assert [stop.everywhere for stop in await scene.studio.line.stops(GUILD)] == [False, True]
    await scene.claim()
    await scene.studio.line.pause(None, by=9, reason="moving house")
    assert await scene.studio.line.holding(GUILD)
    assert [action for action, _, _ in await log(scene, None)] == ["queue pause", "queue drain"]


async def test_one_job_is_cancelled_by_its_guilds_moderators_alone(scene: Scene) -> None:
    waiting, abroad = await scene.submit(), await scene.submit(ABROAD)
    with pytest.raises(JobNotFound):
        await scene.studio.line.cancel(GUILD, abroad.id, by=9)
    assert (await scene.studio.line.cancel(GUILD, waiting.id, by=9)).state is JobState.CANCELLED
    with pytest.raises(JobAlreadyEnded):
        await scene.studio.line.cancel(GUILD, waiting.id, by=9)
    running = await scene.submit()
    await scene.claim()
    if (await scene.studio.job(running.id)).state is not JobState.RUNNING:
        await scene.claim("w2")  # the other guild came first
    assert (await scene.studio.line.cancel(GUILD, running.id, by=9)).cancel_requested
    with pytest.raises(AlreadySo):
        await scene.studio.line.cancel(GUILD, running.id, by=9)
    assert [(action, target) for action, target, _ in await log(scene)] == [("queue cancel", ANNE.user_id)] * 2


async def test_a_members_jobs_go_and_the_others_keep_their_turns(scene: Scene) -> None:
    theirs = [await scene.submit(ANNE, count=2) for _ in range(4)]
    others = [await scene.submit(BERT) for _ in range(3)]
    await scene.claim()
    removed = await scene.studio.line.cancel_of(GUILD, ANNE.user_id, by=9)
    assert removed == Removed(waiting=3, running=1, refunded=6_000)
    assert [(await scene.studio.job(job.id)).state.value for job in theirs] == ["running"] + ["cancelled"] * 3
    assert [job.id for job in await scene.studio.line.in_turn(GUILD, skipped=1)] == [job.id for job in others]
    with pytest.raises(NotThere):
        await scene.studio.line.cancel_of(GUILD, ANNE.user_id, by=9)
    [(action, target, facts)] = await log(scene)
    assert (action, target, facts) == ("queue cancel", 1, {"waiting": 3, "running": 1, "refunded": 6_000})


async def test_clearing_takes_as_many_transactions_as_it_needs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "AT_ONCE", 2)
    for account in (ANNE, ANNE, BERT, BERT, BERT):
        await scene.submit(account)
    abroad = await scene.submit(ABROAD)
    removed = await scene.studio.line.clear(GUILD, by=9)
    assert removed == Removed(waiting=5, refunded=5_000)
    assert [facts["waiting"] for _, _, facts in await log(scene)] == [1, 2, 2]
    assert await scene.studio.line.waiting(GUILD) == 0
    assert (await scene.studio.job(abroad.id)).state is JobState.QUEUED
    with pytest.raises(NotThere):
        await scene.studio.line.clear(GUILD, by=9)
    assert len(await log(scene)) == 3


async def test_what_comes_in_while_the_queue_is_cleared_stays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "AT_ONCE", 1)
    for _ in range(3):
        await scene.submit()
    clearing = asyncio.create_task(scene.studio.line.clear(None, by=9))
    await asyncio.sleep(0)
    scene.clock.now += 1
    late = await scene.submit(BERT)
    assert (await clearing).waiting == 3
    assert [job.id for job in await scene.studio.line.in_turn(GUILD)] == [late.id]
    assert [action for action, _, _ in await log(scene, None)] == ["queue clear"] * 3


async def test_turns_go_on_as_if_what_was_cleared_had_never_been(scene: Scene) -> None:
    for _ in range(5):
        await scene.submit(ANNE)
    await scene.studio.line.clear(GUILD, by=9)
    again = [await scene.submit(ANNE), await scene.submit(BERT), await scene.submit(ANNE)]
    assert [(await scene.claim()).id for _ in again] == [job.id for job in again], "Anne owes nothing for what went"
