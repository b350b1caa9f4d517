"""Fail-over: from our own card to a provider, from one provider to the next, and where it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from flux_core.database.passing import PAUSES
from flux_core.errors import (
    DrawingBroken,
    GenerationFailed,
    LeaseLost,
    OutOfMemory,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
)
from flux_core.jobs import Job, JobState
from flux_core.router import RoutingPolicy
from tests.database.scene import ANNE, SCHNELL, Scene, a_request, a_scene


def story(job: Job) -> list[tuple[str, str]]:
    """Return who drew and who failed, in order."""
    return [(remark.code, remark.facts["provider"]) for remark in job.remarks]


async def test_from_our_card_to_one_provider_and_to_the_next(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor("acme", cents=1)
    await scene.vendor("bolt", cents=2)
    job = await scene.submit()
    await scene.claim("w1")
    back = await scene.queue.pass_on("w1", job.id, OutOfMemory())
    assert (back.state, back.tried, back.attempts, back.start_tag) == (JobState.QUEUED, ("local",), 0, job.start_tag)
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    await scene.claim_hosted("acme")
    await scene.queue.submitted("acme", job.id, "acme", "about to submit")
    back = await scene.queue.pass_on("acme", job.id, ProviderDown())
    assert (back.tried, back.attempts, back.provider, back.provider_job_id) == (("local", "acme"), 0, None, None)
    assert await scene.queue.claim_hosted("acme") is None
    claimed = await scene.claim_hosted("bolt")
    assert story(claimed) == [("passed_on", "local"), ("routed", "acme"), ("passed_on", "acme"), ("routed", "bolt")]
    assert [remark.facts["code"] for remark in claimed.remarks if remark.code == "passed_on"] == [
        "out_of_memory",
        "provider_down",
    ]
    assert claimed.attempts == 1
    assert await scene.spent(job) == {"acme": 0, "bolt": 20_000}
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve"]


@pytest.mark.parametrize("error", [OutOfMemory(), DrawingBroken("x"), ProviderClosed(reason="key"), ProviderBroken()])
async def test_where_nobody_else_draws_it_ends_with_the_last_error(scene: Scene, error: GenerationFailed) -> None:
    await scene.vendor()
    job = await scene.submit(request=a_request(provider="acme"))
    await scene.claim_hosted()
    ended = await scene.queue.pass_on("acme", job.id, error)
    assert (ended.state, ended.error_code, ended.error_facts) == (JobState.FAILED, error.code, error.facts)
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]
    expected = 30_000 if isinstance(error, ProviderBroken) else 0  # a broken picture may have been billed
    assert await scene.spent(job) == {"acme": expected}


async def test_a_transient_fault_is_tried_again_after_longer_and_longer_pauses(scene: Scene) -> None:
    await scene.vendor()
    job = await scene.submit(request=a_request(provider="acme"))
    for attempt, pause in enumerate(PAUSES, start=1):
        assert (await scene.claim_hosted()).attempts == attempt
        back = await scene.queue.pass_on("acme", job.id, ProviderBusy())
        assert (back.state, back.tried) == (JobState.QUEUED, ())
        scene.clock.now += pause - 1
        await scene.queue.beat("acme")
        assert await scene.queue.claim_hosted("acme") is None
        scene.clock.now += 1
    await scene.queue.beat("acme")
    await scene.claim_hosted()
    ended = await scene.queue.pass_on("acme", job.id, ProviderBusy())
    assert (ended.state, ended.error_code) == (JobState.FAILED, "provider_busy")
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]


async def test_a_job_that_rests_lets_others_pass(scene: Scene) -> None:
    await scene.vendor()
    first = await scene.submit(request=a_request(provider="acme"))
    second = await scene.submit(request=a_request(provider="acme"))
    await scene.claim_hosted()
    await scene.queue.pass_on("acme", first.id, ProviderBusy())
    assert (await scene.claim_hosted()).id == second.id


async def test_the_untried_come_before_those_that_were_busy_and_the_broken_never_again(scene: Scene) -> None:
    await scene.vendor("acme", cents=1)
    await scene.vendor("bolt", cents=2)
    job = await scene.submit()
    await scene.claim_hosted("acme")
    await scene.queue.pass_on("acme", job.id, ProviderBusy())
    assert await scene.queue.claim_hosted("acme") is None
    await scene.claim_hosted("bolt")
    back = await scene.queue.pass_on("bolt", job.id, ProviderBusy())
    assert (back.tried, back.attempts) == ((), 1)
    scene.clock.now += PAUSES[0]
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    job = await scene.submit()
    await scene.claim_hosted("acme")
    await scene.queue.pass_on("acme", job.id, ProviderBroken())
    await scene.claim_hosted("bolt")
    back = await scene.queue.pass_on("bolt", job.id, ProviderBusy())
    assert (back.state, back.tried) == (JobState.QUEUED, ("acme",))
    scene.clock.now += PAUSES[0]
    for worker in ("acme", "bolt"):
        await scene.queue.beat(worker)
    assert await scene.queue.claim_hosted("acme") is None
    assert (await scene.claim_hosted("bolt")).attempts == 2


async def test_a_job_waits_for_cards_that_are_away(scene: Scene) -> None:
    await scene.vendor()
    job = await scene.submit()
    await scene.claim_hosted()
    back = await scene.queue.pass_on("acme", job.id, ProviderBroken())
    assert back.state is JobState.QUEUED
    assert (await scene.claim("w1")).id == job.id


async def test_a_job_meant_for_hosted_providers_falls_back_to_our_cards(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, policy=RoutingPolicy(first="hosted")) as scene:
        await scene.worker("w1")
        await scene.vendor()
        job = await scene.submit()
        await scene.claim_hosted()
        back = await scene.queue.pass_on("acme", job.id, ProviderDown())
        assert (back.venue, back.tried) == ("any", ("acme",))
        assert (await scene.claim("w1")).id == job.id


async def test_a_job_named_for_our_cards_is_given_to_nobody_else(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor()
    job = await scene.submit(request=a_request(provider="local"))
    await scene.claim("w1")
    assert (await scene.queue.pass_on("w1", job.id, OutOfMemory())).state is JobState.FAILED


async def test_a_cancelled_job_is_not_passed_on(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor()
    job = await scene.submit()
    await scene.claim("w1")
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    assert (await scene.queue.pass_on("w1", job.id, OutOfMemory())).state is JobState.CANCELLED


async def test_whoever_lost_the_job_passes_nothing_on(scene: Scene) -> None:
    await scene.vendor()
    job = await scene.submit()
    running = await scene.claim_hosted()
    with pytest.raises(LeaseLost):
        await scene.queue.pass_on("w9", job.id, ProviderDown())
    assert await scene.studio.job(job.id) == running


async def test_in_a_paused_guild_it_waits_passed_on(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor()
    job = await scene.submit()
    await scene.claim("w1")
    await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
    await scene.queue.pass_on("w1", job.id, OutOfMemory())
    assert await scene.queue.claim_hosted("acme") is None
    await scene.studio.line.resume(ANNE.guild_id, by=1)
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    assert (await scene.claim_hosted()).id == job.id


async def test_rescue_and_attempts_of_a_hosted_job(scene: Scene) -> None:
    await scene.vendor()
    job = await scene.submit()
    for _ in range(3):
        await scene.queue.beat("acme")
        await scene.claim_hosted()
        scene.clock.now += 31
        [after] = await scene.queue.rescue()
        assert await scene.spent(job) == {"acme": 0}  # it was told nothing
    assert (after.state, after.error_code) == (JobState.FAILED, "worker_lost")
