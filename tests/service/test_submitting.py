"""Accepting jobs: every rule with its error, and nothing charged when one says no."""

from __future__ import annotations

import asyncio
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from flux_core.catalogue import Catalogue
from flux_core.database.members import put_limits
from flux_core.errors import MemberError, OutOfRange, QueuePaused, QuotaSpent, TooManyWaiting, UnknownModel
from flux_core.jobs import Account, JobState, Origin
from flux_core.policy.guild import Limits, Renewal
from flux_core.quota import QuotaRules
from flux_core.service import Studio, Submission
from tests.database.scene import ABROAD, ANNE, BERT, DAY, NOON, TINY, Scene, a_request, a_scene

TODAY, MIDNIGHT = "day:2026-11-21", NOON + DAY / 2


async def test_quota_counts_what_is_reserved(scene: Scene) -> None:
    job = await scene.submit(ANNE, count=4)
    quota = await scene.studio.quota(ANNE)
    assert (quota.allowance, quota.spent, quota.granted, quota.left) == (100_000, 4000, 0, 96_000)
    assert (quota.waiting, quota.max_waiting, quota.renews_at) == (1, 10, MIDNIGHT)
    assert job.cost == 4000
    for other in (BERT, ABROAD):
        assert (await scene.studio.quota(other)).left == 100_000


async def test_the_allowance_renews_and_old_refunds_stay_in_their_day(scene: Scene) -> None:
    job = await scene.submit(ANNE, count=4)
    scene.clock.now = MIDNIGHT
    assert (await scene.studio.quota(ANNE)).left == 100_000
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    assert (await scene.studio.quota(ANNE)).left == 100_000
    assert await scene.ledger(job) == [("reserve", TODAY, -4000), ("refund", TODAY, 4000)]


async def test_granted_credits_pay_when_the_day_is_spent_and_come_back_where_they_came_from(
    database_url: str, tmp_path: Path
) -> None:
    async with a_scene(database_url, tmp_path, allowance=5000) as scene:
        await scene.submit(ANNE, count=4)
        with pytest.raises(QuotaSpent) as caught:
            await scene.submit(ANNE, count=2)
        assert caught.value.facts == {"cost": 2000, "left": 1000, "renews_at": MIDNIGHT}
        quota = await scene.studio.members.grant(ANNE, 3000, by=9, reason="won the contest")
        assert (quota.granted, quota.left) == (3000, 4000)
        both = await scene.submit(ANNE, count=2)
        assert await scene.ledger(both) == [("reserve", TODAY, -1000), ("reserve", "granted", -1000)]
        assert (await scene.studio.quota(ANNE)).left == 2000
        scene.clock.now = MIDNIGHT
        await scene.studio.cancel(both.id, by=ANNE.user_id, moderator=False)
        assert sorted(await scene.ledger(both))[:2] == [("refund", TODAY, 1000), ("refund", "granted", 1000)]
        quota = await scene.studio.quota(ANNE)
        assert (quota.spent, quota.granted, quota.left) == (0, 3000, 8000)


async def test_a_grant_that_no_sum_could_hold_is_refused(scene: Scene) -> None:
    with pytest.raises(OutOfRange):
        await scene.studio.members.grant(ANNE, 2**63, by=9, reason="typo")
    assert (await scene.studio.quota(ANNE)).granted == 0


async def test_grants_can_be_taken_back_but_not_below_nothing(scene: Scene) -> None:
    await scene.studio.members.grant(ANNE, 3000, by=9, reason="x")
    assert (await scene.studio.members.grant(ANNE, -1000, by=9, reason="oops")).granted == 2000
    with pytest.raises(OutOfRange):
        await scene.studio.members.grant(ANNE, -2001, by=9, reason="oops")
    assert (await scene.studio.quota(ANNE)).granted == 2000


async def test_a_changed_allowance_counts_at_once(scene: Scene) -> None:
    await scene.submit(ANNE, count=4)

    def studio(allowance: int) -> Studio:
        rules = QuotaRules(allowance=allowance, zone=ZoneInfo("UTC"), max_waiting=10)
        return Studio(scene.db, scene.store, scene.studio.catalogue, rules)

    assert (await studio(50_000).quota(ANNE)).left == 46_000
    assert (await studio(3000).quota(ANNE)).left == 0
    with pytest.raises(QuotaSpent):
        await studio(3000).submit(Submission(account=ANNE, request=a_request(), origin=Origin.IMAGINE))
    more = await studio(6000).submit(Submission(account=ANNE, request=a_request(), origin=Origin.IMAGINE))
    assert more.cost == 1000
    quota = await studio(6000).quota(ANNE)
    assert (quota.allowance, quota.spent, quota.left) == (6000, 5000, 1000)
    assert (await scene.studio.quota(ANNE)).left == 95_000


async def test_a_member_may_have_an_allowance_of_their_own(scene: Scene) -> None:
    await scene.db.write(put_limits, ANNE, Limits(weight=2.0, credits=1.5, renewal=Renewal()))
    job = await scene.submit(ANNE)
    assert job.finish_tag - job.start_tag == 500.0
    with pytest.raises(QuotaSpent):
        await scene.submit(ANNE)
    await scene.db.write(put_limits, ANNE, Limits())
    assert (await scene.studio.quota(ANNE)).left == 99_000


async def test_waiting_jobs_have_a_limit_and_running_ones_do_not_count(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, max_waiting=2) as scene:
        await scene.submit(ANNE)
        await scene.submit(ANNE)
        with pytest.raises(TooManyWaiting) as caught:
            await scene.submit(ANNE)
        assert caught.value.facts == {"waiting": 2, "limit": 2}
        await scene.submit(BERT)
        assert (await scene.claim()).account == ANNE
        await scene.submit(ANNE)


async def test_parallel_submits_cannot_overspend(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, allowance=5000, max_waiting=100) as scene:
        answers = await asyncio.gather(*(scene.submit(ANNE) for _ in range(12)), return_exceptions=True)
        assert sum(isinstance(answer, QuotaSpent) for answer in answers) == 7
        assert (await scene.studio.quota(ANNE)).left == 0


async def test_a_pause_refuses_where_it_holds(scene: Scene) -> None:
    assert await scene.studio.line.stops(ANNE.guild_id) == []
    await scene.studio.line.pause(ANNE.guild_id, by=9, reason="a flood")
    await scene.studio.line.pause(ANNE.guild_id, by=9, reason="cleaning up")
    with pytest.raises(QueuePaused) as caught:
        await scene.submit(ANNE)
    assert caught.value.facts == {"reason": "cleaning up", "drains": False}
    await scene.submit(ABROAD)
    assert await scene.studio.line.stops(ABROAD.guild_id) == []
    assert await scene.studio.line.stops(None) == []
    await scene.studio.line.pause(None, by=9, reason="moving house")
    with pytest.raises(QueuePaused, match="moving"):
        await scene.submit(ABROAD)
    await scene.studio.line.resume(None, by=9)
    assert [stop.reason for stop in await scene.studio.line.stops(ANNE.guild_id)] == ["cleaning up"]
    await scene.studio.line.resume(ANNE.guild_id, by=9)
    await scene.submit(ANNE)


async def test_a_refused_job_leaves_no_trace(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, allowance=1000, max_waiting=1) as scene:

        async def refusals() -> list[str]:
            codes = []
            for request in (a_request(count=4), a_request()):
                for ask in (scene.studio.check(ANNE, request), scene.submit(ANNE, request=request)):
                    try:
                        await ask
                    except MemberError as error:
                        codes.append(error.code)
            return codes

        assert await refusals() == ["quota_spent", "quota_spent"]
        [only] = await scene.studio.jobs_of(ANNE)
        assert (await scene.studio.quota(ANNE)).left == 0
        assert await refusals() == ["too_many_waiting"] * 4
        await scene.claim()
        assert await refusals() == ["quota_spent"] * 4
        await scene.studio.line.pause(None, by=9, reason="x")
        assert await refusals() == ["queue_paused"] * 4
        assert [job.id for job in await scene.studio.jobs_of(ANNE)] == [only.id]


async def test_checking_reserves_nothing(scene: Scene) -> None:
    await scene.studio.check(ANNE, a_request())
    assert (await scene.studio.quota(ANNE)).left == 100_000
    assert await scene.studio.jobs_of(ANNE, active_only=False) == []


async def test_a_model_that_is_no_longer_offered_is_refused(scene: Scene) -> None:
    smaller = Studio(scene.db, scene.store, Catalogue({TINY: "x"}), scene.studio.rules)
    for ask in (
        smaller.check(ANNE, a_request()),
        smaller.submit(Submission(account=ANNE, request=a_request(), origin=Origin.REROLL)),
    ):
        with pytest.raises(UnknownModel):
            await ask


async def test_a_repeated_submit_is_the_same_job_paid_once(scene: Scene) -> None:
    first = await scene.submit(ANNE, key="interaction-1")
    assert await scene.submit(ANNE, key="interaction-1") == first
    together = await asyncio.gather(*(scene.submit(BERT, key="interaction-2") for _ in range(5)))
    assert len({job.id for job in together}) == 1
    await scene.claim()
    await scene.studio.line.pause(None, by=9, reason="x")
    again = await scene.submit(ANNE, key="interaction-1")
    assert (again.id, again.state) == (first.id, JobState.RUNNING)
    assert (await scene.studio.quota(ANNE)).spent == 1000
    assert (await scene.studio.quota(BERT)).spent == 1000


async def test_accounts_are_apart(scene: Scene) -> None:
    await scene.submit(Account(0, 1))
    assert (await scene.studio.quota(Account(1, 0))).spent == 0
