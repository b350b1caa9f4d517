"""Which jobs a hosted provider's worker is given, and which it leaves to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from flux_core.catalogue import Catalogue
from flux_core.database import hosted
from flux_core.errors import LeaseLost
from flux_core.generation import InputPicture
from flux_core.jobs import Account, JobState, Origin
from flux_core.offers import ImageInput, Offer
from flux_core.router import LOCAL, RoutingPolicy
from tests.database.scene import (
    ABROAD,
    ANNE,
    BERT,
    CLEO,
    DAY,
    DEV,
    NOON,
    SCHNELL,
    TINY,
    Scene,
    a_request,
    a_scene,
)

HOSTED_FIRST = RoutingPolicy(first="hosted")


async def pile_up(scene: Scene, seconds: float) -> None:
    """Let our own card have ``seconds`` of work before anything that comes now."""
    await scene.worker("w1")
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, seconds)
    await scene.submit(ABROAD, request=a_request(provider=LOCAL))
    await scene.claim("w1")


async def test_without_cards_of_our_own_the_provider_draws_and_the_job_says_why(scene: Scene) -> None:
    job = await scene.submit()
    await scene.vendor()
    claimed = await scene.claim_hosted()
    assert (claimed.id, claimed.state, claimed.worker_id, claimed.provider) == (
        job.id,
        JobState.RUNNING,
        "acme",
        "acme",
    )
    assert (claimed.attempts, claimed.lease_until, claimed.started_at) == (1, NOON + 30, NOON)
    [remark] = claimed.remarks
    assert (remark.code, remark.facts["provider"]) == ("routed", "acme")
    assert await scene.studio.job(job.id) == claimed
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    assert await scene.queue.claim_hosted("acme") is None


async def test_our_own_cards_get_a_moment_to_come_back(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, policy=RoutingPolicy(return_seconds=20)) as scene:
        job = await scene.submit()
        await scene.vendor()
        assert await scene.queue.claim_hosted("acme") is None
        scene.clock.now += 19
        await scene.queue.beat("acme")
        assert await scene.queue.claim_hosted("acme") is None
        scene.clock.now += 1
        assert (await scene.claim_hosted()).id == job.id


async def test_at_a_start_they_get_it_for_what_waited_all_night_as_well(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, policy=RoutingPolicy(return_seconds=20)) as scene:
        job = await scene.submit()
        scene.clock.now += 8 * 3600
        await scene.vendor()
        assert await scene.queue.claim_hosted("acme") is None
        scene.clock.now += 20
        await scene.queue.beat("acme")
        assert (await scene.claim_hosted()).id == job.id


async def test_only_a_living_open_hosted_worker_with_room_gets_jobs(scene: Scene) -> None:
    await scene.submit(ANNE)
    await scene.submit(BERT)
    assert await scene.queue.claim_hosted("acme") is None
    await scene.worker("w1", TINY)
    assert await scene.queue.claim_hosted("w1") is None
    await scene.vendor(slots=1)
    await scene.queue.beat("acme", closed="no credit")
    assert await scene.queue.claim_hosted("acme") is None
    await scene.queue.beat("acme")
    scene.clock.now += 31
    assert await scene.queue.claim_hosted("acme") is None
    await scene.queue.beat("acme")
    await scene.claim_hosted()
    assert await scene.queue.claim_hosted("acme") is None


async def test_two_workers_of_one_provider_share_its_room(scene: Scene) -> None:
    for account in (ANNE, BERT, CLEO):
        await scene.submit(account)
    await scene.vendor("acme", worker="a1", slots=1)
    await scene.vendor("acme", worker="a2", slots=1)
    await scene.claim_hosted("a1")
    await scene.claim_hosted("a2")
    assert await scene.queue.claim_hosted("a1") is None


@pytest.mark.parametrize(("busy", "overflows"), [(50.0, False), (61.0, True)])
async def test_a_job_overflows_when_our_card_would_take_two_minutes(scene: Scene, busy: float, overflows: bool) -> None:
    await pile_up(scene, busy)
    await scene.vendor()
    job = await scene.submit(ANNE)
    claimed = await scene.queue.claim_hosted("acme")
    assert (claimed and claimed.id) == (job.id if overflows else None)


async def test_the_first_job_that_overflows_goes_however_many_stand_before_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "ROUTED", 2)
    async with a_scene(database_url, tmp_path, max_waiting=100) as scene:
        await scene.worker("w1")
        await scene.vendor()
        await scene.queue.record_speed(LOCAL, SCHNELL, 4, 10.0)
        jobs = [await scene.submit(ANNE) for _ in range(14)]
        # The twelfth is done after 120 s, the thirteenth after 130.
        assert (await scene.claim_hosted()).id == jobs[12].id
        assert (await scene.claim("w1")).id == jobs[0].id


async def test_overtaking_does_not_send_newcomers_to_the_end(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, max_waiting=100) as scene:
        await scene.worker("w1")
        await scene.vendor()
        await scene.queue.record_speed(LOCAL, SCHNELL, 4, 10.0)
        jobs = [await scene.submit(ANNE) for _ in range(14)]
        await scene.claim("w1")
        assert (await scene.claim_hosted()).start_tag >= 11_000
        newcomer = await scene.submit(BERT)
        assert newcomer.start_tag == jobs[1].start_tag


async def test_a_provider_alone_moves_virtual_time_on(scene: Scene) -> None:
    await scene.vendor()
    for _ in range(3):
        await scene.submit(ANNE)
    for _ in range(3):
        await scene.claim_hosted()
    assert (await scene.submit(BERT)).start_tag == 2000.0


async def test_whoever_was_asked_for_draws(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor("acme")
    await scene.vendor("bolt", cents=1)
    named = await scene.submit(ANNE, request=a_request(provider="acme"))
    ours = await scene.submit(BERT, request=a_request(provider="local"))
    assert await scene.queue.claim_hosted("bolt") is None
    assert (await scene.claim_hosted("acme")).id == named.id
    assert await scene.queue.claim_hosted("acme") is None
    assert (await scene.claim("w1")).id == ours.id
    assert await scene.queue.claim("w1", [SCHNELL]) is None


async def test_the_cheapest_comes_first_and_the_next_when_it_has_its_hands_full(scene: Scene) -> None:
    await scene.vendor("acme", cents=3)
    await scene.vendor("bolt", cents=1, slots=1)
    first, second = await scene.submit(ANNE), await scene.submit(BERT)
    assert await scene.queue.claim_hosted("acme") is None
    assert (await scene.claim_hosted("bolt")).id == first.id
    assert (await scene.claim_hosted("acme")).id == second.id


async def test_the_fastest_comes_first_where_that_is_wished(scene: Scene) -> None:
    await scene.vendor("acme", cents=3)
    await scene.vendor("bolt", cents=1)
    await scene.queue.record_speed("acme", SCHNELL, 4, 1.0)
    await scene.queue.record_speed("bolt", SCHNELL, 4, 9.0)
    await scene.studio.set_routing(ANNE.guild_id, RoutingPolicy(order="fastest", return_seconds=0), by=1)
    await scene.submit(ANNE)
    assert await scene.queue.claim_hosted("bolt") is None
    assert await scene.queue.claim_hosted("acme") is not None


async def test_the_money_of_a_day_is_a_limit(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, zone="America/New_York") as scene:
        await scene.vendor(cents=3, money_cap=70_000)
        for _ in range(3):
            await scene.submit()
        for _ in range(2):
            job = await scene.claim_hosted()
            assert await scene.spent(job) == {"acme": 30_000}
        assert await scene.studio.spent_today() == {"acme": 60_000}
        assert await scene.queue.claim_hosted("acme") is None
        scene.clock.now += DAY / 2  # midnight in London, not there
        await scene.queue.beat("acme")
        assert await scene.queue.claim_hosted("acme") is None
        scene.clock.now += DAY / 4
        await scene.queue.beat("acme")
        assert await scene.studio.spent_today() == {}
        assert await scene.queue.claim_hosted("acme") is not None


async def test_what_costs_nothing_is_not_counted(scene: Scene) -> None:
    await scene.vendor(cents=None)
    job = await scene.submit()
    await scene.claim_hosted()
    assert await scene.spent(job) == {}


async def test_a_job_for_hosted_providers_is_left_to_our_cards_when_the_money_is_spent(
    database_url: str, tmp_path: Path
) -> None:
    async with a_scene(database_url, tmp_path, policy=HOSTED_FIRST) as scene:
        await scene.worker("w1")
        await scene.vendor(money_cap=50_000)
        await scene.submit()
        await scene.claim_hosted()  # for 30,000
        job = await scene.submit()
        assert job.venue == "hosted"
        assert await scene.queue.claim("w1", [SCHNELL]) is None
        assert await scene.queue.claim_hosted("acme") is None
        assert (await scene.studio.job(job.id)).venue == "any"
        assert (await scene.claim("w1")).id == job.id


async def test_what_no_hosted_provider_asks_for_is_left_to_our_cards(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, policy=HOSTED_FIRST) as scene:
        await scene.vendor()
        job = await scene.submit(ANNE)
        named = await scene.submit(BERT, request=a_request(provider="acme"))
        assert await scene.queue.admit_local() == 0
        await scene.worker("w1")
        assert await scene.queue.admit_local() == 0
        await scene.queue.beat("acme", closed="no answer")
        assert await scene.queue.admit_local() == 1
        assert (await scene.claim("w1")).id == job.id
        assert await scene.queue.claim("w1", [SCHNELL]) is None
        assert (await scene.studio.job(named.id)).venue == "hosted"


async def test_a_submitted_job_goes_back_to_its_provider_alone_and_first(scene: Scene) -> None:
    await scene.vendor("acme", slots=1)
    await scene.vendor("bolt", worker="b1", cents=9)
    earlier = await scene.submit(ANNE, request=a_request(provider="acme"))
    job = await scene.submit(BERT)
    await scene.claim_hosted("acme")
    await scene.claim_hosted("b1")
    await scene.queue.submitted("b1", job.id, "bolt", "prediction-1")
    await scene.queue.hand_back("acme", earlier.id)
    await scene.queue.retire("b1")
    await scene.queue.rescue()
    await scene.worker("w1")
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    assert (await scene.claim_hosted("acme")).id == earlier.id
    await scene.vendor("bolt", worker="b2", closed="no credit", slots=0)
    again = await scene.claim_hosted("b2")
    assert (again.id, again.provider_job_id) == (job.id, "prediction-1")
    assert [remark.code for remark in again.remarks] == ["routed"]
    assert await scene.spent(job) == {"bolt": 90_000}


async def test_an_empty_id_unbinds(scene: Scene) -> None:
    await scene.vendor("acme")
    job = await scene.submit()
    await scene.claim_hosted()
    await scene.queue.submitted("acme", job.id, "acme", "about to submit")
    assert (await scene.studio.job(job.id)).provider_job_id == "about to submit"
    await scene.queue.submitted("acme", job.id, "acme", "")
    assert (await scene.studio.job(job.id)).provider_job_id is None
    await scene.queue.hand_back("acme", job.id)
    assert await scene.spent(job) == {"acme": 0}
    await scene.worker("w1")
    assert (await scene.claim("w1")).id == job.id
    with pytest.raises(LeaseLost):
        await scene.queue.submitted("acme", job.id, "acme", "")


async def test_paused_guilds_are_passed_by(scene: Scene) -> None:
    await scene.vendor()
    held, abroad = await scene.submit(ANNE), await scene.submit(ABROAD)
    await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
    assert (await scene.claim_hosted()).id == abroad.id
    assert await scene.queue.claim_hosted("acme") is None
    await scene.queue.hand_back("acme", abroad.id)
    await scene.studio.line.resume(ANNE.guild_id, by=1)
    await scene.studio.line.pause(None, by=1, reason="moving house")
    assert await scene.queue.claim_hosted("acme") is None
    await scene.studio.line.resume(None, by=1)
    assert (await scene.claim_hosted()).id == held.id


@pytest.mark.parametrize(("provider", "ours", "theirs"), [("local", True, False), ("acme", False, True)])
async def test_a_pause_keeps_in_mind_who_may_draw(scene: Scene, provider: str, ours: bool, theirs: bool) -> None:
    await scene.vendor()
    await scene.worker("w1")
    job = await scene.submit(request=a_request(provider=provider))
    for _ in range(2):
        assert (await scene.column(job, "waits_for") is not None) == ours
        assert (await scene.column(job, "waits_hosted") is not None) == theirs
        await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
        assert await scene.column(job, "waits_for") is None
        assert await scene.column(job, "waits_hosted") is None
        await scene.studio.line.resume(ANNE.guild_id, by=1)


async def test_a_guild_decides_for_itself(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor("acme")
    await scene.studio.set_routing(ABROAD.guild_id, HOSTED_FIRST, by=1)
    here, abroad = await scene.submit(ANNE), await scene.submit(ABROAD)
    assert (here.venue, abroad.venue) == ("any", "hosted")
    assert (await scene.claim_hosted()).id == abroad.id
    # A change of mind counts for what waits.
    await scene.studio.set_routing(ANNE.guild_id, HOSTED_FIRST, by=1)
    assert (await scene.claim_hosted()).id == here.id


async def test_providers_can_be_forbidden(scene: Scene) -> None:
    await scene.worker("w1")
    await scene.vendor("acme")
    await scene.studio.set_routing(ANNE.guild_id, RoutingPolicy(first="hosted", providers=()), by=1)
    assert (await scene.submit(ANNE)).venue == "any"
    assert await scene.queue.claim_hosted("acme") is None


async def test_a_model_without_weights_is_for_hosted_providers(database_url: str, tmp_path: Path) -> None:
    catalogue = Catalogue({SCHNELL: "x"}, hosted=["flux-pro-1.1"])
    offers = {"acme": {"flux-pro-1.1": Offer(theirs="pro")}}
    async with a_scene(database_url, tmp_path, catalogue=catalogue, offers=offers) as scene:
        request = a_request().model_copy(update={"model": "flux-pro-1.1", "steps": 1})
        job = await scene.submit(request=request)
        assert job.venue == "hosted"
        await scene.worker("w1", SCHNELL)
        assert await scene.queue.admit_local() == 0
        await scene.vendor("acme", "flux-pro-1.1")
        assert (await scene.claim_hosted()).id == job.id


async def test_a_variation_may_be_drawn_from_words_where_nobody_starts_from_pictures(scene: Scene) -> None:
    await scene.vendor("wordy", cents=1, image_input=None)
    picture = InputPicture(key="inputs/a.png", width=64, height=64)
    request = a_request().model_copy(update={"input_picture": picture, "strength": 0.5})
    varied = await scene.submit(ANNE, request=request, origin=Origin.VARIATION)
    asked = await scene.submit(BERT, request=request)
    assert (await scene.claim_hosted("wordy")).id == varied.id
    assert await scene.queue.claim_hosted("wordy") is None
    await scene.vendor("acme", image_input=ImageInput.UPLOAD)
    assert (await scene.claim_hosted("acme")).id == asked.id


async def test_models_come_in_one_line(scene: Scene) -> None:
    await scene.vendor("acme", SCHNELL, DEV)
    first = await scene.submit(ANNE, request=a_request(DEV, steps=4))
    second = await scene.submit(BERT)
    third = await scene.submit(ANNE, request=a_request(DEV, steps=4))
    assert [(await scene.claim_hosted()).id for _ in range(3)] == [first.id, second.id, third.id]


async def test_a_long_line_of_one_guild_does_not_hide_another_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait: what is looked at are the first ones of the guilds whose turns come first."""
    monkeypatch.setattr(hosted, "LOOKED_AT", 4)
    await scene.vendor()
    flood = [await scene.submit(Account(7, user), request=a_request(provider="acme")) for user in range(1, 9)]
    theirs = [await scene.submit(ABROAD, request=a_request(provider="acme")) for _ in range(2)]
    order = [(await scene.claim_hosted()).id for _ in range(4)]
    assert order == [flood[0].id, theirs[0].id, flood[1].id, theirs[1].id]
