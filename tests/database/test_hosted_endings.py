"""What hosted jobs end with: partial refunds, remarks, and what is counted as spent."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from flux_core.database.tables import spending
from flux_core.errors import GenerationFailed, InputGone, OutcomeUnknown, Refused, TimedOut
from flux_core.jobs import Job, JobState
from flux_core.quota import shares_back
from tests.database.scene import ANNE, Scene, a_request, a_scene, pictures

TODAY = "day:2026-11-21"


async def running(scene: Scene, *, count: int = 1) -> Job:
    """A job in the hands of a provider that has told its id."""
    await scene.vendor("acme", cents=1)
    job = await scene.submit(count=count)
    await scene.claim_hosted()
    await scene.queue.submitted("acme", job.id, "acme", "prediction-1")
    return await scene.studio.job(job.id)


async def finish(scene: Scene, job: Job, missing: int = 0, **more: object) -> Job:
    """End it with the pictures that came."""
    drawn = pictures(job)[: job.request.count - missing]
    return await scene.queue.succeed(
        "acme",
        job.id,
        drawn,
        provider="acme",
        seconds=1.0,
        missing=missing,
        **more,  # type: ignore[arg-type]
    )


async def test_the_real_cost_replaces_the_expected_one(scene: Scene) -> None:
    job = await running(scene, count=4)
    assert await scene.spent(job) == {"acme": 40_000}
    done = await finish(scene, job, microdollars=37_500)
    assert (done.state, done.microdollars) == (JobState.SUCCEEDED, 37_500)
    assert await scene.spent(job) == {"acme": 37_500}
    assert await scene.studio.spent_today() == {"acme": 37_500}


async def test_without_a_bill_the_expected_cost_stands(scene: Scene) -> None:
    job = await running(scene)
    done = await finish(scene, job)
    assert done.microdollars == 10_000
    assert await scene.ledger(job) == [("reserve", TODAY, -1000), ("settle", "settled", 0)]


async def test_our_own_drawings_have_no_cost_in_money(scene: Scene) -> None:
    await scene.submit()
    assert (await scene.succeed(await scene.claim())).microdollars is None


async def test_missing_pictures_are_given_back(scene: Scene) -> None:
    job = await running(scene, count=4)
    done = await finish(scene, job, missing=1, withheld="the filter held it back")
    assert await scene.ledger(job) == [("reserve", TODAY, -4000), ("refund", TODAY, 1000)]
    assert (await scene.studio.quota(ANNE)).spent == 3000
    assert len(await scene.studio.pictures(job.id)) == 3
    told = done.remarks[-1]
    assert told.code == "partly_withheld"
    assert told.facts == {"missing": 1, "reason": "the filter held it back", "refunded": 1000}
    assert (await scene.studio.job(job.id)).remarks == done.remarks


async def test_a_part_goes_back_to_the_purses_it_came_from(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, allowance=1001) as scene:
        await scene.studio.members.grant(ANNE, 10_000, by=9, reason="x")
        job = await running(scene, count=3)
        await finish(scene, job, missing=1)
        rows = await scene.ledger(job)
        assert rows[:2] == [("reserve", TODAY, -1001), ("reserve", "granted", -1999)]
        assert rows[2:] == [("refund", TODAY, 334), ("refund", "granted", 666)]
        quota = await scene.studio.quota(ANNE)
        assert (quota.spent, quota.granted) == (667, 8667)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=3), st.integers(1, 8), st.data())
def test_parts_are_exact_in_sum_and_never_more_than_was_taken(
    shares: list[int], count: int, data: st.DataObject
) -> None:
    missing = data.draw(st.integers(0, count))
    back = shares_back(shares, missing, count)
    assert sum(back) == sum(shares) * missing // count
    for part, share in zip(back, shares, strict=True):
        assert 0 <= part <= share
        assert abs(part - share * missing / count) < 1


async def test_a_picture_left_aside_is_told(scene: Scene) -> None:
    job = await running(scene)
    done = await finish(scene, job, from_words=True)
    assert (done.remarks[-1].code, done.remarks[-1].facts) == ("from_words", {"provider": "acme"})


@pytest.mark.parametrize(
    ("error", "told", "counted"),
    [
        (OutcomeUnknown(), None, 10_000),
        (TimedOut(seconds=1), None, 10_000),
        (Refused(reason="rules"), None, 0),
        (Refused(reason="rules"), 4000, 4000),
        (InputGone(), None, 0),
        (OutcomeUnknown(), 0, 0),
    ],
)
async def test_what_a_failure_counts_for(scene: Scene, error: GenerationFailed, told: int | None, counted: int) -> None:
    job = await running(scene)
    ended = await scene.queue.fail("acme", job.id, error, microdollars=told)
    assert ended.state in (JobState.FAILED, JobState.REFUSED)
    assert ended.microdollars == told
    assert await scene.spent(job) == {"acme": counted}
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]


@pytest.mark.parametrize(("bound", "counted"), [(True, 10_000), (False, 0)])
async def test_a_cancelled_job_counts_when_the_provider_has_it(scene: Scene, bound: bool, counted: int) -> None:
    job = await running(scene)
    if not bound:
        await scene.queue.submitted("acme", job.id, "acme", "")
    await scene.queue.cancelled("acme", job.id)
    assert await scene.spent(job) == {"acme": counted}


async def test_money_is_never_negative(scene: Scene) -> None:
    job = await running(scene)
    with pytest.raises(IntegrityError):
        await scene.db.write(
            lambda connection: connection.execute(sa.update(spending).values(microdollars=-1)).rowcount
        )
    assert await scene.spent(job) == {"acme": 10_000}


async def test_a_submitted_job_is_given_up_when_its_provider_stays_away(scene: Scene) -> None:
    job = await running(scene)
    other = await scene.submit(request=a_request(provider="acme"))
    await scene.queue.retire("acme")
    await scene.queue.rescue()
    assert await scene.queue.abandon_bound() == []
    scene.clock.now += 599
    assert await scene.queue.abandon_bound() == []
    scene.clock.now += 1
    [ended] = await scene.queue.abandon_bound()
    assert (ended.id, ended.state, ended.error_code) == (job.id, JobState.FAILED, "outcome_unknown")
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]
    assert await scene.spent(job) == {"acme": 10_000}
    assert (await scene.studio.job(other.id)).state is JobState.QUEUED
    assert await scene.queue.abandon_bound() == []


async def test_a_provider_that_comes_back_finds_its_jobs(scene: Scene) -> None:
    job = await running(scene)
    await scene.queue.retire("acme")
    await scene.queue.rescue()
    await scene.queue.abandon_bound()
    scene.clock.now += 500
    await scene.vendor("acme", worker="a2")
    assert await scene.queue.abandon_bound() == []
    await scene.queue.retire("a2")
    scene.clock.now += 500
    assert await scene.queue.abandon_bound() == []
    await scene.vendor("acme", worker="a3")
    assert (await scene.claim_hosted("a3")).id == job.id
