"""A job remembers the mode it was drawn in, and estimates know that quicker modes are less work."""

from __future__ import annotations

import pytest

from flux_core.jobs import Remark
from flux_core.models import Mode
from flux_core.offers import Offer
from flux_core.router import LOCAL
from tests.database.scene import ANNE, BERT, SCHNELL, Scene, a_request, pictures


async def test_a_job_says_what_drew_it(scene: Scene) -> None:
    asked = {}
    for mode in Mode:
        job = await scene.submit(request=a_request(mode=mode.value))
        assert job.drawn_mode is None
        claimed = await scene.claim()
        done = await scene.queue.succeed(
            claimed.worker_id or "", job.id, pictures(job), provider=LOCAL, seconds=1, mode=mode
        )
        asked[mode] = (done, await scene.studio.job(job.id))
    for mode, jobs in asked.items():
        assert {(job.drawn_mode, job.request.mode, job.remarks) for job in jobs} == {(mode, mode, ())}


async def test_another_mode_than_was_asked_for_is_remarked(scene: Scene) -> None:
    job = await scene.submit(request=a_request(mode="turbo"))
    claimed = await scene.claim()
    await scene.queue.succeed(
        claimed.worker_id or "", job.id, pictures(job), provider=LOCAL, seconds=1, mode=Mode.FAST, why_mode="of memory"
    )
    kept = await scene.studio.job(job.id)
    assert kept.drawn_mode is Mode.FAST
    assert kept.remarks == (Remark("other_mode", {"provider": LOCAL, "mode": "fast", "reason": "of memory"}),)


async def test_a_job_that_failed_was_drawn_in_no_mode(scene: Scene) -> None:
    job = await scene.submit(request=a_request(mode="turbo"))
    await scene.claim()
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    assert (await scene.studio.job(job.id)).drawn_mode is None


async def test_what_is_quicker_is_foreseen_to_be(scene: Scene) -> None:
    await scene.worker(modes=tuple(Mode))
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 10.0)
    first = await scene.submit(request=a_request(mode="turbo"))
    own = (await scene.studio.place(first.id)).seconds
    assert own == pytest.approx(10.0 * Mode.TURBO.work)
    behind = await scene.submit(BERT)
    assert (await scene.studio.place(behind.id)).seconds == pytest.approx(10.0 * Mode.TURBO.work + 10.0)


async def test_what_no_worker_draws_quicker_is_not_foreseen_to_be(scene: Scene) -> None:
    await scene.worker()
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 10.0)
    first = await scene.submit(request=a_request(mode="turbo"))
    behind = await scene.submit(BERT)
    assert (await scene.studio.place(first.id)).seconds == pytest.approx(10.0)
    assert (await scene.studio.place(behind.id)).seconds == pytest.approx(20.0)
    await scene.claim()
    assert (await scene.studio.place(first.id)).seconds == pytest.approx(10.0)


async def test_among_workers_with_other_modes_the_mean_is_foreseen(scene: Scene) -> None:
    await scene.worker("w1", modes=tuple(Mode))
    await scene.worker("w2", modes=(Mode.QUALITY,))
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 10.0)
    job = await scene.submit(request=a_request(mode="turbo"))
    assert (await scene.studio.place(job.id)).seconds == pytest.approx(10.0 * (1 + Mode.TURBO.work) / 2)
    await scene.queue.retire("w2")
    assert (await scene.studio.place(job.id)).seconds == pytest.approx(10.0 * Mode.TURBO.work)


async def test_a_hosted_provider_knows_no_modes(scene: Scene) -> None:
    await scene.vendor()
    await scene.queue.record_speed("acme", SCHNELL, 4, 10.0)
    job = await scene.submit(request=a_request(mode="turbo", provider="acme"))
    assert await scene.column(job, "units") == job.request.megapixel_steps
    assert (await scene.studio.place(job.id)).seconds == pytest.approx(10.0)


def test_work_is_relative_to_what_is_quality_on_a_card() -> None:
    whole, lean = Offer(theirs="x", modes=tuple(Mode)), Offer(theirs="x", modes=(Mode.FAST, Mode.TURBO))
    assert [whole.effort(mode) for mode in Mode] == [mode.work for mode in Mode]
    assert lean.drawn_in(Mode.QUALITY) is Mode.FAST
    assert [lean.effort(mode) for mode in Mode] == [1.0, 1.0, pytest.approx(Mode.TURBO.work / Mode.FAST.work)]
    assert Offer(theirs="x", modes=()).drawn_in(Mode.TURBO) is Mode.QUALITY


def test_an_offer_keeps_its_modes_in_a_row_of_the_database() -> None:
    offer = Offer(theirs="x", modes=(Mode.QUALITY, Mode.TURBO))
    assert Offer.model_validate_json(offer.model_dump_json(exclude_defaults=True)) == offer
    assert Offer.model_validate_json('{"theirs": "x"}').modes == (Mode.QUALITY,), "of versions without modes"
