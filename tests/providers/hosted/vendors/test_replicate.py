"""Replicate: aspects in words, uploads of large pictures, flagged pictures left out, seeds told in logs only."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

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
from flux_core.models import ASPECTS
from tests.providers.hosted.alone import alone, shot
from tests.providers.hosted.conftest import Desk, Watcher, desk_for, looks_like, request_for
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.replicate_standin import ASPECTS as THEIRS
from tests.providers.hosted.vendors.replicate_standin import CASES, NSFW, ReplicateStandIn, invalid

(CASE,) = CASES


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_for(CASE) as found:
        yield found


def standin_of(desk: Desk) -> ReplicateStandIn:
    assert isinstance(desk.standin, ReplicateStandIn)
    return desk.standin


def noisy(size: tuple[int, int]) -> Image.Image:
    """Return a picture that PNG cannot make small."""
    return Image.frombytes("RGB", size, random.Random(5).randbytes(size[0] * size[1] * 3))


async def test_flux_dev_is_asked_for_one_repeatable_picture(desk: Desk) -> None:
    await desk.draw(desk.task("flux-dev", aspect="16:9", steps=20, guidance=2.5, seed=42))
    given = desk.standin.submits[0]["input"]
    assert (given["aspect_ratio"], given["megapixels"], given["num_outputs"]) == ("16:9", "1", 1)
    assert (given["num_inference_steps"], given["guidance"], given["seed"]) == (20, 2.5, 42)
    assert given["go_fast"] is False
    assert "prefer" not in {name.lower() for name in desk.standin.of_kind("submit")[0].headers}


@pytest.mark.parametrize("aspect", ASPECTS)
async def test_each_aspect_of_the_studio_is_drawn(desk: Desk, aspect: str) -> None:
    drawing = await desk.draw(desk.task("flux-schnell", aspect=aspect))
    image = drawing.pictures[0].image
    assert abs(image.width / image.height / ASPECTS[aspect] - 1) < 0.06
    # Its 4:3 is as near to 5:4 as its 5:4 is, and has more pixels.
    if aspect not in ("4:5", "5:4"):
        assert desk.standin.submits[0]["input"]["aspect_ratio"] == aspect
        assert image.size == THEIRS[aspect]


async def test_a_small_size_is_a_quarter_of_a_megapixel(desk: Desk) -> None:
    drawing = await desk.draw(desk.task("flux-schnell", size="672x384"))
    given = desk.standin.submits[0]["input"]
    assert (given["aspect_ratio"], given["megapixels"]) == ("16:9", "0.25")
    assert drawing.pictures[0].image.size == (672, 384)


@pytest.mark.parametrize("model", ["flux-pro-1.1", "flux-2-pro"])
async def test_the_pro_models_take_pixels(desk: Desk, model: str) -> None:
    drawing = await desk.draw(desk.task(model, size="1280x960"))
    given = desk.standin.submits[0]["input"]
    assert (given["aspect_ratio"], given["width"], given["height"]) == ("custom", 1280, 960)
    assert not {"num_outputs", "num_inference_steps", "guidance", "go_fast"} & given.keys()
    assert drawing.pictures[0].image.size == (1280, 960)


async def test_a_small_picture_travels_inside_the_order(desk: Desk) -> None:
    await desk.draw(desk.task("flux-dev", picture=Image.new("RGB", (1000, 1000), "red"), strength=0.4))
    given = desk.standin.submits[0]["input"]
    assert given["image"].startswith("data:image/png;base64,")
    assert given["prompt_strength"] == 0.4
    assert not {"aspect_ratio", "megapixels"} & given.keys()
    assert not desk.standin.of_kind("free")


async def test_a_large_picture_is_uploaded_once_a_picture(desk: Desk) -> None:
    await desk.draw(desk.task("flux-dev", picture=noisy((1024, 1024)), strength=0.4))
    (upload,) = desk.standin.of_kind("free")
    assert (upload.method, upload.path) == ("POST", "/v1/files")
    assert desk.standin.submits[0]["input"]["image"] in desk.standin.stored
    assert [picture.size for picture in desk.standin.inputs] == [(1024, 1024)]


async def test_an_upload_that_fails_orders_nothing(desk: Desk) -> None:
    desk.standin.trouble("free", Status(500, {"detail": "Internal server error"}), times=50)
    error = await desk.outcome(desk.task("flux-dev", picture=noisy((1024, 1024)), strength=0.4))
    assert isinstance(error, ProviderDown)
    assert not desk.standin.submits


@pytest.mark.parametrize(("model", "strength"), [("flux-dev", 0.5), ("flux-kontext-pro", None), ("flux-2-pro", None)])
async def test_a_picture_of_an_aspect_without_a_name_keeps_it(desk: Desk, model: str, strength: float | None) -> None:
    drawing = await desk.draw(desk.task(model, picture=Image.new("RGB", (1600, 1000)), strength=strength))
    image = drawing.pictures[0].image
    assert abs(image.width / image.height / 1.6 - 1) < 0.06
    assert not drawing.from_words


def test_words_alone_are_not_drawn_in_an_aspect_without_a_name() -> None:
    offer = CASE.vendor(ReplicateStandIn.access(_Nowhere(), CASE)).offers["flux-dev"]
    asked = request_for("flux-dev", size="1296x816")
    assert offer.objection(asked, links=False)
    assert offer.objection(asked.model_copy(update={"width": 1344, "height": 768}), links=False) is None
    edited = request_for("flux-dev", picture=Image.new("RGB", (1600, 1000)))
    assert offer.objection(edited, links=False) is None


class _Nowhere(ReplicateStandIn):
    base_url = "http://127.0.0.1:1"


async def test_kontext_follows_the_picture_or_names_an_aspect(desk: Desk) -> None:
    await desk.draw(desk.task("flux-kontext-pro", aspect="16:9"))
    await desk.draw(desk.task("flux-kontext-pro", picture=Image.new("RGB", (900, 600))))
    words, edit = (order["input"] for order in desk.standin.submits)
    assert (words["aspect_ratio"], "input_image" in words) == ("16:9", False)
    assert (edit["aspect_ratio"], "prompt_strength" in edit) == ("match_input_image", False)


@pytest.mark.parametrize("field", ["image", "input_image", "input_images"])
async def test_each_model_has_its_own_name_for_the_picture(field: str) -> None:
    model = {"image": "flux-dev", "input_image": "flux-kontext-pro", "input_images": "flux-2-pro"}[field]
    async with ReplicateStandIn() as standin, alone(standin, CASE) as replicate:
        await replicate.draw(model, strength=0.5)
    given = standin.submits[0]["input"][field]
    assert isinstance(given, list) == (field == "input_images")
    assert len(standin.inputs) == 1


async def test_the_seed_of_the_logs_is_the_one_that_counts(desk: Desk) -> None:
    standin_of(desk).endings[0] = {"logs": "Using seed: 99\n100%|##########| 4/4"}
    drawing = await desk.draw(desk.task("flux-schnell"))
    assert drawing.pictures[0].seed == 99


async def test_the_logs_tell_how_far_it_is() -> None:
    async with ReplicateStandIn() as standin, alone(standin, CASE) as replicate:
        standin.polls_needed = 2
        outcome = await replicate.vendor.submit(shot(replicate.vendor, "flux-schnell"), replicate.transport)
        ticket = getattr(outcome, "ticket", "")
        progress = [getattr(await replicate.vendor.poll(ticket, replicate.transport), "progress", 1.0) for _ in "123"]
    assert progress == [None, 0.5, 1.0]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ({"status": "failed", "output": None, "error": NSFW}, Refused),
        (
            {"status": "failed", "output": None, "error": "The input or output was flagged as sensitive. (E005)"},
            Refused,
        ),
        ({"status": "failed", "output": None, "error": "E1001: CUDA out of memory"}, ProviderDown),
        ({"status": "failed", "output": None, "error": "E6716: model took too long to start"}, ProviderDown),
        ({"status": "failed", "output": None, "error": "Service is at capacity (E003)"}, ProviderDown),
        ({"status": "failed", "output": None, "error": None}, ProviderDown),
        ({"status": "canceled", "output": None}, ProviderBroken),
        ({"status": "aborted", "output": None}, ProviderBroken),
        ({"output": []}, Refused),
        ({"output": None}, Refused),
        ({"output": None, "data_removed": True}, ProviderBroken),
    ],
)
async def test_each_way_to_end_without_a_picture_becomes_its_error(
    desk: Desk, ending: Mapping[str, Any], expected: type[GenerationFailed]
) -> None:
    standin_of(desk).endings[0] = ending
    error = await desk.outcome(desk.task("flux-schnell"))
    assert type(error) is expected
    assert len(desk.standin.submits) == 1


async def test_pictures_that_were_left_out_are_missing_and_not_paid_for(desk: Desk) -> None:
    standin_of(desk).endings |= {1: {"output": []}, 2: {"status": "failed", "output": None, "error": NSFW}}
    drawing = await desk.draw(desk.task("flux-schnell", count=4))
    assert len(drawing.pictures) == 2
    assert drawing.withheld
    assert drawing.microdollars == 6_000
    assert all(looks_like(picture.image, picture.seed) for picture in drawing.pictures)


async def test_a_rejected_field_is_named_to_the_operator(desk: Desk) -> None:
    desk.standin.trouble("submit", Status(422, invalid("input.seed", "Must be an integer")))
    error = await desk.outcome(desk.task("flux-dev"))
    assert isinstance(error, RequestRejected)
    assert "seed: Must be an integer" in str(error)


async def test_a_model_that_is_gone_does_not_close_the_others() -> None:
    case = replace(CASE, access_models={"flux-dev": "somebody/else"})
    async with ReplicateStandIn() as standin, alone(standin, case) as replicate:
        with pytest.raises(RequestRejected):
            await replicate.draw("flux-dev")
        assert await replicate.found("flux-schnell")


async def test_a_prediction_that_is_gone_is_broken_and_free_to_be_drawn_elsewhere(desk: Desk) -> None:
    watcher = Watcher()
    desk.standin.trouble("poll", Status(404, {"detail": "The requested resource could not be found."}), times=50)
    error = await desk.outcome(desk.task("flux-schnell"), watcher)
    assert isinstance(error, ProviderBroken)
    assert watcher.receipt is None


async def test_a_cancelled_job_is_cancelled_there(desk: Desk) -> None:
    desk.standin.polls_needed = 10**6
    watcher = Watcher()
    watcher.on_receipt = lambda count: setattr(watcher, "cancelled", len(desk.standin.tasks) == 2)
    with pytest.raises(Cancelled):
        await desk.draw(desk.task("flux-schnell", count=2), watcher)
    assert sorted(desk.standin.cancelled) == sorted(desk.standin.tasks)


async def test_the_account_is_named() -> None:
    async with ReplicateStandIn() as standin, alone(standin, CASE) as replicate:
        assert "the-studio" in await replicate.check()
    async with ReplicateStandIn() as standin, alone(standin, CASE, key="wrong") as replicate:
        with pytest.raises(ProviderClosed) as caught:
            await replicate.check()
        assert caught.value.facts["reason"] == "key"
