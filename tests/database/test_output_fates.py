"""Drawn pictures that a community does not want: gone, paid back, and still spent where somebody else drew them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flux_core.database.pictures import discarded_keys
from flux_core.errors import LeaseLost
from flux_core.jobs import Job, JobState
from flux_core.policy.guild import GuildPolicy
from tests.database.scene import ANNE, Scene, pictures

TODAY = "day:2026-11-21"


async def decide(scene: Scene, **output: Any) -> None:
    policy = GuildPolicy.model_validate({"output": output})
    await scene.studio.policies.change(ANNE.guild_id, lambda _: policy, by=1, action="moderation output")


async def end(scene: Scene, job: Job, worker: str, *unsafe: float | None, **more: Any) -> Job:
    drawn = [replace(one, unsafe=sure) for one, sure in zip(pictures(job), unsafe, strict=True)]
    provider = "acme" if worker == "acme" else "local"
    return await scene.queue.succeed(worker, job.id, drawn, provider=provider, seconds=2.0, **more)


async def hosted(scene: Scene, count: int) -> Job:
    await scene.vendor("acme", cents=1)
    job = await scene.submit(count=count)
    await scene.claim_hosted()
    await scene.queue.submitted("acme", job.id, "acme", "prediction-1")
    return await scene.studio.job(job.id)


async def test_one_of_them_is_enough(scene: Scene) -> None:
    await decide(scene, action="refuse", threshold=0.7)
    await scene.submit(count=3)
    job = await scene.claim()
    await scene.queue.progress("w1", job.id, 2, 4, "previews/p.webp")
    ended = await end(scene, job, "w1", 0.1, 0.7, None)
    assert (ended.state, ended.error_code, ended.error_facts) == (
        JobState.REFUSED,
        "output_refused",
        {"elsewhere": False},
    )
    assert (ended.provider, ended.microdollars, ended.preview_key) == ("local", None, None)
    assert ended.started_at is not None
    assert ended.ended_at == ended.started_at + 2
    assert await scene.ledger(job) == [("reserve", TODAY, -3000), ("refund", TODAY, 3000)]
    assert await scene.studio.pictures(job.id) == []
    gone = set(await scene.db.read(discarded_keys, 10))
    assert gone == {"previews/p.webp", *(one.key for one in pictures(job))}
    with pytest.raises(LeaseLost):
        await end(scene, job, "w1", None, None, None)


@pytest.mark.parametrize(("billed", "spent"), [(35_000, 35_000), (None, 40_000)])
async def test_what_a_provider_drew_is_spent_all_the_same(scene: Scene, billed: int | None, spent: int) -> None:
    job = await hosted(scene, 4)
    ended = await end(scene, job, "acme", 0.1, 0.1, 0.1, 1.0, microdollars=billed)
    assert (ended.state, ended.error_facts) == (JobState.REFUSED, {"elsewhere": True})
    assert ended.microdollars == spent
    assert await scene.spent(job) == {"acme": spent}
    assert (await scene.studio.quota(ANNE)).spent == 0


async def test_a_spoiler_is_kept_with_the_job_and_paid(scene: Scene) -> None:
    await decide(scene, action="spoiler", threshold=0.5)
    for unsafe, hidden in ((0.49, False), (0.5, True)):
        await scene.submit()
        job = await scene.claim()
        ended = await end(scene, job, "w1", unsafe)
        assert ended.state is JobState.SUCCEEDED
        assert await scene.column(job, "spoiler") is hidden
        assert [one.unsafe for one in await scene.studio.pictures(job.id)] == [unsafe]
        assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "settle"]
