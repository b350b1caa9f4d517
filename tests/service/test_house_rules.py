"""What a community has decided holds for every job, when it is accepted; whoever is refused pays nothing."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database.members import put_limits
from flux_core.database.policies import put_policy
from flux_core.database.tables import bans, jobs, ledger, pools
from flux_core.errors import (
    AlreadySo,
    Banned,
    BeyondLimit,
    ChannelClosed,
    DrawingBroken,
    JobAlreadyEnded,
    MemberError,
    ModelDenied,
    NotAllowed,
    PoolSpent,
    PromptForbidden,
    QueuePaused,
    QuotaSpent,
    TooManyWaiting,
    TooSoon,
)
from flux_core.jobs import SHELL_ACCOUNT, Account, Job, JobState, Lane, Whereabouts
from flux_core.policy.guild import ChannelRule, GuildPolicy, Limits, PromptRule, Renewal, Tier
from flux_core.router import RoutingPolicy
from tests.database.scene import ABROAD, ANNE, BERT, DEV, SCHNELL, TINY, Scene, a_reply, a_request

PATRON = 77
STUDIO, THREAD, ELSEWHERE = 500, 501, 600
HERE = Whereabouts(channel_ids=(STUDIO,))
AS_PATRON = Whereabouts(channel_ids=(STUDIO,), role_ids=frozenset({PATRON}))


async def decide(scene: Scene, guild_id: int = ANNE.guild_id, **decisions: Any) -> None:
    """Set what a guild has decided."""
    await scene.db.write(put_policy, guild_id, GuildPolicy(**decisions), 9, scene.clock.now)


async def untouched(scene: Scene) -> bool:
    """Say whether nothing at all was written for anybody."""

    def counted(connection: Connection) -> int:
        return sum(
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (jobs, ledger, pools)
        )

    return await scene.db.read(counted) == 0


async def refused(scene: Scene, error: type[MemberError], **submission: Any) -> dict[str, Any]:
    """Have a submission refused, by the check before it as well; return the facts."""
    request = submission.get("request") or a_request()
    with pytest.raises(error) as checked:
        await scene.studio.check(submission.get("account", ANNE), request, where=submission.get("where", HERE))
    with pytest.raises(error) as caught:
        await scene.submit(**({"where": HERE} | submission))
    assert checked.value.facts == caught.value.facts
    return caught.value.facts


async def test_the_banned_draw_nowhere_in_that_guild_until_it_ends(scene: Scene) -> None:
    row = {"guild_id": 7, "user_id": 1, "until": scene.clock.now + 60, "reason": "spam", "by_user": 9, "since": 0.0}
    await scene.db.write(lambda connection: connection.execute(sa.insert(bans), row).rowcount)
    assert await refused(scene, Banned) == {"reason": "spam", "until": scene.clock.now + 60}
    assert await untouched(scene)
    assert (await scene.submit(ABROAD)).state is JobState.QUEUED
    scene.clock.now += 60
    assert (await scene.submit(ANNE, where=HERE)).state is JobState.QUEUED


async def test_a_draining_queue_takes_nothing_new_and_is_still_drawn(scene: Scene) -> None:
    waiting = await scene.submit()
    await scene.studio.line.pause(ANNE.guild_id, by=9, reason="update", drains=True)
    assert await refused(scene, QueuePaused) == {"reason": "update", "drains": True}
    assert (await scene.claim()).id == waiting.id


async def test_pictures_are_drawn_where_the_guild_says_and_in_its_threads(scene: Scene) -> None:
    await decide(scene, channels=[ChannelRule(channel_id=STUDIO, allowed=True)])
    elsewhere = Whereabouts(channel_ids=(ELSEWHERE,))
    assert await refused(scene, ChannelClosed, where=elsewhere) == {"open": [STUDIO]}
    assert await untouched(scene)
    assert await scene.submit(where=Whereabouts(channel_ids=(THREAD, STUDIO)))
    await decide(scene, channels=[ChannelRule(channel_id=THREAD, allowed=False)])
    await refused(scene, ChannelClosed, where=Whereabouts(channel_ids=(THREAD, STUDIO)))
    assert await scene.submit(where=elsewhere)


async def test_models_sizes_and_counts_are_the_guilds_and_the_tiers(scene: Scene) -> None:
    await decide(
        scene,
        models_denied=[TINY],
        everybody=Limits(models=(SCHNELL,), max_megapixels=0.5, max_count=2),
        tiers=[Tier(role_id=PATRON, name="Patron", models=(SCHNELL, DEV), max_megapixels=1, max_count=4)],
    )
    small = a_request(size="512x512", count=2)
    assert await refused(scene, ModelDenied, request=a_request(DEV)) == {"model": DEV, "known": [SCHNELL]}
    assert await refused(scene, ModelDenied, request=a_request(TINY), where=AS_PATRON) == {
        "model": TINY,
        "known": [SCHNELL, DEV],
    }
    assert await refused(scene, BeyondLimit) == {"field": "size", "value": 1.0, "limit": 0.5}
    facts = await refused(scene, BeyondLimit, request=a_request(size="512x512", count=3))
    assert facts == {"field": "count", "value": 3, "limit": 2}
    assert await untouched(scene)
    assert await scene.submit(request=small, where=HERE)
    assert await scene.submit(request=a_request(DEV, count=4), where=AS_PATRON)


async def test_words_are_refused_hidden_or_looked_at_first(scene: Scene) -> None:
    await decide(
        scene,
        moderators_channel=900,
        prompt_rules=[
            PromptRule(kind="word", pattern="gore"),
            PromptRule(kind="word", pattern="beach", action="spoiler"),
            PromptRule(kind="word", pattern="politician", action="approve"),
            PromptRule(kind="word", pattern="nude", everywhere=False),
        ],
    )
    facts = await refused(scene, PromptForbidden, request=a_request(prompt="a g.o.r.e scene"))
    assert "g.o.r.e" in facts["said"]
    await refused(scene, PromptForbidden, request=a_request(prompt="a nude"))
    assert await untouched(scene)
    assert await scene.submit(
        request=a_request(prompt="a nude"), where=Whereabouts(channel_ids=(1,), age_restricted=True)
    )
    hidden = await scene.submit(BERT, request=a_request(prompt="a beach"), reply_to=a_reply(), where=HERE)
    assert hidden.reply_to is not None
    assert hidden.reply_to.spoiler
    held = await scene.submit(Account(7, 5), request=a_request(prompt="a politician"), where=HERE)
    assert held.held == "approval"
    claimed = {(await scene.claim()).id for _ in range(2)}
    assert hidden.id in claimed
    assert held.id not in claimed
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    assert (await scene.studio.place(held.id)).seconds is None
    both = a_request(prompt="a politician on the beach")
    veiled = await scene.submit(Account(7, 6), request=both, reply_to=a_reply(), where=HERE)
    assert veiled.held == "approval"
    assert veiled.reply_to is not None
    assert veiled.reply_to.spoiler


async def test_orders_keep_their_distance(scene: Scene) -> None:
    await decide(scene, cooldown_seconds=30)
    await scene.submit(where=HERE)
    scene.clock.now += 10
    assert await refused(scene, TooSoon) == {"until": scene.clock.now + 20, "seconds": 30}
    assert (await scene.studio.quota(ANNE)).ready_at == scene.clock.now + 20
    await scene.submit(BERT, where=HERE)
    scene.clock.now += 20
    await scene.submit(where=HERE)


async def test_as_many_may_wait_as_the_tier_says(scene: Scene) -> None:
    await decide(scene, everybody=Limits(max_waiting=1), tiers=[Tier(role_id=PATRON, name="Patron", max_waiting=2)])
    await scene.submit(where=HERE)
    assert await refused(scene, TooManyWaiting) == {"waiting": 1, "limit": 1}
    await scene.submit(where=AS_PATRON)
    await refused(scene, TooManyWaiting, where=AS_PATRON)


async def test_as_many_run_as_the_tier_says(scene: Scene) -> None:
    await decide(scene, everybody=Limits(max_running=2))
    mine = [await scene.submit(where=HERE) for _ in range(4)]
    his = await scene.submit(BERT, where=HERE)
    first = [await scene.claim() for _ in range(3)]
    assert {job.id for job in first} == {mine[0].id, mine[1].id, his.id}
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    assert (await scene.studio.quota(ANNE)).running == 2
    await scene.succeed(next(job for job in first if job.id == mine[0].id))
    assert (await scene.claim()).id == mine[2].id
    # A job that is handed back waits, and holds nobody.
    await scene.queue.hand_back("w1", mine[1].id)
    assert (await scene.claim()).id == mine[1].id
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    await scene.vendor("acme", cents=None)
    assert await scene.queue.claim_hosted("acme") is None


async def test_lifting_the_limit_lets_all_of_it_go_on_with_the_next_order(scene: Scene) -> None:
    await decide(scene, everybody=Limits(max_running=1))
    for _ in range(3):
        await scene.submit(where=HERE)
    await scene.claim()
    await decide(scene)
    await scene.submit(where=HERE)
    assert len([await scene.claim() for _ in range(3)]) == 3


async def test_members_share_a_pool(scene: Scene) -> None:
    await decide(scene, pool=3)
    first = await scene.submit(ANNE, count=2, where=HERE)
    assert (await scene.studio.quota(BERT)).pool_left == 1000
    facts = await refused(scene, PoolSpent, account=BERT, request=a_request(count=2))
    assert facts == {"cost": 2000, "left": 1000, "renews_at": scene.clock.now + 12 * 3600}
    # Granted credits are the member's own.
    await scene.studio.members.grant(BERT, 1000, by=9, reason="prize")
    paid = await scene.submit(BERT, count=2, where=HERE)
    assert await scene.ledger(paid) == [("reserve", "day:2026-11-21", -1000), ("reserve", "granted", -1000)]
    await scene.studio.cancel(first.id, by=ANNE.user_id, moderator=False)
    assert (await scene.studio.quota(ANNE)).pool_left == 2000
    scene.clock.now += 12 * 3600
    assert (await scene.studio.quota(ANNE)).pool_left == 3000


async def test_without_credits_there_is_the_relaxed_lane(scene: Scene) -> None:
    await decide(scene, relaxed=True, everybody=Limits(credits=1, renewal=Renewal()))
    paid = await scene.submit(ANNE, where=HERE)
    free = await scene.submit(ANNE, where=HERE)
    later = await scene.submit(BERT, where=HERE)
    assert (paid.lane, free.lane, later.lane) == (Lane.FAST, Lane.RELAXED, Lane.FAST)
    assert (free.cost, free.price, free.venue) == (0, 1000, "local")
    assert [(await scene.studio.place(job.id)).position for job in (paid, later, free)] == [1, 2, 3]
    assert [(await scene.claim()).id for _ in range(3)] == [paid.id, later.id, free.id]
    done = await scene.succeed(await scene.studio.job(free.id))
    assert await scene.ledger(done) == [("reserve", "relaxed", 0), ("settle", "settled", 0)]
    await scene.vendor("acme", DEV)
    with pytest.raises(QuotaSpent):  # nobody is paid for it, so nobody may charge for it
        await scene.submit(ANNE, request=a_request(DEV, provider="acme"), where=HERE)


async def test_a_relaxed_job_that_our_own_cards_cannot_draw_ends_instead_of_waiting_for_ever(scene: Scene) -> None:
    await decide(scene, relaxed=True, everybody=Limits(credits=0, renewal=Renewal()))
    await scene.worker()
    await scene.vendor()  # would draw it, for money
    await scene.submit(ANNE, where=HERE)
    job = await scene.claim()
    assert (await scene.queue.pass_on("w1", job.id, DrawingBroken("no memory"))).state is JobState.FAILED
    assert await scene.queue.claim_hosted("acme") is None


async def test_relaxed_jobs_are_drawn_by_our_own_cards_where_hosted_providers_come_first(scene: Scene) -> None:
    hosted = RoutingPolicy(first="hosted")
    await decide(scene, relaxed=True, everybody=Limits(credits=1, renewal=Renewal()), routing=hosted)
    await scene.worker()
    await scene.vendor()
    await scene.queue.record_speed("local", SCHNELL, 4.0, 40.0)
    await scene.queue.record_speed("acme", SCHNELL, 4.0, 1.0)
    paid, free = await scene.submit(ANNE, where=HERE), await scene.submit(ANNE, where=HERE)
    assert [(job.venue, job.lane) for job in (paid, free)] == [("hosted", Lane.FAST), ("local", Lane.RELAXED)]
    # As long as our own cards take, not as long as somebody who will never draw it.
    assert (await scene.studio.place(free.id)).seconds == pytest.approx(40.0)
    assert (await scene.claim()).id == free.id
    # A wish for somebody who wants money is not granted all the same.
    with pytest.raises(QuotaSpent):
        await scene.submit(ANNE, request=a_request(provider="acme"), where=HERE)


async def test_a_stop_that_holds_what_waits_is_told_before_one_that_drains(scene: Scene) -> None:
    await scene.studio.line.pause(None, by=9, reason="moving house", drains=True)
    assert await refused(scene, QueuePaused) == {"reason": "moving house", "drains": True}
    await scene.studio.line.pause(ANNE.guild_id, by=9, reason="storm")
    assert await refused(scene, QueuePaused) == {"reason": "storm", "drains": False}


async def test_relaxed_members_take_turns_too(scene: Scene) -> None:
    await decide(scene, relaxed=True, everybody=Limits(credits=0, renewal=Renewal()))
    hers = [await scene.submit(ANNE, where=HERE) for _ in range(3)]
    his = await scene.submit(BERT, where=HERE)
    order = [(await scene.claim()).id for _ in range(4)]
    assert order.index(his.id) <= 1
    assert [id for id in order if id != his.id] == [job.id for job in hers]


async def test_a_rolling_allowance_comes_back_piece_by_piece(scene: Scene) -> None:
    await decide(scene, everybody=Limits(credits=3, renewal=Renewal(every="rolling", hours=10)))
    began = scene.clock.now
    await scene.submit(count=2, where=HERE)
    scene.clock.now += 3600
    second = await scene.submit(where=HERE)
    assert (await refused(scene, QuotaSpent))["renews_at"] == began + 36_000
    quota = await scene.studio.quota(ANNE)
    assert (quota.left, quota.spent, quota.renews_at) == (0, 3000, began + 36_000)
    # What is given back counts for the moment at which it was taken.
    await scene.studio.cancel(second.id, by=ANNE.user_id, moderator=False)
    assert (await scene.studio.quota(ANNE)).left == 1000
    scene.clock.now = began + 36_000
    quota = await scene.studio.quota(ANNE)
    assert (quota.left, quota.renews_at) == (3000, None)


async def test_credits_that_expire_first_are_spent_first(scene: Scene) -> None:
    await decide(scene, everybody=Limits(credits=1, renewal=Renewal()))
    soon, late = scene.clock.now + 3600, scene.clock.now + 100 * 3600
    await scene.studio.members.grant(ANNE, 1000, by=9, reason="late", expires_at=late)
    await scene.studio.members.grant(ANNE, 1000, by=9, reason="soon", expires_at=soon)
    quota = await scene.studio.quota(ANNE)
    assert quota.expiring == ((1000, soon), (1000, late))
    purses = [(await scene.ledger(await scene.submit(where=HERE)))[0][1].partition(":")[0] for _ in range(3)]
    assert purses == ["granted", "day", "granted"]
    scene.clock.now = late
    assert (await scene.studio.quota(ANNE)).granted == 0


async def test_a_guild_pays_hosted_providers_no_more_than_its_cap(scene: Scene) -> None:
    await scene.vendor("acme", cents=3)
    await decide(scene, dollars_a_day=0.05, routing=RoutingPolicy(first="hosted", return_seconds=0))
    first, second = await scene.submit(where=HERE), await scene.submit(where=HERE)
    abroad = await scene.submit(ABROAD)
    claimed = [(await scene.claim_hosted()).id for _ in range(2)]
    assert set(claimed) == {first.id, abroad.id}
    assert await scene.queue.claim_hosted("acme") is None
    assert (await scene.studio.job(second.id)).state is JobState.QUEUED
    scene.clock.now += 12 * 3600
    await scene.queue.beat("acme")
    assert (await scene.claim_hosted()).id == second.id


async def test_a_member_may_move_their_own_up_and_nobody_waits_longer(scene: Scene) -> None:
    mine = [await scene.submit(ANNE, count=count) for count in (3, 1, 2)]
    his = [await scene.submit(BERT) for _ in range(2)]
    with pytest.raises(NotAllowed):
        await scene.studio.move_up(mine[2].id, by=BERT.user_id)
    with pytest.raises(AlreadySo):
        await scene.studio.move_up(mine[0].id, by=ANNE.user_id)
    before = {job.id: (job.start_tag, job.finish_tag) for job in his}
    assert (await scene.studio.move_up(mine[2].id, by=ANNE.user_id)).start_tag == mine[0].start_tag

    def turns(job: Job) -> tuple[float, float]:
        return job.start_tag, job.finish_tag

    now = [await scene.studio.job(job.id) for job in mine]
    assert sorted(map(turns, now)) == [(0.0, 2000.0), (2000.0, 5000.0), (5000.0, 6000.0)]
    assert {job.id: turns(await scene.studio.job(job.id)) for job in his} == before
    assert (await scene.submit(ANNE)).start_tag == 6000.0
    order = [job.id for job in [await scene.claim() for _ in range(5)] if job.account == ANNE]
    assert order[:2] == [mine[2].id, mine[0].id]
    with pytest.raises(JobAlreadyEnded):
        await scene.studio.move_up(mine[2].id, by=ANNE.user_id)


async def test_the_operators_shell_has_no_limits(scene: Scene) -> None:
    await scene.db.write(put_limits, SHELL_ACCOUNT, Limits(credits=0))
    for _ in range(12):
        await scene.submit(SHELL_ACCOUNT, count=4)
    assert (await scene.studio.quota(SHELL_ACCOUNT)).left > 10**12
