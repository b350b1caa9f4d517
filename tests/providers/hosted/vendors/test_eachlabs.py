"""What is particular to Eachlabs: two headers, three shapes of output, many ways to say that something failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from flux_core.errors import (
    ConfigurationError,
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.providers.hosted.vendor import CENSORED, Access
from flux_core.providers.hosted.vendors.eachlabs import Eachlabs
from tests.providers.hosted.alone import alone
from tests.providers.hosted.conftest import Desk, Watcher, desk_for
from tests.providers.hosted.standin import Case
from tests.providers.hosted.troubles import Html, Status
from tests.providers.hosted.vendors.eachlabs_standin import CASES, EachlabsStandIn, rejected

(CASE,) = CASES
BEARER = replace(CASE, extra={"auth": "bearer"})


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_for(CASE) as found:
        yield found


def standin_of(desk: Desk) -> EachlabsStandIn:
    assert isinstance(desk.standin, EachlabsStandIn)
    return desk.standin


@pytest.mark.parametrize(
    ("case", "there", "missing"),
    [(CASE, "X-API-Key", "Authorization"), (BEARER, "Authorization", "X-API-Key")],
    ids=["x-api-key", "bearer"],
)
async def test_the_key_goes_into_the_header_that_was_chosen(case: Case, there: str, missing: str) -> None:
    async with desk_for(case) as desk:
        await desk.draw(desk.task())
        for seen in [*desk.standin.of_kind("submit"), *desk.standin.of_kind("poll")]:
            assert there in seen.headers
            assert missing not in seen.headers


def test_another_way_to_send_the_key_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="EACHLABS_AUTH"):
        Eachlabs(Access(base_url="https://e.example", key="k", extra={"auth": "basic"}))


async def test_success_on_an_order_is_not_yet_a_picture(desk: Desk) -> None:
    desk.standin.polls_needed = 5
    await desk.draw(desk.task())
    (task,) = desk.standin.tasks.values()
    assert task.polls == 6


@pytest.mark.parametrize("shape", ["string", "list", "object"])
async def test_it_reads_every_shape_of_output(desk: Desk, shape: str) -> None:
    standin_of(desk).output = shape
    drawing = await desk.draw(desk.task(count=2))
    assert len(drawing.pictures) == 2
    assert drawing.microdollars == 50_000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "error", "output": rejected("content_moderation", "Nudity")}, Refused),
        ({"status": "failed", "output": rejected("content_moderation", "Nudity")}, Refused),
        ({"status": "success", "output": rejected("content_moderation", "Nudity")}, Refused),
        ({"status": "error", "output": rejected("invalid_user_input", "No such size")}, RequestRejected),
        ({"status": "error", "output": rejected("invalid_model_config", "No such model")}, RequestRejected),
        ({"status": "error", "output": rejected("provider_rate_limit", "Later")}, ProviderDown),
        ({"status": "error", "output": rejected("execution_timeout", "Too slow")}, ProviderDown),
        ({"status": "error", "output": rejected("provider_auth", "Their key")}, ProviderDown),
        ({"status": "error", "output": rejected("internal_error", "Oops")}, ProviderDown),
        ({"status": "failed", "output": None, "logs": "step 3\nNSFW content detected"}, Refused),
        ({"status": "failed", "output": None, "logs": "step 3\nCUDA out of memory"}, ProviderDown),
        ({"status": "failed", "output": None, "logs": "Loading the safety checker\nCUDA out of memory"}, ProviderDown),
        ({"status": "error", "output": "The worker is gone", "logs": None}, ProviderDown),
        ({"status": "canceled", "output": None}, ProviderDown),
        ({"status": "success", "output": None}, ProviderBroken),
        ({"status": "success", "output": []}, ProviderBroken),
    ],
)
async def test_each_way_to_fail_becomes_its_error(
    desk: Desk, answer: dict[str, Any], expected: type[GenerationFailed]
) -> None:
    standin_of(desk).failure = answer
    error = await desk.outcome(desk.task())
    assert type(error) is expected
    assert len(desk.standin.submits) == 1


async def test_a_refusal_tells_the_vendor_s_reason_and_else_ours(desk: Desk) -> None:
    standin_of(desk).failure = {"status": "error", "output": rejected("content_moderation", "Nudity was found")}
    told = await desk.outcome(desk.task())
    standin_of(desk).failure = {"status": "failed", "output": None, "logs": "NSFW content detected"}
    untold = await desk.outcome(desk.task())
    assert isinstance(told, Refused)
    assert isinstance(untold, Refused)
    assert told.facts["reason"] == "Nudity was found"
    assert untold.facts["reason"] == CENSORED


async def test_a_busy_account_without_retry_after_is_asked_again(desk: Desk) -> None:
    desk.standin.trouble("submit", Status(429, {"status": 429, "error": "too many requests", "details": "10"}), times=2)
    assert len((await desk.draw(desk.task())).pictures) == 1
    assert len(desk.standin.submits) == 1


async def test_an_account_s_ten_predictions_at_once_are_not_exceeded(desk: Desk) -> None:
    drawings = await asyncio.gather(*(desk.draw(desk.task(count=4, seed=10 * job)) for job in range(4)))
    assert sum(len(drawing.pictures) for drawing in drawings) == 16
    assert len(desk.standin.tasks) == len(desk.standin.of_kind("submit")) == 16


async def test_an_order_without_an_id_is_an_unknown_outcome(desk: Desk) -> None:
    desk.standin.trouble("submit", Status(200, {"status": "success", "message": "Prediction created successfully"}))
    watcher = Watcher()
    assert isinstance(await desk.outcome(desk.task(), watcher), OutcomeUnknown)
    assert len(desk.standin.submits) == 1


async def test_a_picture_is_uploaded_once_a_shot_before_anything_is_paid(desk: Desk) -> None:
    picture = Image.new("RGB", (800, 600), (10, 200, 90))
    drawing = await desk.draw(desk.task("flux-dev", picture=picture, count=2, strength=0.4))
    assert len(drawing.pictures) == 2
    assert len(desk.standin.stored) == 2
    assert [submit["input"]["prompt_strength"] for submit in desk.standin.submits] == [0.4, 0.4]
    assert all("aspect_ratio" not in submit["input"] for submit in desk.standin.submits)
    (first, *_) = drawing.pictures
    assert abs(first.image.width / first.image.height - 800 / 600) < 0.02


async def test_a_page_does_not_prove_the_key() -> None:
    async with EachlabsStandIn() as standin, alone(standin, CASE) as eachlabs:
        standin.trouble("free", Html())
        with pytest.raises(ProviderClosed) as closed:
            await eachlabs.check()
    assert closed.value.facts["reason"] == "address"


async def test_a_failed_upload_is_paid_for_by_nobody(desk: Desk) -> None:
    desk.standin.trouble("free", Status(500, {"error": "storage"}), times=50)
    watcher = Watcher()
    error = await desk.outcome(desk.task("flux-dev", picture=Image.new("RGB", (512, 512))), watcher)
    assert isinstance(error, ProviderDown)
    assert desk.standin.submits == []
    assert watcher.receipt is None


async def test_a_lost_prediction_ends_the_job(desk: Desk) -> None:
    desk.standin.trouble("poll", Status(404, {"error": "Prediction not found"}), times=50)
    error = await desk.outcome(desk.task())
    assert isinstance(error, ProviderBroken)
    assert len(desk.standin.submits) == 1
