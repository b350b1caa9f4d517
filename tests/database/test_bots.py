"""What the bot's processes agree on through the database: who lives, whose turn it is, who uploads, who delivers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from flux_core.database import outbox, removals, reviews
from flux_core.database.uploaded_commands import Upload
from flux_core.jobs import Account, JobState
from flux_core.shards import Keeper, Share, shard_of
from tests.database.scene import CLEO, DAY, Scene, a_reply

FAR = Account(guild_id=(2 << 22) + 7, user_id=1)
"""On shard 2 of 4, where ``CLEO`` is on shard 0."""
HERE, THERE = Share(4, frozenset({0, 1})), Share(4, frozenset({2}))


def a_keeper(id: str, now: float, *shards: int) -> Keeper:
    return Keeper(
        id=id, application_id=2**61, host="here", pid=1, shards=shards, count=4, started_at=now, seen_at=now
    )  # fmt: skip


async def test_processes_know_of_one_another(scene: Scene) -> None:
    desk = scene.studio.bots
    one, other = a_keeper("one", scene.clock(), 0, 1), a_keeper("other", scene.clock() + 1, 2, 3)
    await desk.register(one)
    scene.clock.now += 1
    await desk.register(other)
    assert await desk.beat(one) == [replace(one, seen_at=scene.clock()), other]
    scene.clock.now += 25
    assert [keeper.id for keeper in await desk.beat(one)] == ["one", "other"]
    scene.clock.now += 10
    assert [keeper.id for keeper in await desk.beat(one)] == ["one"], "the other has been silent for too long"
    assert [keeper.id for keeper in await desk.beat(other)] == ["one", "other"], "and is back"
    await desk.retire(one)
    assert [keeper.id for keeper in await desk.alive()] == ["other"]
    assert [keeper.id for keeper in await desk.beat(one)] == ["one", "other"], "who was forgotten makes itself known"
    scene.clock.now += 2 * DAY
    await desk.register(one)
    scene.clock.now -= 2 * DAY
    assert [keeper.id for keeper in await desk.alive()] == ["one"], "what nobody needs to know is forgotten"


async def test_processes_of_another_application_are_none_of_ours(scene: Scene) -> None:
    mine = a_keeper("mine", scene.clock(), 0)
    foreign = Keeper(
        id="x", application_id=3, host="here", pid=2, shards=(0,), count=1, started_at=scene.clock(), seen_at=1.0
    )  # fmt: skip
    await scene.studio.bots.register(foreign)
    await scene.studio.bots.register(mine)
    assert await scene.studio.bots.beat(mine) == [mine]
    assert len(await scene.studio.bots.alive()) == 2


async def test_a_turn_is_taken_by_one_at_a_time(scene: Scene) -> None:
    desk = scene.studio.bots
    waits = await asyncio.gather(*(desk.take_turn(1, 0, 5.0) for _ in range(8)))
    assert sorted(waits) == [0.0, *[5.0] * 7]
    assert await desk.take_turn(1, 1, 5.0) == 0.0, "another turn"
    assert await desk.take_turn(2, 0, 5.0) == 0.0, "another application"
    scene.clock.now += 3
    assert await desk.take_turn(1, 0, 5.0) == 2.0
    scene.clock.now += 2
    waits = await asyncio.gather(*(desk.take_turn(1, 0, 5.0) for _ in range(8)))
    assert waits.count(0.0) == 1
    scene.clock.now -= 2
    assert await desk.take_turn(1, 0, 5.0) == 7.0, "it was taken by a machine whose clock is two seconds ahead"
    scene.clock.now -= 3600
    assert await desk.take_turn(1, 0, 5.0) == 0.0, "a clock that was put back stops nobody"


async def test_a_turn_lasts_from_the_moment_at_which_its_shard_has_connected(scene: Scene) -> None:
    desk = scene.studio.bots
    assert await desk.take_turn(1, 0, 5.0) == 0.0
    scene.clock.now += 3
    await desk.begin_turn(1, 0, 5.0)
    scene.clock.now += 3
    assert await desk.take_turn(1, 0, 5.0) == 2.0
    assert await desk.take_turn(1, 1, 5.0) == 0.0, "another turn"


async def test_commands_are_uploaded_by_one(scene: Scene) -> None:
    desk = scene.studio.bots
    begun = await asyncio.gather(*(desk.begin_upload(1, "api", None, "digest") for _ in range(6)))
    assert sorted(begun) == [False] * 5 + [True]
    busy = await desk.uploaded(1, "api")
    assert busy is not None
    assert busy.ids == ()
    assert desk.recent(busy, 60)
    scene.clock.now -= 3600
    assert not desk.recent(busy, 60), "a clock was put back: nobody waits for an hour"
    scene.clock.now += 3600
    await desk.end_upload(1, "api", "digest", (2**60, 5))
    assert not await desk.begin_upload(1, "api", busy, "digest"), "it has ended meanwhile"
    assert await desk.uploaded(1, "api") == Upload("digest", (2**60, 5), scene.clock())
    assert await desk.uploaded(1, "other") is None
    await desk.end_upload(1, "api", "digest", ())
    assert await desk.uploaded(1, "api") is None


async def test_each_process_sees_the_jobs_of_its_share_and_what_is_overdue(scene: Scene) -> None:
    near, far = await scene.submit(CLEO, reply_to=a_reply()), await scene.submit(FAR, reply_to=a_reply())
    assert (shard_of(CLEO.guild_id, 4), shard_of(FAR.guild_id, 4)) == (0, 2)

    async def seen(share: Share, overdue: float = 0.0) -> list[str]:
        live = await scene.studio.live_jobs(states=tuple(JobState), share=share, overdue=overdue)
        return [one.job.id for one in live]

    assert (await seen(HERE), await seen(THERE)) == ([near.id], [far.id])
    await scene.studio.cancel(far.id, by=FAR.user_id, moderator=False)
    assert (await seen(HERE), await seen(THERE)) == ([near.id], [far.id])
    assert await seen(HERE, scene.clock() - 1) == [near.id]
    assert await seen(HERE, scene.clock()) == [near.id, far.id], "nobody has delivered it for too long"
    assert await scene.studio.claim_delivery(far.id, "here", 30.0)
    assert not await scene.studio.claim_delivery(far.id, "there", 30.0)
    page = await scene.db.read(outbox.live, None, (JobState.QUEUED,), "", 1, THERE)
    assert page == []


async def test_each_process_deletes_and_tells_what_belongs_to_its_share(scene: Scene) -> None:
    for guild_id in (CLEO.guild_id, FAR.guild_id, 0):
        await scene.studio.removals.note(guild_id, 12, guild_id + 1)
    assert {one.guild_id for one in await scene.studio.removals.due(HERE)} == {CLEO.guild_id, 0}
    assert [one.guild_id for one in await scene.studio.removals.due(THERE)] == [FAR.guild_id]
    assert len(await scene.studio.removals.due()) == 3
    assert len(await scene.db.read(removals.due, scene.clock(), 1, THERE)) == 1, "those of others take no place"
    assert await scene.db.read(reviews.decided, scene.clock(), THERE) == []
