"""The figures of the whole house, against a house in which everything was done on purpose."""

from __future__ import annotations

import time
from zoneinfo import ZoneInfo

import pytest

from flux_core.database import figures as queries
from flux_core.database.figures import HOSTED, OURS, Credits, Crowd, Figures
from flux_core.errors import OutcomeUnknown
from flux_core.jobs import Lane
from flux_core.policy.guild import GuildPolicy
from flux_core.quota import UTC
from tests.database.scene import ABROAD, ANNE, BERT, DAY, DEV, SCHNELL, TINY, Scene, a_reply
from tests.database.test_plans import plans
from tests.database.test_reviews import held, moderated, reported


async def read(scene: Scene, zone: ZoneInfo = UTC) -> Figures:
    now = scene.clock.now
    return await scene.db.read(queries.figures, now, now - 30.0, zone)


@pytest.fixture(autouse=True)
def today(scene: Scene) -> None:
    """The ids of jobs are of today, whatever day the scene plays on."""
    scene.clock.now = time.time()


async def test_an_empty_house(scene: Scene) -> None:
    found = await read(scene)
    assert found.waiting == found.resuming == found.running == found.workers == found.microdollars == {}
    assert (found.stopped, found.expired, found.undeliverable) == (0, 0, 0)
    assert found.undelivered == Crowd(0, 0.0)
    assert found.credits == Credits(reserved=0, settled=0, refunded=0)


async def test_what_waits_is_counted_by_lane_model_and_who_may_claim_it(scene: Scene) -> None:
    await scene.worker("w1", SCHNELL, TINY)
    await scene.vendor("acme", DEV)
    began = scene.clock.now
    await scene.submit()
    scene.clock.now += 60
    await scene.submit(BERT)
    await scene.submit(model=TINY)
    relaxed = GuildPolicy.model_validate({"relaxed": True, "everybody": {"credits": 0}})
    await scene.studio.policies.change(ABROAD.guild_id, lambda _: relaxed, by=1, action="quota server")
    await scene.submit(ABROAD)
    found = await read(scene)
    assert found.waiting == {
        (Lane.FAST, SCHNELL, OURS): Crowd(2, began),
        (Lane.FAST, TINY, OURS): Crowd(1, began + 60),
        (Lane.RELAXED, SCHNELL, OURS): Crowd(1, began + 60),
    }
    assert found.stopped == 0


async def test_what_hosted_providers_alone_may_claim_is_told_apart(scene: Scene) -> None:
    await scene.vendor("acme", SCHNELL)
    job = await scene.submit()
    assert (await read(scene)).waiting == {(Lane.FAST, SCHNELL, OURS): Crowd(1, job.created_at)}
    await scene.worker("w1", SCHNELL)
    claimed = await scene.claim()
    await scene.queue.pass_on("w1", claimed.id, OutcomeUnknown("broken"))
    found = await read(scene)
    assert found.waiting == {(Lane.FAST, SCHNELL, HOSTED): Crowd(1, job.created_at)}


async def test_what_goes_on_at_its_provider_is_counted_there(scene: Scene) -> None:
    await scene.vendor("acme")
    await scene.submit()
    job = await scene.claim_hosted()
    await scene.queue.submitted("acme", job.id, "acme", "ticket-1")
    await scene.queue.hand_back("acme", job.id)
    found = await read(scene)
    assert found.resuming == {"acme": 1}
    assert (found.waiting, found.stopped) == ({}, 0)


async def test_what_nobody_may_claim_is_stopped(scene: Scene) -> None:
    await scene.submit()
    await scene.submit(ABROAD)
    await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
    found = await read(scene)
    assert (found.stopped, sum(crowd.jobs for crowd in found.waiting.values())) == (1, 1)


async def test_what_runs_is_counted_by_the_provider_of_its_worker(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor("acme", DEV)
    await scene.submit()
    await scene.submit(model=DEV)
    await scene.submit()
    await scene.claim("w1")
    await scene.claim_hosted()
    await scene.claim("nobody knows")
    assert (await read(scene)).running == {(SCHNELL, "local"): 1, (DEV, "acme"): 1, (SCHNELL, ""): 1}
    assert (await read(scene)).expired == 0
    scene.clock.now += 31
    assert (await read(scene)).expired == 3


async def test_answers_that_discord_does_not_have_yet(scene: Scene) -> None:
    jobs = [await scene.submit(reply_to=a_reply()) for _ in range(3)]
    await scene.submit(reply_to=a_reply())
    for _ in jobs:
        ended = await scene.succeed(await scene.claim())
        scene.clock.now += 10
    assert (await read(scene)).undelivered == Crowd(3, scene.clock.now - 30)
    await scene.studio.delivered(jobs[0].id)
    await scene.studio.give_up_delivery(jobs[1].id, "no way was open")
    found = await read(scene)
    assert (found.undelivered, found.undeliverable) == (Crowd(1, ended.ended_at or 0.0), 1)


async def test_who_draws(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.worker("w2")
    await scene.vendor("acme", money_cap=2_500_000)
    await scene.vendor("zenith", closed="no credit")
    found = await read(scene)
    assert found.workers == {("local", True): 2, ("acme", True): 1, ("zenith", False): 1}
    assert (found.slots, found.caps) == ({"local": 2, "acme": 4}, {"acme": 2_500_000})
    scene.clock.now += 31
    assert (await read(scene)).workers == {}


async def test_what_waits_for_moderators(scene: Scene) -> None:
    await moderated(scene)
    await reported(scene)
    await held(scene)
    await held(scene, BERT)
    found = await read(scene)
    assert found.reviews == {"approval": 2, "report": 1}
    assert found.stopped == 2


async def test_credits_and_dollars_of_today(scene: Scene) -> None:
    await scene.vendor("acme", cents=3)
    await scene.submit(count=4)
    await scene.queue.succeed(
        "acme", (await scene.claim_hosted()).id, [], provider="acme", seconds=1.0, microdollars=90_000, missing=1,
        withheld="the filter",
    )  # fmt: skip
    gone = await scene.submit(count=2)
    await scene.studio.cancel(gone.id, by=ANNE.user_id, moderator=False)
    await scene.submit(count=1)
    found = await read(scene)
    assert found.credits == Credits(reserved=1_000, settled=3_000, refunded=3_000)
    assert found.microdollars == {"acme": 90_000}
    scene.clock.now += 2 * DAY
    tomorrow = await read(scene)
    assert tomorrow.credits == Credits(reserved=0, settled=0, refunded=0)
    assert tomorrow.microdollars == {}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # its plans have a form of their own
async def test_what_waits_is_counted_from_indexes_alone(scene: Scene) -> None:
    plan = await plans(scene, queries.figures, scene.clock.now, scene.clock.now, UTC)
    assert "COVERING INDEX ix_jobs_claim" in plan
    assert "COVERING INDEX ix_jobs_hosted" in plan
    assert "SCAN jobs\n" not in plan
    assert "SCAN ledger" not in plan
