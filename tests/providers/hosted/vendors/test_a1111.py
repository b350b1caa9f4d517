"""A1111 and Forge: one lane, seeds in a JSON text, Basic auth, and nothing that stops somebody else's drawing."""

from __future__ import annotations

import asyncio
import base64
import io

import pytest
from PIL import Image

from flux_core.errors import ConfigurationError, ProviderBroken, ProviderClosed
from flux_core.providers.hosted.vendor import Access, Done, Found
from flux_core.providers.hosted.vendors.a1111 import A1111
from flux_core.providers.scripted import colour_of
from tests.providers.hosted.alone import alone, shot
from tests.providers.hosted.troubles import Html, Status
from tests.providers.hosted.vendors.a1111_standin import CASES, A1111StandIn

(CASE,) = CASES


def pixels(found: Found) -> Image.Image:
    assert found.url is not None
    return Image.open(io.BytesIO(base64.b64decode(found.url.partition(",")[2], validate=True)))


async def test_one_call_draws_one_picture_with_the_distilled_guidance() -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        found = await server.found("flux-dev", seed=42, steps=28, size=(1360, 768))
    (body,) = standin.submits
    assert (body["seed"], body["steps"], body["n_iter"], body["batch_size"]) == (42, 28, 1, 1)
    assert (body["width"], body["height"]) == (1360, 768)
    assert (body["cfg_scale"], body["distilled_cfg_scale"]) == (1, 3.5)
    assert body["override_settings"] == {"sd_model_checkpoint": "flux1-dev"}
    assert body["save_images"] is False
    assert found.seed == 42
    assert pixels(found).getpixel((5, 5)) == colour_of(42)


async def test_schnell_has_no_guidance() -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        await server.draw("flux-schnell")
    assert "distilled_cfg_scale" not in standin.submits[0]


async def test_a_picture_to_start_from_travels_inside() -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        await server.draw("flux-dev", strength=0.3, size=(768, 512))
    assert standin.submits[0]["denoising_strength"] == 0.3
    assert [seen.path for seen in standin.of_kind("submit")] == ["/sdapi/v1/img2img"]
    assert [picture.size for picture in standin.inputs] == [(768, 512)]


@pytest.mark.parametrize("grid", [False, True])
async def test_several_seeds_follow_each_other_and_a_grid_is_left_aside(grid: bool) -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        standin.grid = grid
        one = shot(server.vendor, "flux-schnell", size=(256, 256))
        several = type(one)(
            request=one.request, offer=one.offer, size=one.size, seeds=(7, 8, 9), client_id=one.client_id
        )
        done = await server.vendor.submit(several, server.transport)
    assert isinstance(done, Done)
    assert [found.seed for found in done.found] == [7, 8, 9]
    assert [pixels(found).getpixel((5, 5)) for found in done.found] == [colour_of(seed) for seed in (7, 8, 9)]


async def test_pictures_may_come_as_data_uris() -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        standin.prefix_images = "data:image/png;base64,"
        assert pixels(await server.found(seed=3)).getpixel((5, 5)) == colour_of(3)


@pytest.mark.parametrize("info", ["", "not JSON", "[]", '{"all_seeds": "x"}', None, {"all_seeds": [9]}])
async def test_an_info_that_tells_nothing_leaves_the_seed_as_asked(info: object) -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        standin.trouble("submit", Status(200, {"images": ["aGk="], "info": info}))
        found = await server.found()
    assert found.seed is None
    assert found.url is not None


@pytest.mark.parametrize("body", [{}, {"images": []}, {"images": [None]}, {"images": None}, [1]])
async def test_an_answer_without_a_picture_is_broken(body: object) -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        standin.trouble("submit", Status(200, body))
        with pytest.raises(ProviderBroken):
            await server.draw()


async def test_a_page_instead_of_a_picture_is_broken() -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        standin.trouble("submit", Html())
        with pytest.raises(ProviderBroken):
            await server.draw()


async def test_a_slow_lane_is_waited_for_and_nobody_is_interrupted() -> None:
    async with A1111StandIn() as standin, alone(standin, CASE) as server:
        standin.seconds = 0.1
        first = asyncio.create_task(server.draw(seed=1))
        second = asyncio.create_task(server.draw(seed=2))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.wait([first, second])
        assert first.result().found
        await server.vendor.cancel("anything", server.transport)
    assert standin.most_waiting == 2
    assert standin.cancelled == []


async def test_the_key_is_a_user_and_a_password() -> None:
    async with A1111StandIn() as standin:
        async with alone(standin, CASE) as server:
            await server.check()
        async with alone(standin, CASE, key="studio:wrong") as stranger:
            with pytest.raises(ProviderClosed) as closed:
                await stranger.check()
        async with alone(standin, CASE, key=None) as stranger:
            with pytest.raises(ProviderClosed):
                await stranger.check()
    assert closed.value.facts["reason"] == "key"


@pytest.mark.parametrize("key", ["letters-only", ":only-a-word", "somebody:"])
def test_another_key_is_noticed_at_the_start_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        A1111(Access(base_url="http://a", key=key))
    assert "user:password" in str(error.value)
    assert key not in str(error.value)


async def test_the_check_says_which_checkpoint_is_missing() -> None:
    async with A1111StandIn() as standin:
        async with alone(standin, CASE) as server:
            assert "none" not in await server.check()
        async with alone(standin, CASE, models={"flux-dev": "flux1-krea"}) as server:
            assert set(server.vendor.offers) == {"flux-dev"}
            assert "flux1-krea" in await server.check()


async def test_a_server_without_its_api_is_a_wrong_address() -> None:
    async with A1111StandIn() as standin, alone(standin, CASE, base_url=standin.base_url + "/page") as server:
        with pytest.raises(ProviderClosed) as closed:
            await server.draw()
    assert closed.value.facts["reason"] == "address"
    assert "--api" in str(closed.value)
