"""What every hosted provider draws, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from flux_core.errors import (
    Refused,
)
from flux_core.generation import RATIO_TOLERANCE
from tests.providers.hosted.conftest import (
    Desk,
    Watcher,
    assert_key_unsaid,
    looks_like,
)
from tests.providers.hosted.contract import REFUSING, WITH_PICTURES, WORDY, from_words_only


async def test_it_draws_every_model_in_two_seeds_and_any_allowed_size(desk: Desk) -> None:
    first = desk.case.models[0]
    wishes = [(model, "aspect", "1:1") for model in desk.case.models]
    for model, option, value in [*wishes, (first, "aspect", "16:9"), (first, "size", "1008x752")]:
        task = desk.task(model, count=2, **dict[str, Any]({option: value}))
        offer = desk.provider.offers[model]
        if offer.objection(task.request, links=True) is not None:
            assert offer.size(task.request) is None or model == "flux-kontext-pro"
            continue
        drawing = await desk.draw(task)
        width, height = offer.size(task.request) or (0, 0)
        assert len(drawing.pictures) == 2
        assert drawing.withheld is None
        assert not drawing.from_words
        for picture, seed in zip(drawing.pictures, task.request.seeds, strict=True):
            assert abs(picture.image.width / picture.image.height / (width / height) - 1) <= RATIO_TOLERANCE
            assert picture.image.mode == "RGB"
            if desk.case.honours_seeds:
                assert picture.seed == seed
                assert looks_like(picture.image, seed)


async def test_the_job_keeps_a_receipt_before_the_vendor_has_the_order(desk: Desk) -> None:
    seen: list[int] = []
    watcher = Watcher(on_receipt=lambda count: seen.append(len(desk.standin.submits)))
    await desk.draw(desk.task(count=1), watcher)
    assert seen[0] == 0
    assert len(desk.standin.submits) == 1
    assert watcher.receipt is not None


@pytest.mark.parametrize("case", WITH_PICTURES)
async def test_it_starts_from_a_picture_of_the_size_it_draws(desk: Desk) -> None:
    source = Image.new("RGB", (640, 480), (200, 30, 90))
    task = desk.task(desk.case.picture_model, picture=source, count=1)
    drawing = await desk.draw(task)
    assert not drawing.from_words
    assert len(drawing.pictures) == 1
    assert [image.size for image in desk.standin.inputs] == [
        desk.provider.offers[task.request.model].size(task.request)
    ]
    found = desk.standin.inputs[0].convert("RGB").getpixel((100, 100))
    assert isinstance(found, tuple)
    assert all(abs(a - b) <= 3 for a, b in zip(found, (200, 30, 90), strict=True))


@pytest.mark.parametrize("case", WORDY)
async def test_where_it_cannot_start_from_a_picture_it_draws_from_the_words_and_says_so(desk: Desk) -> None:
    model = from_words_only(desk.case)
    drawing = await desk.draw(desk.task(model, picture=Image.new("RGB", (512, 512)), count=1))
    assert drawing.from_words
    assert desk.standin.inputs == []


@pytest.mark.parametrize("case", REFUSING)
async def test_what_the_vendor_holds_back_is_refused_with_a_reason(desk: Desk) -> None:
    desk.standin.moderate = {0, 1}
    error = await desk.outcome(desk.task(count=2))
    assert isinstance(error, Refused)
    assert error.facts["reason"].strip()
    assert_key_unsaid(error)
    assert len(desk.standin.submits) <= 2


@pytest.mark.parametrize("case", REFUSING)
async def test_what_is_left_of_a_moderated_batch_is_delivered(desk: Desk) -> None:
    desk.standin.moderate = {1}
    task = desk.task(count=2)
    drawing = await desk.draw(task)
    assert len(drawing.pictures) == 1
    assert drawing.withheld
    assert drawing.pictures[0].seed in task.request.seeds
    if desk.case.honours_seeds:
        assert looks_like(drawing.pictures[0].image, drawing.pictures[0].seed)
