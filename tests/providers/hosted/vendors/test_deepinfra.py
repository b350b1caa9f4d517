"""DeepInfra: pictures as data URIs, flags, seeds, and what was charged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from flux_core.errors import GenerationFailed, ProviderBroken, ProviderClosed, RequestRejected
from tests.providers.hosted.alone import alone
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.deepinfra_standin import CASES, SIDES, DeepInfraStandIn

(CASE,) = CASES


async def test_the_answer_tells_seed_and_cost() -> None:
    async with DeepInfraStandIn() as standin, alone(standin, CASE) as infra:
        done = await infra.draw("flux-schnell", seed=42)
    (body,) = standin.submits
    assert (body["num_images"], body["num_inference_steps"], body["seed"]) == (1, 4, 42)
    assert "guidance_scale" not in body
    assert done.found[0].seed == 42
    assert done.microdollars == 2000
    assert infra.vendor.offers["flux-schnell"].price is not None
    assert infra.vendor.offers["flux-schnell"].price.of(1024, 1024, 4) == 2000


@pytest.mark.parametrize("size", [(1024, 1024), (1360, 768), (640, 1536), (912, 1152), (1568, 672), (256, 256)])
async def test_both_sides_are_among_those_it_draws(size: tuple[int, int]) -> None:
    async with DeepInfraStandIn() as standin, alone(standin, CASE) as infra:
        await infra.draw("flux-dev", size=size, steps=28)
    (body,) = standin.submits
    assert {body["width"], body["height"]} <= set(SIDES)
    assert abs(body["width"] / body["height"] / (size[0] / size[1]) - 1) <= 0.06
    assert body["guidance_scale"] == 3.5


async def test_a_flagged_picture_is_withheld() -> None:
    async with DeepInfraStandIn() as standin, alone(standin, CASE) as infra:
        standin.moderate = {0}
        found = await infra.found()
    assert found.withheld
    assert found.url is None


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ({"images": ["aGFsbG8="]}, "data:image/png;base64,aGFsbG8="),
        ({"images": ["data:image/jpeg;base64,aGFsbG8="]}, "data:image/jpeg;base64,aGFsbG8="),
        ({"images": ["https://x.example/a.png"], "nsfw_content_detected": None}, "https://x.example/a.png"),
    ],
)
async def test_a_picture_comes_in_any_dress(body: Mapping[str, Any], url: str) -> None:
    async with DeepInfraStandIn() as standin, alone(standin, CASE) as infra:
        standin.trouble("submit", Status(200, {**body, "inference_status": {"status": "unknown", "cost": 0.0}}))
        done = await infra.draw()
    assert done.found[0].url == url
    assert done.found[0].seed is None
    assert done.microdollars is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (401, {"detail": {"error": "User is not authenticated"}}, ProviderClosed, "key"),
        (402, {"error": {"message": "inference prohibited, please enter a payment method"}}, ProviderClosed, "credit"),
        (403, {"detail": {"error": "Your balance is too low"}}, ProviderClosed, "credit"),
        (404, {"detail": {"error": "Model is not available"}}, RequestRejected, None),
        (404, {"detail": "Not Found"}, ProviderClosed, "address"),
        (200, {"images": []}, ProviderBroken, None),
        (200, {"images": [None]}, ProviderBroken, None),
        (200, [], ProviderBroken, None),
    ],
)
async def test_an_error_is_known_by_its_words(
    status: int, body: object, kind: type[GenerationFailed], reason: str | None
) -> None:
    async with DeepInfraStandIn() as standin, alone(standin, CASE) as infra:
        standin.trouble("submit", Status(status, body))
        with pytest.raises(GenerationFailed) as caught:
            await infra.draw()
        assert len(standin.submits) == 1
    assert type(caught.value) is kind
    assert reason is None or caught.value.facts["reason"] == reason


async def test_the_check_tells_what_is_left_to_spend() -> None:
    async with DeepInfraStandIn() as standin, alone(standin, CASE) as infra:
        line = await infra.check()
        assert "17.50" in line
        assert "@" not in line
        standin.trouble("free", Status(200, {"uid": "gh:1"}))
        assert await infra.check()
