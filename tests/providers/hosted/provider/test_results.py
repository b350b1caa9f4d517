"""What comes of a job: pictures, seeds, price, progress."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from flux_core.errors import (
    ModelUnavailable,
    RequestRejected,
)
from flux_core.providers.base import DrawTask
from flux_core.providers.hosted.provider import HostedProvider
from tests.providers.hosted.provider.conftest import BLUE, Job, provider_of, seeds, task
from tests.providers.hosted.sketch import (
    SIDE,
    SketchAtOnce,
    SketchInPairs,
    SketchStandIn,
)


async def test_it_introduces_itself(provider: HostedProvider) -> None:
    assert (provider.name, provider.device, provider.hosted, provider.concurrency) == ("sketch", "Sketch", True, 8)
    assert set(provider.offers) == {"flux-dev", "flux-schnell"}
    assert provider.closed is None


async def test_pictures_come_in_order_with_their_seeds_and_price(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    job = Job()
    drawing = await provider.draw(task(3), job)
    assert seeds(drawing) == [7, 8, 9]
    assert {picture.image.size for picture in drawing.pictures} == {(SIDE, SIDE)}
    assert drawing.withheld is None
    assert not drawing.from_words
    assert drawing.microdollars == 30_000
    assert len(standin.submits) == 3
    assert job.steps[0] == (0, 4)
    assert job.steps[-1] == (4, 4)
    assert [done for done, _ in job.steps] == sorted({done for done, _ in job.steps})


async def test_what_the_vendor_says_counts_before_what_we_know(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.extra, standin.own_seed = {"cost": 1234}, 99
    drawing = await provider.draw(task(2), Job())
    assert seeds(drawing) == [99, 99]
    assert drawing.microdollars == 2468


async def test_at_once_and_in_pairs(standin: SketchStandIn) -> None:
    async with provider_of(standin, SketchInPairs) as provider:
        assert seeds(await provider.draw(task(3), Job())) == [7, 8, 9]
        assert [body["seeds"] for body in standin.submits] == [[7, 8], [9]]
    async with SketchStandIn(at_once=True) as other, provider_of(other, SketchAtOnce) as provider:
        assert seeds(await provider.draw(task(2), Job())) == [7, 8]
        assert other.of_kind("poll") == []


async def test_result_urls_are_fetched(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.as_urls = True
    assert len((await provider.draw(task(2), Job())).pictures) == 2
    assert len(standin.of_kind("file")) == 2


async def test_progress_and_previews_are_passed_on(standin: SketchStandIn, provider: HostedProvider) -> None:
    file = BytesIO()
    Image.new("RGB", (32, 32), (9, 9, 9)).save(file, "JPEG")
    standin.extra = {"preview": base64.b64encode(file.getvalue()).decode()}
    standin.polls_needed = 4
    job = Job()
    await provider.draw(task(), job)
    assert (2, 4) in job.steps
    assert job.previews
    assert job.previews[0].size == (32, 32)


async def test_the_picture_to_start_from_arrives_in_the_size_asked_for(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    drawing = await provider.draw(task(2, image=BLUE), Job())
    assert [image.size for image in standin.inputs] == [(SIDE, SIDE)] * 2
    assert not drawing.from_words


async def test_a_model_that_draws_from_words_only_says_so(standin: SketchStandIn, provider: HostedProvider) -> None:
    drawing = await provider.draw(task(image=BLUE, model="flux-schnell"), Job())
    assert drawing.from_words
    assert standin.inputs == []
    assert not (await provider.draw(task(model="flux-schnell"), Job())).from_words


@pytest.mark.parametrize("links", [False, True])
async def test_a_vendor_that_wants_a_link_gets_one_where_there_are_links(standin: SketchStandIn, links: bool) -> None:
    async with provider_of(standin, links=links, access={"extra": {"link": "yes"}}) as provider:
        drawing = await provider.draw(replace(task(3, image=BLUE), publish=standin.publish), Job())
        assert drawing.from_words is not links
        assert len(standin.inputs) == (3 if links else 0)
        assert len(standin.stored) == (1 if links else 0)


async def test_what_it_does_not_draw_is_not_asked_for(standin: SketchStandIn, provider: HostedProvider) -> None:
    with pytest.raises(ModelUnavailable):
        await provider.draw(task(model="flux-pro-1.1"), Job())
    vast = task().request.model_copy(update={"width": 2048, "height": 64})
    with pytest.raises(RequestRejected):
        await provider.draw(DrawTask(job_id="j", request=vast), Job())
    assert standin.requests == []
