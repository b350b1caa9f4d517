"""AI/ML API: three shapes of answer, sizes for each model, pictures as links, errors that hide behind 403 and 504."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest

from flux_core.errors import OutcomeUnknown, ProviderBroken, ProviderClosed, ProviderDown, Refused, RequestRejected
from flux_core.providers.hosted.vendor import Done
from tests.providers.hosted.alone import Alone, alone, red, shot
from tests.providers.hosted.conftest import desk_for, looks_like
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.aimlapi_standin import CASES, NO_CREDIT, AimlApiStandIn, error

(CASE,) = CASES


async def draw_from_a_picture(standin: AimlApiStandIn, aiml: Alone, model: str, strength: float | None) -> None:
    order = shot(aiml.vendor, model)
    picture = red(order.size)

    async def link() -> str:
        return await standin.publish(picture, "image/png")

    request = order.request.model_copy(update={"strength": strength})
    done = await aiml.vendor.submit(replace(order, request=request, picture=picture, link=link), aiml.transport)
    assert isinstance(done, Done)
    assert done.found[0].url


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("shape", ["images", "data", "choices"])
@pytest.mark.parametrize("format", ["jpeg", "png"])
async def test_every_shape_of_answer_is_read(
    shape: Literal["images", "data", "choices"], status: int, format: str
) -> None:
    async with desk_for(CASE) as desk:
        assert isinstance(desk.standin, AimlApiStandIn)
        desk.standin.shape, desk.standin.status, desk.standin.format = shape, status, format
        drawing = await desk.draw(desk.task("flux-schnell", seed=42, count=1))
    (picture,) = drawing.pictures
    assert picture.seed == 42
    assert looks_like(picture.image, 42)
    assert len(desk.standin.of_kind("file")) == (0 if shape == "choices" else 1)


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("flux-dev", (1360, 768), {"model": "flux/dev", "image_size": {"width": 1376, "height": 768}}),
        ("flux-dev", (256, 256), {"image_size": {"width": 512, "height": 512}}),
        ("flux-dev", (2048, 2048), {"image_size": {"width": 1536, "height": 1536}}),
        ("flux-schnell", (256, 256), {"model": "flux/schnell", "image_size": {"width": 256, "height": 256}}),
        ("flux-pro-1.1", (1024, 1024), {"model": "flux-pro/v1.1", "output_format": "png"}),
        ("flux-kontext-pro", (1024, 1024), {"model": "flux/kontext-pro/text-to-image", "aspect_ratio": "1:1"}),
        ("flux-kontext-pro", (1360, 768), {"aspect_ratio": "16:9"}),
        ("flux-2-pro", (1024, 1024), {"model": "blackforestlabs/flux-2-pro"}),
    ],
)
async def test_each_model_is_asked_in_its_own_terms(
    model: str, size: tuple[int, int], expected: Mapping[str, Any]
) -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        await aiml.draw(model, size=size)
    (body,) = standin.submits
    assert {name: body[name] for name in expected} == expected
    assert ("image_size" in body) is ("aspect_ratio" not in body)
    assert ("num_inference_steps" in body) is (model in ("flux-dev", "flux-schnell"))
    assert ("guidance_scale" in body) is (model == "flux-dev")


@pytest.mark.parametrize(
    ("model", "strength", "name", "field"),
    [
        ("flux-dev", 0.4, "flux/dev/image-to-image", "image_url"),
        ("flux-kontext-pro", None, "flux/kontext-pro/image-to-image", "image_url"),
        ("flux-2-pro", None, "blackforestlabs/flux-2-pro-edit", "image_urls"),
    ],
)
async def test_a_picture_goes_as_a_link_to_a_model_of_another_name(
    model: str, strength: float | None, name: str, field: str
) -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        await draw_from_a_picture(standin, aiml, model, strength)
    (body,) = standin.submits
    (url,) = standin.stored
    assert body["model"] == name
    assert body[field] == ([url] if field == "image_urls" else url)
    assert body.get("strength") == strength
    assert len(standin.inputs) == 1


async def test_without_a_link_nothing_is_ordered() -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        with pytest.raises(RequestRejected):
            await aiml.draw("flux-dev", strength=0.5)
        assert standin.submits == []


async def test_seed_0_is_drawn_from_another_that_the_member_reads() -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        assert (await aiml.found(seed=0)).seed == 2**31 - 1
        assert (await aiml.found(seed=1)).seed == 1
        standin.shape = "data"
        assert (await aiml.found(seed=0)).seed == 2**31 - 1, "also where the answer does not say so"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"images": [], "has_nsfw_concepts": [True]}, "withheld"),
        ({"images": [{"url": "https://x.example/a.png"}], "has_nsfw_concepts": [True]}, "withheld"),
        ({"images": [{"url": "https://x.example/a.png"}], "has_nsfw_concepts": None}, "url"),
        ({"data": [{"url": None, "b64_json": "aGFsbG8="}]}, "url"),
    ],
)
async def test_a_flagged_picture_is_withheld(body: Mapping[str, Any], expected: str) -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        standin.trouble("submit", Status(201, body))
        found = await aiml.found()
    assert bool(found.withheld) is (expected == "withheld")
    assert bool(found.url) is (expected == "url")


@pytest.mark.parametrize("body", [{"data": None}, {"images": {}}, {"output": {"choices": [{}]}}, [], {"status": "ok"}])
async def test_an_answer_without_a_picture_is_none(body: object) -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        standin.trouble("submit", Status(201, body))
        with pytest.raises(ProviderBroken):
            await aiml.draw()


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (403, error(403, NO_CREDIT), ProviderClosed, "credit"),
        (403, error(403, "Access to this model is forbidden for this key."), ProviderClosed, "key"),
        (400, error(400, "Content moderation: the prompt was flagged"), Refused, None),
        (404, error("404", "Model flux/dev not found"), RequestRejected, None),
        (400, error(400, "Invalid value of enable_safety_checker"), RequestRejected, None),
        (504, error(504, "Generation timeout"), ProviderDown, None),
        (504, "<html>Gateway Time-out</html>", OutcomeUnknown, None),
        (504, {"message": "upstream request timeout"}, OutcomeUnknown, None),
        (502, error(502, "Bad gateway"), OutcomeUnknown, None),
    ],
)
async def test_an_error_is_known_by_its_words(
    status: int, body: object, kind: type[Exception], reason: str | None
) -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        standin.trouble("submit", Status(status, body))
        with pytest.raises(kind) as caught:
            await aiml.draw()
        assert len(standin.submits) == 1
    assert reason is None or getattr(caught.value, "facts", {})["reason"] == reason


async def test_the_check_tells_the_balance() -> None:
    async with AimlApiStandIn() as standin, alone(standin, CASE) as aiml:
        assert "123.45" in await aiml.check()
