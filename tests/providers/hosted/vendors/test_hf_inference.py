"""Hugging Face: five services behind one router, each in its own format, and one purse."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from flux_core.errors import (
    ConfigurationError,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    Refused,
    RequestRejected,
)
from flux_core.providers.hosted.vendor import Access
from flux_core.providers.hosted.vendors.hf_inference import HfInference
from tests.providers.hosted.alone import alone
from tests.providers.hosted.standin import Case
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.hf_inference_standin import CASES, LOADING, PICTURE_MODEL, SPENT, HfInferenceStandIn

HF, TOGETHER, NSCALE, FAL, REPLICATE = CASES


def test_an_unknown_service_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError):
        HfInference(Access(base_url=HfInference.base_url, key="k", extra={"provider": "nebius"}))


def test_without_a_picture_model_nothing_starts_from_pictures() -> None:
    for extra in ({}, {"provider": "together", "picture_model": PICTURE_MODEL}):
        vendor = HfInference(Access(base_url=HfInference.base_url, key="k", extra=extra))
        assert all(offer.image_input is None for offer in vendor.offers.values())


@pytest.mark.parametrize(
    ("case", "path", "body"),
    [
        (
            HF,
            "/hf-inference/models/black-forest-labs/FLUX.1-dev",
            {
                "inputs": "a lighthouse at dusk",
                "parameters": {
                    "width": 1152,
                    "height": 896,
                    "num_inference_steps": 28,
                    "seed": 7,
                    "guidance_scale": 3.5,
                },
            },
        ),
        (
            TOGETHER,
            "/together/v1/images/generations",
            {
                "model": "black-forest-labs/FLUX.1-dev",
                "prompt": "a lighthouse at dusk",
                "response_format": "base64",
                "width": 1152,
                "height": 896,
                "seed": 7,
                "steps": 28,
                "guidance_scale": 3.5,
            },
        ),
        (
            FAL,
            "/fal-ai/fal-ai/flux/dev",
            {
                "prompt": "a lighthouse at dusk",
                "image_size": {"width": 1152, "height": 896},
                "num_inference_steps": 28,
                "seed": 7,
                "guidance_scale": 3.5,
            },
        ),
        (
            REPLICATE,
            "/replicate/v1/models/black-forest-labs/flux-dev/predictions",
            {
                "input": {
                    "prompt": "a lighthouse at dusk",
                    "aspect_ratio": "4:3",
                    "num_inference_steps": 28,
                    "guidance": 3.5,
                    "seed": 7,
                    "output_format": "png",
                }
            },
        ),
    ],
    ids=lambda value: value.id if isinstance(value, Case) else "",
)
async def test_each_service_is_asked_in_its_own_format(case: Case, path: str, body: dict[str, Any]) -> None:
    async with HfInferenceStandIn() as standin, alone(standin, case) as hf:
        await hf.draw("flux-dev", size=(1152, 896), steps=28)
    assert [seen.path for seen in standin.of_kind("submit")] == [path]
    assert standin.submits == [body]


async def test_nscale_is_asked_in_openais_format() -> None:
    async with HfInferenceStandIn() as standin, alone(standin, NSCALE) as hf:
        assert set(hf.vendor.offers) == {"flux-schnell"}
        await hf.draw(size=(1152, 896))
    (body,) = standin.submits
    assert (body["size"], body["response_format"]) == ("1152x896", "b64_json")


async def test_the_operators_name_for_a_model_goes_into_the_path() -> None:
    async with HfInferenceStandIn() as standin, alone(standin, HF, models={"flux-dev": "studio/finetune"}) as hf:
        await hf.draw("flux-dev")
    assert [seen.path for seen in standin.of_kind("submit")] == ["/hf-inference/models/studio/finetune"]


async def test_a_picture_model_starts_from_base64() -> None:
    async with HfInferenceStandIn() as standin, alone(standin, HF) as hf:
        await hf.draw("flux-dev", strength=0.4)
    (body,) = standin.submits
    assert base64.b64decode(body["inputs"], validate=True).startswith(b"\x89PNG")
    assert body["parameters"]["prompt"] == "a lighthouse at dusk"
    assert body["parameters"]["strength"] == 0.4
    assert [seen.path for seen in standin.of_kind("submit")] == [f"/hf-inference/models/{PICTURE_MODEL}"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_the_months_credits_close_every_service(case: Case) -> None:
    async with HfInferenceStandIn() as standin, alone(standin, case) as hf:
        standin.trouble("submit", Status(402, {"error": SPENT}))
        with pytest.raises(ProviderClosed) as caught:
            await hf.draw()
        assert caught.value.facts["reason"] == "credit"


async def test_a_model_that_is_being_loaded_is_left_to_others() -> None:
    async with HfInferenceStandIn() as standin, alone(standin, HF) as hf:
        standin.trouble("submit", Status(503, LOADING), times=9)
        with pytest.raises(ProviderBusy):
            await hf.draw()
        assert len(standin.submits) == 1


async def test_replicate_may_still_draw_when_its_minute_is_over() -> None:
    async with HfInferenceStandIn() as standin, alone(standin, REPLICATE) as hf:
        standin.unfinished = True
        with pytest.raises(OutcomeUnknown):
            await hf.draw()
        assert len(standin.submits) == 1


@pytest.mark.parametrize("case", [FAL, REPLICATE], ids=lambda case: case.id)
async def test_a_flagged_picture_is_withheld(case: Case) -> None:
    async with HfInferenceStandIn() as standin, alone(standin, case) as hf:
        standin.moderate = {0}
        found = await hf.found()
    assert found.withheld
    assert found.url is None


@pytest.mark.parametrize("case", [HF, TOGETHER, NSCALE], ids=lambda case: case.id)
async def test_a_refused_prompt_is_moderation(case: Case) -> None:
    async with HfInferenceStandIn() as standin, alone(standin, case) as hf:
        standin.moderate = {0}
        with pytest.raises(Refused):
            await hf.draw()


@pytest.mark.parametrize(
    ("detail", "error"),
    [
        ([{"loc": ["body", "prompt"], "msg": "flagged", "type": "content_policy_violation"}], Refused),
        ([{"loc": ["body", "seed"], "msg": "too large", "type": "less_than"}], RequestRejected),
        ("Unprocessable", RequestRejected),
        ([], RequestRejected),
    ],
)
async def test_fals_details_tell_moderation_from_mistakes(detail: object, error: type[Exception]) -> None:
    async with HfInferenceStandIn() as standin, alone(standin, FAL) as hf:
        standin.fal_detail = detail
        with pytest.raises(error):
            await hf.draw()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("body", [{}, [], {"data": [{}]}, {"images": [{}]}, {"status": "succeeded", "output": []}])
async def test_success_without_a_picture_is_none(case: Case, body: object) -> None:
    async with HfInferenceStandIn() as standin, alone(standin, case) as hf:
        standin.trouble("submit", Status(200, body))
        with pytest.raises((ProviderBroken, OutcomeUnknown)):
            await hf.draw()
        assert len(standin.submits) == 1


async def test_the_check_asks_the_hub_and_orders_nothing() -> None:
    async with HfInferenceStandIn() as standin, alone(standin, HF) as hf:
        assert "studio" in await hf.check()
        assert standin.submits == []
    async with HfInferenceStandIn() as standin, alone(standin, HF, key="wrong") as hf:
        with pytest.raises(ProviderClosed) as caught:
            await hf.check()
        assert caught.value.facts["reason"] == "key"


async def test_a_hub_elsewhere_never_sees_the_key() -> None:
    async with HfInferenceStandIn() as standin, alone(standin, HF, extra={"hub": standin.other_host_url}) as hf:
        with pytest.raises(ProviderBroken):
            await hf.check()
        assert standin.requests == []
