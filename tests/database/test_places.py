"""Position and estimate."""

from __future__ import annotations

from typing import Any

import pytest

from flux_core.database import lineup, passing
from flux_core.database.places import Place
from flux_core.errors import JobNotFound, OutOfMemory, ProviderDown
from flux_core.policy.guild import Limits
from flux_core.router import LOCAL, RoutingPolicy
from tests.database.scene import ANNE, BERT, CLEO, DEV, SCHNELL, TINY, Scene, a_request


async def test_nothing_measured_and_nobody_there(scene: Scene) -> None:
    job = await scene.submit()
    assert await scene.studio.place(job.id) == Place(1, None, 0)
    await scene.worker("w1")
    assert await scene.studio.place(job.id) == Place(1, None, 1)
    with pytest.raises(JobNotFound):
        await scene.studio.place("0" * 24)


async def test_an_idle_worker_starts_at_once(scene: Scene) -> None:
    job = await scene.submit()
    await scene.worker("w1")
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 2.0)
    assert await scene.studio.place(job.id) == Place(1, 2.0, 1)
    scene.clock.now += 31
    assert await scene.studio.place(job.id) == Place(1, None, 0)


async def test_position_counts_what_is_claimed_before(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 2.0)
    mine = [await scene.submit(ANNE) for _ in range(3)]
    theirs = await scene.submit(BERT)
    places = [await scene.studio.place(job.id) for job in (mine[0], theirs, *mine[1:])]
    assert [(place.position, place.seconds) for place in places] == [(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0)]
    order = [(await scene.claim()).id for _ in range(4)]
    assert order == [mine[0].id, theirs.id, mine[1].id, mine[2].id]


async def test_running_jobs_count_with_what_is_left_of_them(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 2.0)
    running, prefetched, waiting = [await scene.submit(account) for account in (ANNE, BERT, CLEO)]
    await scene.claim()
    scene.clock.now += 0.5
    await scene.claim()
    await scene.queue.progress("w1", running.id, 1, 4)
    assert await scene.studio.place(running.id) == Place(0, 1.5, 1)
    assert await scene.studio.place(prefetched.id) == Place(0, 3.5, 1)
    assert await scene.studio.place(waiting.id) == Place(1, 5.5, 1)
    await scene.succeed(running)
    assert await scene.studio.place(running.id) == Place(0, 0.0, 1)


async def test_work_ahead_is_shared_by_the_workers(scene: Scene) -> None:
    for name in ("w1", "w2"):
        await scene.worker(name)
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 2.0)
    jobs = [await scene.submit(account) for account in (ANNE, BERT, CLEO)]
    await scene.claim("w1")
    assert await scene.studio.place(jobs[1].id) == Place(1, 2.0, 2)
    assert await scene.studio.place(jobs[2].id) == Place(2, 4.0, 2)
    await scene.claim("w2")
    assert await scene.studio.place(jobs[2].id) == Place(1, 4.0, 2)


async def test_only_jobs_for_the_same_workers_stand_ahead(scene: Scene) -> None:
    await scene.worker("w1", SCHNELL)
    await scene.worker("w2", DEV, TINY)
    await scene.submit(ANNE, SCHNELL)
    await scene.submit(BERT, TINY)
    job = await scene.submit(CLEO, DEV)
    assert (await scene.studio.place(job.id)).position == 2
    await scene.queue.record_speed(LOCAL, DEV, 28, 28.0)
    assert (await scene.studio.place(job.id)).seconds is None
    await scene.queue.record_speed(LOCAL, TINY, 1, 10.0)
    assert (await scene.studio.place(job.id)).seconds == pytest.approx(28.0 + 10 * a_request(TINY).megapixel_steps)


async def test_a_held_job_has_no_estimate(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 2.0)
    job = await scene.submit()
    await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
    assert (await scene.studio.place(job.id)).seconds is None


async def test_a_look_ends_at_the_far_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineup, "FAR", 3)
    jobs = [await scene.submit() for _ in range(6)]
    assert [(await scene.studio.place(job.id)).position for job in jobs] == [1, 2, 3, 4, 4, 4]


async def test_a_provider_that_draws_now_tells_its_own_time(scene: Scene) -> None:
    await scene.vendor("acme")
    await scene.queue.record_speed("acme", SCHNELL, 4, 3.0)
    job = await scene.submit()
    assert await scene.studio.place(job.id) == Place(1, 3.0, 1)
    await scene.worker("w1")
    assert await scene.studio.place(job.id) == Place(1, None, 2)  # our own card comes first, whatever it takes
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 130.0)
    assert await scene.studio.place(job.id) == Place(1, 3.0, 2)


@pytest.mark.parametrize("shut", [{"closed": "no credit"}, {"money_cap": 50_000}])
async def test_a_provider_that_takes_nothing_now_does_not_count(scene: Scene, shut: dict[str, Any]) -> None:
    await scene.vendor("acme")
    await scene.queue.record_speed("acme", SCHNELL, 4, 3.0)
    await scene.submit()
    await scene.claim_hosted()  # for 30,000
    await scene.vendor("acme", **shut)
    job = await scene.submit(request=a_request(provider="acme"))
    assert await scene.studio.place(job.id) == Place(1, None, 0)
    await scene.vendor("acme")
    assert await scene.studio.place(job.id) == Place(1, 3.0, 1)
    await scene.studio.set_routing(ANNE.guild_id, RoutingPolicy(providers=()), by=1)
    assert await scene.studio.place(job.id) == Place(1, None, 0)


async def test_a_job_that_rests_is_ready_after_its_rest(scene: Scene) -> None:
    await scene.vendor("acme")
    await scene.queue.record_speed("acme", SCHNELL, 4, 3.0)
    job = await scene.submit(request=a_request(provider="acme"))
    await scene.claim_hosted()
    await scene.queue.pass_on("acme", job.id, ProviderDown(provider="Acme"))
    assert await scene.studio.place(job.id) == Place(1, 3.0 + passing.PAUSES[0], 1)
    scene.clock.now += 4
    assert await scene.studio.place(job.id) == Place(1, 3.0 + passing.PAUSES[0] - 4, 1)


async def test_jobs_that_only_providers_draw_do_not_stand_before_ours(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor("acme", slots=1)
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 2.0)
    await scene.queue.record_speed("acme", SCHNELL, 4, 3.0)
    hosted = [await scene.submit(account, request=a_request(provider="acme")) for account in (ANNE, BERT, CLEO)]
    ours = await scene.submit(CLEO, request=a_request(provider="local"))
    assert await scene.studio.place(ours.id) == Place(1, 2.0, 1)
    assert await scene.studio.place(hosted[0].id) == Place(1, 3.0, 1)
    running = await scene.claim_hosted()
    await scene.queue.progress("acme", running.id, 1, 2)
    assert await scene.studio.place(running.id) == Place(0, 1.5, 1)
    assert await scene.studio.place(hosted[1].id) == Place(1, 4.5, 1)
    assert await scene.studio.place(hosted[2].id) == Place(2, 7.5, 1)
    listed = [await scene.studio.job(job.id) for job in (running, *hosted[1:], ours)]
    assert await scene.studio.places(listed) == [await scene.studio.place(job.id) for job in listed]
    await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
    assert (await scene.studio.place(hosted[2].id)).seconds is None


async def test_a_providers_jobs_run_side_by_side(scene: Scene) -> None:
    await scene.vendor("acme")
    await scene.queue.record_speed("acme", SCHNELL, 4, 3.0)
    jobs = [await scene.submit(account) for account in (ANNE, BERT)]
    for _ in jobs:
        await scene.claim_hosted()
    assert [(await scene.studio.place(job.id)).seconds for job in jobs] == [3.0, 3.0]


async def test_whoever_failed_on_a_job_does_not_count(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor("acme")
    job = await scene.submit()
    await scene.claim("w1")
    await scene.queue.pass_on("w1", job.id, OutOfMemory())
    assert (await scene.studio.place(job.id)).workers == 1
    await scene.claim_hosted()
    await scene.queue.submitted("acme", job.id, "acme", "prediction-1")
    await scene.queue.hand_back("acme", job.id)
    await scene.vendor("bolt")
    assert await scene.studio.place(job.id) == Place(1, None, 1)


async def test_who_may_have_one_job_drawn_at_a_time_is_told_of_their_own_before_it(scene: Scene) -> None:
    """Nobody may claim those yet, and more workers do not help."""
    await scene.studio.members.change_limits(ANNE, lambda _: Limits(max_running=1), by=9)
    await scene.worker("w1")
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 10.0)
    jobs = [await scene.submit() for _ in range(4)]

    async def told() -> list[tuple[int, float | None]]:
        places = [await scene.studio.place(job.id) for job in jobs]
        return [(place.position, place.seconds) for place in places]

    one_by_one = [(1, 10.0), (2, 20.0), (3, 30.0), (4, 40.0)]
    assert await told() == one_by_one
    await scene.worker("w2")
    assert await told() == one_by_one
    assert (await scene.claim("w1")).id == jobs[0].id
    assert await told() == [(0, 10.0), (1, 20.0), (2, 30.0), (3, 40.0)]
    # With two at a time, what comes before is shared by both workers.
    await scene.studio.members.change_limits(ANNE, lambda _: Limits(max_running=2), by=9)
    jobs.append(await scene.submit())
    assert [seconds for _, seconds in await told()] == [10.0, 10.0, 20.0, 25.0, 30.0]


async def test_who_may_have_one_job_drawn_at_a_time_is_told_so_by_hosted_providers_too(scene: Scene) -> None:
    await scene.studio.members.change_limits(ANNE, lambda _: Limits(max_running=1), by=9)
    await scene.vendor("acme", DEV)
    await scene.queue.record_speed("acme", DEV, 28, 5.0)
    jobs = [await scene.submit(request=a_request(DEV, provider="acme", steps=28)) for _ in range(3)]
    assert (await scene.claim_hosted()).id == jobs[0].id
    places = [await scene.studio.place(job.id) for job in jobs]
    assert [(place.position, place.seconds) for place in places] == [(0, 5.0), (1, 10.0), (2, 15.0)]
