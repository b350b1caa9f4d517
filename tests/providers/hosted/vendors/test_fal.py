"""fal.ai: URLs that must be followed as given, COMPLETED where nothing was drawn, black pictures, two kinds of 403."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from PIL import Image

from flux_core.errors import (
    Cancelled,
    GenerationFailed,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from tests.providers.hosted.alone import alone
from tests.providers.hosted.conftest import Desk, Watcher, desk_for, looks_like
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.fal_standin import CASES, EXHAUSTED, FalStandIn, violation

(CASE,) = CASES


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_for(CASE) as found:
        yield found


def standin_of(desk: Desk) -> FalStandIn:
    assert isinstance(desk.standin, FalStandIn)
    return desk.standin


def path_of(desk: Desk) -> str:
    return desk.standin.of_kind("submit")[-1].path


async def test_flux_dev_is_asked_for_one_picture_with_the_checker_on(desk: Desk) -> None:
    await desk.draw(desk.task("flux-dev", aspect="16:9", steps=20, guidance=2.5, seed=42))
    (order,) = desk.standin.submits
    assert path_of(desk) == "/fal-ai/flux/dev"
    assert order["image_size"] == {"width": 1360, "height": 768}
    assert (order["num_inference_steps"], order["guidance_scale"], order["seed"]) == (20, 2.5, 42)
    assert (order["num_images"], order["enable_safety_checker"]) == (1, True)
    (seen,) = desk.standin.of_kind("submit")
    assert seen.headers["Authorization"] == f"Key {desk.standin.key}"


async def test_schnell_is_asked_without_guidance(desk: Desk) -> None:
    await desk.draw(desk.task("flux-schnell", steps=12))
    (order,) = desk.standin.submits
    assert order["num_inference_steps"] == 12
    assert "guidance_scale" not in order


@pytest.mark.parametrize(
    ("model", "words", "edit"),
    [
        ("flux-dev", "/fal-ai/flux/dev", "/fal-ai/flux/dev/image-to-image"),
        ("flux-kontext-pro", "/fal-ai/flux-pro/kontext/text-to-image", "/fal-ai/flux-pro/kontext"),
        ("flux-2-pro", "/fal-ai/flux-2-pro", "/fal-ai/flux-2-pro/edit"),
    ],
)
async def test_a_picture_has_its_own_path(desk: Desk, model: str, words: str, edit: str) -> None:
    picture = Image.new("RGB", (1600, 1000), "red")
    await desk.draw(desk.task(model))
    assert path_of(desk) == words
    drawing = await desk.draw(desk.task(model, picture=picture))
    assert path_of(desk) == edit
    assert abs(desk.standin.inputs[0].width / desk.standin.inputs[0].height / 1.6 - 1) < 0.06
    assert not drawing.from_words
    assert ("strength" in desk.standin.submits[1]) == (model == "flux-dev")


async def test_kontext_is_asked_for_an_aspect_it_knows(desk: Desk) -> None:
    await desk.draw(desk.task("flux-kontext-pro", aspect="21:9"))
    assert desk.standin.submits[0]["aspect_ratio"] == "21:9"
    error = await desk.outcome(desk.task("flux-kontext-pro", aspect="4:5"))
    assert isinstance(error, RequestRejected)
    assert len(desk.standin.submits) == 1


async def test_the_urls_of_the_answer_are_followed(desk: Desk) -> None:
    await desk.draw(desk.task("flux-dev", picture=Image.new("RGB", (1024, 1024)), strength=0.5))
    paths = {seen.path for seen in desk.standin.of_kind("poll")}
    assert paths == {"/fal-ai/flux/requests/task-0-0/status", "/fal-ai/flux/requests/task-0-0"}


async def test_urls_that_are_not_told_are_below_owner_and_app(desk: Desk) -> None:
    standin_of(desk).urls = False
    drawing = await desk.draw(desk.task("flux-dev", picture=Image.new("RGB", (1024, 1024)), strength=0.5))
    assert looks_like(drawing.pictures[0].image, 7)


async def test_a_status_url_on_a_strangers_host_is_not_asked(desk: Desk) -> None:
    stranger = desk.standin.other_host_url
    answer = {"request_id": "a"} | {f"{kind}_url": f"{stranger}/{kind}" for kind in ("status", "response", "cancel")}
    desk.standin.trouble("submit", Status(200, answer))
    error = await desk.outcome(desk.task("flux-dev"))
    assert isinstance(error, GenerationFailed)
    assert not [seen for seen in desk.standin.requests if seen.host.startswith("localhost")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("runner_disconnected", ProviderDown),
        ("request_timeout", ProviderDown),
        ("startup_timeout", ProviderDown),
        ("internal_error", ProviderDown),
        ("bad_request", RequestRejected),
    ],
)
async def test_completed_with_an_error_is_no_picture(desk: Desk, kind: str, expected: type[GenerationFailed]) -> None:
    standin_of(desk).errors[0] = kind
    error = await desk.outcome(desk.task("flux-dev"))
    assert type(error) is expected
    assert kind in str(error)
    assert len(desk.standin.submits) == 1


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (violation(), Refused),
        (Status(422, {"detail": [{"loc": ["body", "seed"], "msg": "no", "type": "int_type"}]}), RequestRejected),
        (Status(500, {"detail": "Internal server error"}), ProviderBroken),
        (Status(503, {"detail": "Runner went away", "error_type": "runner_disconnected"}), ProviderBroken),
        (Status(504, {"detail": "Request timed out", "error_type": "request_timeout"}), ProviderBroken),
        (Status(504, {"detail": [{"loc": ["body"], "msg": "Too slow", "type": "generation_timeout"}]}), ProviderBroken),
        (Status(200, {"seed": 7}), ProviderBroken),
        (Status(200, {"images": [], "seed": 7}), ProviderBroken),
    ],
)
async def test_the_response_of_a_completed_request_is_its_last_word(
    desk: Desk, result: Status, expected: type[GenerationFailed]
) -> None:
    standin_of(desk).results[0] = result
    watcher = Watcher()
    error = await desk.outcome(desk.task("flux-dev"), watcher)
    assert type(error) is expected
    assert (watcher.receipt is None) == (expected is not Refused)
    assert len(desk.standin.submits) == 1


async def test_an_error_of_the_queue_itself_is_no_last_word(desk: Desk) -> None:
    desk.standin.trouble("poll", Status(500, {"detail": "Internal server error"}), times=5)
    desk.standin.trouble("poll", Status(502, "<html>nginx</html>"), times=2)
    drawing = await desk.draw(desk.task("flux-dev"))
    assert looks_like(drawing.pictures[0].image, 7)


async def test_a_flagged_picture_is_black_and_never_shown(desk: Desk) -> None:
    standin_of(desk).black = {1}
    drawing = await desk.draw(desk.task("flux-dev", count=3))
    assert len(drawing.pictures) == 2
    assert drawing.withheld
    standin_of(desk).black = {3}
    assert isinstance(await desk.outcome(desk.task("flux-dev")), Refused)


@pytest.mark.parametrize(("detail", "reason"), [(EXHAUSTED, "credit"), ("Access denied", "key")])
async def test_a_403_is_about_the_balance_or_the_key(desk: Desk, detail: str, reason: str) -> None:
    desk.standin.trouble("submit", Status(403, {"detail": detail}))
    error = await desk.outcome(desk.task("flux-dev"))
    assert isinstance(error, ProviderClosed)
    assert error.facts["reason"] == reason


async def test_a_cancelled_job_is_taken_out_of_the_queue(desk: Desk) -> None:
    desk.standin.polls_needed = 10**6
    watcher = Watcher()
    watcher.on_receipt = lambda count: setattr(watcher, "cancelled", count == 2)
    with pytest.raises(Cancelled):
        await desk.draw(desk.task("flux-dev"), watcher)
    (seen,) = desk.standin.of_kind("free")
    assert seen.method == "PUT"
    assert desk.standin.cancelled == list(desk.standin.tasks)


async def test_started_megapixels_are_paid_whole(desk: Desk) -> None:
    drawing = await desk.draw(desk.task("flux-dev", size="1536x1024", count=2))
    assert drawing.microdollars == 100_000


async def test_few_steps_from_a_picture_become_the_least_that_it_takes(desk: Desk) -> None:
    drawing = await desk.draw(desk.task("flux-dev", picture=Image.new("RGB", (1024, 1024)), strength=0.5, steps=4))
    assert desk.standin.submits[0]["num_inference_steps"] == 10
    assert drawing.microdollars == 30_000


async def test_there_is_no_free_call() -> None:
    async with FalStandIn() as standin, alone(standin, CASE) as fal:
        with pytest.raises(NotImplementedError):
            await fal.check()
