"""OctoAI's format: many pictures a request, each with a seed and a safety verdict of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flux_core.errors import ProviderBroken, ProviderClosed
from flux_core.family import FLUX_SCHNELL
from flux_core.models import ASPECTS
from flux_core.providers.hosted.vendor import Access, Done
from flux_core.providers.hosted.vendors.octoai import SIZES, OctoAi, allowed_seed
from tests.providers.hosted.alone import Alone, alone, shot
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.octoai_standin import CASES, OctoAiStandIn

(CASE,) = CASES


async def draw_all(octo: Alone, seeds: tuple[int, ...]) -> Done:
    done = await octo.vendor.submit(replace(shot(octo.vendor, "flux-schnell"), seeds=seeds), octo.transport)
    assert isinstance(done, Done)
    return done


async def test_one_request_draws_all_pictures_each_from_its_seed() -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE) as octo:
        done = await draw_all(octo, (7, 8, 9))
    (body,) = standin.submits
    assert (body["num_images"], body["seed"]) == (3, [7, 8, 9])
    assert [found.seed for found in done.found] == [7, 8, 9]
    assert "cfg_scale" not in body


@pytest.mark.parametrize(
    ("ours", "theirs"), [(0, 2**32 - 1), (1, 1), (7, 7), (2**32 - 1, 2**32 - 1), (2**32, 1), (2**32 + 2, 3)]
)
def test_seeds_beyond_the_format_s_go_round(ours: int, theirs: int) -> None:
    assert allowed_seed(ours) == theirs


@pytest.mark.parametrize("tells_seeds", [True, False])
async def test_a_member_reads_the_seed_that_was_used_instead_of_0(tells_seeds: bool) -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE) as octo:
        standin.tells_seeds = tells_seeds
        done = await draw_all(octo, (0, 1))
    assert [found.seed for found in done.found] == [2**32 - 1, 1]
    assert standin.submits[0]["seed"] == [2**32 - 1, 1]


async def test_only_the_picture_that_was_removed_for_safety_is_withheld() -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE) as octo:
        standin.moderate = {1}
        done = await draw_all(octo, (7, 8, 9))
    assert [bool(found.withheld) for found in done.found] == [False, True, False]
    assert [found.seed for found in done.found] == [7, 8, 9]
    assert [found.url is None for found in done.found] == [False, True, False]


async def test_dev_starts_from_a_picture_of_a_listed_size() -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE) as octo:
        await octo.draw("flux-dev", strength=0.4, size=(1248, 832), steps=28)
    (body,) = standin.submits
    assert (body["width"], body["height"]) == (1216, 832)
    assert (body["strength"], body["steps"], body["cfg_scale"]) == (0.4, 28, 3.5)
    assert [picture.size for picture in standin.inputs] == [(1216, 832)]


def test_all_sizes_are_the_list_s_and_no_other_aspect_is_taken() -> None:
    for aspect in ASPECTS:
        size = SIZES.nearest(*FLUX_SCHNELL.size_for_aspect(aspect))
        assert size is None or size in SIZES.listed
    assert SIZES.nearest(1024, 1024) == (1024, 1024)
    assert SIZES.nearest(560, 560) == (512, 512)
    assert SIZES.nearest(912, 1152) is None or SIZES.nearest(912, 1152) == (896, 1152)
    assert SIZES.nearest(1024, 256) is None


async def test_a_server_without_a_key_is_asked_without_one_and_costs_nothing() -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE, key=None) as octo:
        standin.open_to_all = True
        assert (await octo.found()).url
    assert octo.vendor.offers["flux-schnell"].price is None
    paid = OctoAi(Access(base_url="https://octo.example", key="secret")).offers["flux-schnell"].price
    assert paid is not None
    assert paid.of(1024, 1024, 4) == 2000


async def test_a_busy_server_is_asked_again_when_it_says() -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE) as octo:
        standin.trouble("submit", Status(429, {"detail": "Too many requests"}, {"retry-after-ms": "10"}))
        standin.trouble("submit", Status(429, {"detail": "Too many requests"}, {"Retry-After": "0"}))
        assert (await octo.found()).url
        assert len(standin.of_kind("submit")) == 3
        assert len(standin.submits) == 1


@pytest.mark.parametrize("body", [{"images": []}, {"images": None}, {"images": [7]}, [], {"detail": "hm"}])
async def test_an_answer_without_pictures_is_none(body: object) -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE) as octo:
        standin.trouble("submit", Status(200, body))
        with pytest.raises(ProviderBroken):
            await octo.draw()


async def test_a_path_that_is_not_there_is_a_wrong_address() -> None:
    async with OctoAiStandIn() as standin, alone(standin, CASE, models={"flux-schnell": "another"}) as octo:
        with pytest.raises(ProviderClosed) as caught:
            await octo.draw()
    assert caught.value.facts["reason"] == "address"
