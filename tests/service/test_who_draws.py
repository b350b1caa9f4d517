"""Who may draw what is submitted, what nobody could draw, and what communities prefer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flux_core.catalogue import Catalogue
from flux_core.errors import FluxError, NobodyDraws, UnknownProvider
from flux_core.generation import GenerationRequest, InputPicture
from flux_core.jobs import Origin
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes
from flux_core.router import LOCAL, RoutingPolicy
from flux_core.service import Studio, Submission
from tests.database.scene import ABROAD, ANNE, DEV, SCHNELL, Scene, a_request, a_scene, rules

PRO = "flux-pro-1.1"
OFFERS = {
    "acme": {PRO: Offer(theirs="pro"), SCHNELL: Offer(theirs="s", sizes=Sizes(listed=((1024, 1024),)))},
    "bolt": {SCHNELL: Offer(theirs="s", steps=Range(low=1, high=4), image_input=ImageInput.LINK)},
}
CATALOGUE = Catalogue({SCHNELL: "x"}, hosted=[PRO, DEV, SCHNELL])


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A studio with weights of its own for one model, and two hosted providers."""
    async with a_scene(database_url, tmp_path, catalogue=CATALOGUE, offers=OFFERS) as scene:
        yield scene


def pro(**changes: object) -> GenerationRequest:
    """A request that only a hosted provider can draw."""
    return a_request().model_copy(update={"model": PRO, "steps": 1, **changes})


def edit(**changes: object) -> GenerationRequest:
    """A request that starts from a picture."""
    picture = InputPicture(key="inputs/a.png", width=64, height=64)
    return a_request().model_copy(update={"input_picture": picture, "strength": 0.5, **changes})


async def refusal(scene: Scene, request: GenerationRequest, origin: Origin = Origin.IMAGINE) -> FluxError | None:
    """Return why a request is refused; checking and submitting say the same."""
    said: list[FluxError | None] = []
    for ask in (
        scene.studio.check(ANNE, request, origin=origin),
        scene.submit(ANNE, request=request, origin=origin),
    ):
        try:
            await ask
        except FluxError as error:
            said.append(error)
        else:
            said.append(None)
    assert [error and (error.code, error.facts) for error in said[:1]] == [
        error and (error.code, error.facts) for error in said[1:]
    ]
    return said[0]


@pytest.mark.parametrize(
    ("request_", "venue"),
    [
        (a_request(), "any"),
        (a_request(provider="local"), "local"),
        (a_request(provider="ACME"), "hosted"),
        (pro(), "hosted"),
        (pro(provider="acme"), "hosted"),
    ],
)
async def test_who_may_draw_follows_from_the_request(house: Scene, request_: GenerationRequest, venue: str) -> None:
    job = await house.submit(request=request_)
    assert job.venue == venue
    assert await house.studio.job(job.id) == job


async def test_with_hosted_first_a_job_is_for_those_that_can_draw_it(house: Scene) -> None:
    await house.studio.set_routing(ANNE.guild_id, RoutingPolicy(first="hosted", providers=("bolt",)), by=1)
    assert (await house.submit(ANNE)).venue == "hosted"
    assert (await house.submit(ANNE, request=a_request(steps=12))).venue == "any"
    assert (await house.submit(ABROAD)).venue == "any"


async def test_an_unknown_provider_is_named_with_the_known_ones(house: Scene) -> None:
    error = await refusal(house, a_request(provider="acne"))
    assert isinstance(error, UnknownProvider)
    assert error.facts == {"value": "acne", "known": ["local", "acme", "bolt"]}
    await house.vendor("acne")
    assert await refusal(house, a_request(provider="acne")) is None


@pytest.mark.parametrize(
    "request_",
    [
        a_request(DEV),  # in the catalogue, but offered by nobody
        pro(provider="local"),
        pro(provider="bolt"),
        a_request(provider="acme", size="1024x768"),
        a_request(provider="bolt", steps=5),
        edit(provider="acme"),
        edit(provider="bolt"),  # it fetches pictures from links, and this store has none
    ],
)
async def test_what_nobody_draws_is_refused_before_it_costs(house: Scene, request_: GenerationRequest) -> None:
    error = await refusal(house, request_)
    assert isinstance(error, NobodyDraws)
    assert error.facts["model"] == request_.model
    assert set(error.facts["reasons"]) == {"local", "acme", "bolt"}
    assert (await house.studio.quota(ANNE)).spent == 0


async def test_a_variation_may_leave_its_picture_aside(house: Scene) -> None:
    assert await refusal(house, edit(provider="acme"), Origin.VARIATION) is None


async def test_a_provider_that_is_closed_for_now_is_not_nobody(house: Scene) -> None:
    await house.vendor("acme", PRO, closed="no credit", money_cap=30_000)
    assert await refusal(house, pro()) is None


async def test_what_costs_more_than_a_day_allows_is_refused(house: Scene, database_url: str, tmp_path: Path) -> None:
    await house.vendor("acme", PRO, money_cap=59_999)
    assert await refusal(house, pro()) is None
    error = await refusal(house, pro(count=2))
    assert isinstance(error, NobodyDraws)
    assert "in a day" in error.facts["reasons"]["acme"]
    studio = Studio(
        house.db,
        house.store,
        CATALOGUE,
        rules(),
        offers={"bolt": {PRO: Offer(theirs="p", price=Price(picture=1))}},
        caps={"bolt": 999_999},
    )
    await house.queue.retire("acme")
    with pytest.raises(NobodyDraws):  # no worker of it is up: what is set counts
        await studio.check(ANNE, pro())


async def test_models_drawn_elsewhere_wait_for_no_cards_that_nobody_has_seen(house: Scene) -> None:
    studio = Studio(house.db, house.store, CATALOGUE, rules(), elsewhere=[DEV, SCHNELL])

    async def venue(request: GenerationRequest) -> str:
        return (await studio.submit(Submission(account=ANNE, request=request, origin=Origin.IMAGINE))).venue

    assert await venue(a_request(DEV)) == "any", "nobody is up yet"
    await house.vendor("acme", DEV)
    assert await venue(a_request(DEV)) == "hosted"
    assert await venue(a_request(DEV, provider="local")) == "local"
    assert await venue(a_request(SCHNELL)) == "any"
    await house.queue.record_speed(LOCAL, DEV, 28, 28.0)
    assert await venue(a_request(DEV)) == "any", "cards of our own drew it before, and may be back"


async def test_a_community_that_forbids_providers_cannot_have_their_models(house: Scene) -> None:
    await house.studio.set_routing(ANNE.guild_id, RoutingPolicy(providers=()), by=1)
    assert isinstance(await refusal(house, pro()), NobodyDraws)
    assert (await house.submit(ABROAD, request=pro())).venue == "hosted"


async def test_a_repeated_submit_finds_its_job_whoever_draws_by_now(house: Scene) -> None:
    first = await house.submit(ANNE, request=pro(), key="interaction-1")
    await house.studio.set_routing(ANNE.guild_id, RoutingPolicy(providers=()), by=1)
    assert (await house.submit(ANNE, request=pro(), key="interaction-1")).id == first.id


async def test_a_policy_is_the_guilds_or_the_operators(database_url: str, tmp_path: Path) -> None:
    default = RoutingPolicy(order="fastest", overflow_seconds=30)
    async with a_scene(database_url, tmp_path, policy=default) as scene:
        assert await scene.studio.routing_of(7) == default
        for policy in (RoutingPolicy(first="hosted"), RoutingPolicy(providers=("acme", "bolt"))):
            await scene.studio.set_routing(7, policy, by=1)
            assert await scene.studio.routing_of(7) == policy
        assert await scene.studio.routing_of(8) == default


async def test_living_workers_are_told_as_they_introduced_themselves(house: Scene) -> None:
    ours = await house.worker("w1")
    vendor = await house.vendor("acme", PRO, money_cap=5_000_000, links=True, device="api.acme.test")
    await house.queue.beat("acme", closed="bad key")
    first, second = await house.studio.venues()
    assert {first.provider, second.provider} == {"acme", "local"}
    told = first if first.provider == "acme" else second
    assert (told.offers, told.models, told.closed) == (vendor.offers, (PRO,), "bad key")
    assert (told.hosted, told.slots, told.links, told.money_cap) == (True, 4, True, 5_000_000)
    assert ours.models == (SCHNELL,)
    house.clock.now += 31
    assert await house.studio.venues() == []
