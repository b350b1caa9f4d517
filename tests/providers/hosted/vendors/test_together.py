"""Together AI: base64 by wish, two meanings of 422, a size said twice, a CDN that wants to know who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flux_core.errors import GenerationFailed, ProviderBroken, ProviderClosed, Refused, RequestRejected
from flux_core.providers.hosted.vendor import Access, Done
from flux_core.providers.hosted.vendors.together import Together
from tests.providers.hosted.alone import alone, red, shot
from tests.providers.hosted.conftest import desk_for, looks_like
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.together_standin import CASES, FLAGGED, TogetherStandIn, error

(CASE,) = CASES


async def test_base64_is_asked_for_and_no_seed_comes_back() -> None:
    async with TogetherStandIn() as standin, alone(standin, CASE) as together:
        found = await together.found(seed=42)
    (body,) = standin.submits
    assert (body["response_format"], body["output_format"], body["n"]) == ("base64", "png", 1)
    assert (body["seed"], body["steps"]) == (42, 4)
    assert "disable_safety_checker" not in body
    assert found.seed is None
    assert found.url is not None
    assert found.url.startswith("data:")


async def test_a_url_is_taken_too_and_fetched_under_a_name() -> None:
    async with desk_for(CASE) as desk:
        assert isinstance(desk.standin, TogetherStandIn)
        desk.standin.gives_urls = True
        drawing = await desk.draw(desk.task("flux-schnell", seed=42, count=1))
    assert looks_like(drawing.pictures[0].image, 42)
    (fetched,) = desk.standin.of_kind("file")
    assert fetched.headers["User-Agent"]
    assert "Authorization" not in fetched.headers


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("flux-schnell", (1360, 768), {"width": 1360, "height": 768, "aspect_ratio": "16:9"}),
        ("flux-schnell", (1024, 512), {"width": 1024, "height": 512}),
        ("flux-pro-1.1", (1024, 1024), {"model": "black-forest-labs/FLUX.1.1-pro", "width": 1024}),
        ("flux-pro-1.1", (1360, 768), {"width": 1376, "height": 768}),
        ("flux-kontext-pro", (1024, 1024), {"model": "black-forest-labs/FLUX.1-kontext-pro", "aspect_ratio": "1:1"}),
        ("flux-2-pro", (2048, 1024), {"model": "black-forest-labs/FLUX.2-pro", "width": 2048, "height": 1024}),
        ("flux-dev", (1024, 1024), {"model": "studio/FLUX.1-dev-7f3a", "guidance_scale": 3.5}),
    ],
)
async def test_each_model_is_asked_in_its_own_terms(
    model: str, size: tuple[int, int], expected: Mapping[str, Any]
) -> None:
    async with TogetherStandIn() as standin, alone(standin, CASE) as together:
        await together.draw(model, size=size)
    (body,) = standin.submits
    assert {name: body[name] for name in expected} == expected
    assert ("aspect_ratio" in body) is ("aspect_ratio" in expected)
    assert ("steps" in body) is (model in ("flux-schnell", "flux-dev"))


@pytest.mark.parametrize(("model", "field"), [("flux-kontext-pro", "image_url"), ("flux-2-pro", "reference_images")])
async def test_a_picture_goes_as_a_link(model: str, field: str) -> None:
    async with TogetherStandIn() as standin, alone(standin, CASE) as together:
        order = shot(together.vendor, model)

        async def link() -> str:
            return await standin.publish(red(order.size), "image/png")

        done = await together.vendor.submit(replace(order, picture=red(order.size), link=link), together.transport)
        assert isinstance(done, Done)
        with pytest.raises(RequestRejected):
            await together.vendor.submit(replace(order, picture=red(order.size)), together.transport)
    (body,) = standin.submits
    (url,) = standin.stored
    assert body[field] == ([url] if field == "reference_images" else url)
    assert [picture.size for picture in standin.inputs] == [order.size]


def test_dev_is_drawn_only_where_the_operator_names_an_endpoint() -> None:
    assert "flux-dev" not in Together(Access(base_url="https://together.example", key="secret")).offers
    models = {"flux-dev": "studio/dev"}
    assert (
        Together(Access(base_url="https://t.example", key="s", models=models)).offers["flux-dev"].theirs == "studio/dev"
    )


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, error(FLAGGED), Refused),
        (422, error("Unprocessable Entity"), Refused),
        (422, error(FLAGGED, param="prompt"), Refused),
        (422, {"error": "NSFW content: safety checker must be satisfied"}, Refused),
        (422, error("", param="steps"), RequestRejected),
        (422, error("width must be a multiple of 8"), RequestRejected),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "field required"}]}, RequestRejected),
        (422, "<html>No</html>", RequestRejected),
        (400, error("The prompt was flagged as NSFW"), Refused),
        (404, error("Unable to access model x. Please visit", code="model_not_available"), RequestRejected),
        (403, error("The request is too long"), RequestRejected),
        (403, error("This API key has no permission"), ProviderClosed),
        (402, error("Credit limit exceeded"), ProviderClosed),
    ],
)
async def test_an_error_is_known_by_its_words(status: int, body: object, kind: type[GenerationFailed]) -> None:
    async with TogetherStandIn() as standin, alone(standin, CASE) as together:
        standin.trouble("submit", Status(status, body))
        with pytest.raises(GenerationFailed) as caught:
            await together.draw()
        assert len(standin.submits) == 1
    assert type(caught.value) is kind


@pytest.mark.parametrize("body", [{"data": []}, {"data": [{"index": 0, "type": "b64_json"}]}, [], {"data": "x"}])
async def test_an_answer_without_a_picture_is_none(body: object) -> None:
    async with TogetherStandIn() as standin, alone(standin, CASE) as together:
        standin.trouble("submit", Status(200, body))
        with pytest.raises(ProviderBroken):
            await together.draw()


async def test_the_check_lists_models() -> None:
    async with TogetherStandIn() as standin, alone(standin, CASE) as together:
        assert "5 models" in await together.check()
        standin.trouble("free", Status(200, {"data": []}))
        with pytest.raises(ProviderClosed):
            await together.check()
