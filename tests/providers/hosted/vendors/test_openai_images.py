"""OpenAI's image route at three servers: URLs without a host, base64 only, pictures in JSON, errors of three kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flux_core.errors import (
    ConfigurationError,
    GenerationFailed,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.providers.hosted.vendor import Access
from flux_core.providers.hosted.vendors.openai_images import OpenAiImages
from tests.providers.hosted.alone import alone, shot
from tests.providers.hosted.conftest import desk_for, looks_like
from tests.providers.hosted.standin import Case
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.openai_images_standin import (
    CASES,
    MODELS,
    LocalAiStandIn,
    SglangStandIn,
    VllmOmniStandIn,
    go_error,
    refusal,
    validation,
)

VLLM, SGLANG, LOCALAI = CASES


def vendor(base_url: str = "http://card.example:8000", **extra: str) -> OpenAiImages:
    return OpenAiImages(Access(base_url=base_url, key=None, models=MODELS, extra=extra))


async def test_vllm_omni_is_asked_for_base64_without_a_word_from_the_operator() -> None:
    async with VllmOmniStandIn() as standin, alone(standin, VLLM) as server:
        found = await server.found("flux-dev", seed=42, steps=28, size=(1360, 768))
    (body,) = standin.submits
    assert body["response_format"] == "b64_json"
    assert (body["model"], body["size"], body["seed"]) == ("black-forest-labs/FLUX.1-dev", "1360x768", 42)
    assert (body["num_inference_steps"], body["guidance_scale"], body["n"]) == (28, 3.5, 1)
    assert found.url is not None
    assert found.url.startswith("data:")
    assert found.seed is None


async def test_a_server_that_costs_money_says_how_much() -> None:
    assert vendor().offers["flux-dev"].price is None
    case = replace(VLLM, extra={"edits": "multipart", "price": " 0.03 "})
    async with desk_for(case) as desk:
        task = desk.task("flux-dev", count=2)
        assert desk.provider.offers["flux-dev"].cost(task.request) == 60_000
        assert (await desk.draw(task)).microdollars == 60_000


@pytest.mark.parametrize("price", ["3 cents", "-1", "nan", "inf"])
def test_a_price_that_is_none_is_refused_at_the_start(price: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_IMAGES_PRICE"):
        vendor(price=price)


async def test_vllm_omni_refuses_urls() -> None:
    case = replace(VLLM, extra={"response_format": "url"})
    async with VllmOmniStandIn() as standin, alone(standin, case) as server:
        with pytest.raises(RequestRejected, match="response_format"):
            await server.draw()


async def test_sglang_s_urls_without_a_host_lead_to_its_own() -> None:
    async with SglangStandIn() as standin, alone(standin, SGLANG) as server:
        found = await server.found()
        assert found.url == f"{standin.base_url}/v1/images/img-0/content?variant=0"
    async with desk_for(SGLANG) as desk:
        drawing = await desk.draw(desk.task("flux-schnell", seed=42, count=1))
    assert looks_like(drawing.pictures[0].image, 42)
    (fetched,) = desk.standin.of_kind("file")
    assert "Authorization" not in fetched.headers


@pytest.mark.parametrize("case", [VLLM, SGLANG], ids=lambda case: case.id)
async def test_a_picture_is_sent_as_a_file_to_the_edits(case: Case) -> None:
    async with case.standin() as standin, alone(standin, case) as server:
        await server.draw("flux-dev", strength=0.4, size=(640, 480))
    (body,) = standin.submits
    assert standin.of_kind("submit")[0].path == "/v1/images/edits"
    assert (body["size"], body["strength"], body["seed"]) == ("640x480", "0.4", "7")
    assert [picture.size for picture in standin.inputs] == [(640, 480)]


async def test_localai_draws_over_a_file_and_edits_by_references() -> None:
    case = replace(LOCALAI, access_models={**MODELS, "flux-kontext-pro": MODELS["flux-dev"]})
    async with LocalAiStandIn() as standin, alone(standin, case) as server:
        await server.draw("flux-dev", strength=0.4)
        order = shot(server.vendor, "flux-dev", strength=0.4)
        edit = order.request.model_copy(update={"strength": None, "model": "flux-kontext-pro"})
        await server.vendor.submit(replace(order, request=edit), server.transport)
    over, by = standin.submits
    assert over["step"] == 4
    assert over["strength"] == 0.4
    assert "ref_images" not in over
    assert "file" not in by
    assert "strength" not in by
    assert len(standin.inputs) == 2
    assert {seen.path for seen in standin.of_kind("submit")} == {"/v1/images/generations"}


async def test_a_bar_in_the_prompt_hides_nothing_from_localai() -> None:
    async with LocalAiStandIn() as standin, alone(standin, LOCALAI) as server:
        order = shot(server.vendor, "flux-dev")
        barred = order.request.model_copy(update={"prompt": "a cat | a dog"})
        await server.vendor.submit(replace(order, request=barred), server.transport)
    assert "|" not in standin.submits[0]["prompt"]
    assert "dog" in standin.submits[0]["prompt"]


async def test_a_server_without_a_key_is_asked_without_one() -> None:
    async with LocalAiStandIn() as standin, alone(standin, LOCALAI, key=None) as server:
        standin.open_to_all = True
        assert (await server.found()).url
        assert "FLUX.1-dev" in await server.check()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, validation("size", "Input should be WIDTHxHEIGHT"), RequestRejected),
        (400, {"detail": "Invalid size"}, RequestRejected),
        (400, refusal("moderation_blocked"), Refused),
        (400, refusal("content_policy_violation"), Refused),
        (400, {"error": {"message": "no", "type": "content_filter", "code": None}}, Refused),
        (404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, RequestRejected),
        (404, {"detail": "Not Found"}, ProviderClosed),
        (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, ProviderClosed),
        (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, ProviderClosed),
        (401, go_error(401, "An authentication key is required"), ProviderClosed),
        (500, go_error(500, "could not load model: rpc error"), ProviderDown),
        (500, "panic", ProviderDown),
    ],
)
async def test_an_error_is_known_by_its_words(status: int, body: Any, kind: type[GenerationFailed]) -> None:
    async with VllmOmniStandIn() as standin, alone(standin, VLLM) as server:
        standin.trouble("submit", Status(status, body))
        with pytest.raises(GenerationFailed) as caught:
            await server.draw()
        assert len(standin.of_kind("submit")) == 1
    assert type(caught.value) is kind


@pytest.mark.parametrize("body", [{"data": []}, {"data": [{"revised_prompt": "a"}]}, {"data": [None]}, []])
async def test_an_answer_without_a_picture_is_none(body: object) -> None:
    async with VllmOmniStandIn() as standin, alone(standin, VLLM) as server:
        standin.trouble("submit", Status(200, body))
        with pytest.raises(ProviderBroken):
            await server.draw()


def test_it_draws_what_the_operator_names_and_pictures_only_where_told_how() -> None:
    assert OpenAiImages(Access(base_url="http://card.example", key=None)).offers == {}
    offers = vendor().offers
    assert {id: offer.theirs for id, offer in offers.items()} == MODELS
    assert all(offer.image_input is None and offer.price is None for offer in offers.values())
    assert all(offer.image_input is not None for offer in vendor(edits="json").offers.values())


@pytest.mark.parametrize(("name", "value"), [("edits", "yes"), ("response_format", "base64")])
def test_a_setting_that_is_none_of_its_values_is_the_operator_s_to_put_right(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"OPENAI_IMAGES_{name.upper()}"):
        vendor(**{name: value})
    assert vendor(**{name: " NONE "} if name == "edits" else {name: " URL "}).offers
