"""What finished files say of where they come from, and what they keep to themselves."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from flux_core.images.encoding import read_provenance, read_source
from flux_core.images.provenance import DigitalSource
from flux_core.jobs import Job, JobState, Origin
from flux_core.providers.base import Drawing, Drawn
from flux_core.providers.scripted import ScriptedProvider
from flux_core.service import Submission
from flux_core.variations import variation_request
from flux_core.worker.finishing import store_pictures
from tests.worker.conftest import ANNE, CATALOGUE, Floor

Scripted = Callable[..., ScriptedProvider]
UPLOAD = Image.new("RGB", (512, 512), (0, 160, 0))
ONE = Drawing(pictures=(Drawn(image=Image.new("RGB", (64, 64), "red"), seed=7),))


async def said_by(floor: Floor, job: Job) -> set[DigitalSource | None]:
    pictures = await floor.studio.pictures(job.id)
    return {read_source(await floor.store.get(picture.key)) for picture in pictures if picture.key is not None}


async def varied(floor: Floor, job: Job) -> Job:
    first = (await floor.studio.pictures(job.id))[0]
    request = variation_request(job, first, CATALOGUE)
    return await floor.studio.submit(Submission(account=ANNE, request=request, origin=Origin.VARIATION))


async def test_files_say_whether_a_members_own_picture_is_in_them(floor: Floor, scripted: Scripted) -> None:
    async with floor.worker(scripted()):
        from_words = await floor.ended(await floor.submit())
        from_upload = await floor.ended(await floor.submit(picture=UPLOAD))
        assert await said_by(floor, from_words) == {DigitalSource.TRAINED}
        assert await said_by(floor, from_upload) == {DigitalSource.COMPOSITE}
        for origin in (from_words, from_upload):
            variation = await floor.ended(await varied(floor, origin))
            again = await floor.ended(await varied(floor, variation))
            assert variation.state is again.state is JobState.SUCCEEDED
            assert variation.request.input_picture is not None
            assert await said_by(floor, variation) == await said_by(floor, again) == await said_by(floor, origin)


async def test_a_picture_that_was_left_aside_is_in_no_file(floor: Floor) -> None:
    job = await floor.submit(picture=UPLOAD, count=1)
    drawing = Drawing(pictures=ONE.pictures, from_words=True)
    (picture,) = await store_pictures(floor.store, job, drawing)
    assert picture.key is not None
    assert read_source(await floor.store.get(picture.key)) is DigitalSource.TRAINED


async def test_of_a_variation_whose_original_is_gone_no_more_is_claimed_than_is_known(
    floor: Floor, scripted: Scripted
) -> None:
    async with floor.worker(scripted()):
        original = await floor.ended(await floor.submit(count=1))
    variation = await varied(floor, original)
    assert variation.request.input_picture is not None
    await floor.store.delete([variation.request.input_picture.key])
    (picture,) = await store_pictures(floor.store, variation, ONE)
    assert picture.key is not None
    assert read_source(await floor.store.get(picture.key)) is DigitalSource.COMPOSITE


async def test_a_worker_can_leave_the_prompt_out_of_its_files(floor: Floor, scripted: Scripted) -> None:
    job = await floor.submit()
    async with floor.worker(scripted(), tell_prompt=False):
        await floor.ended(job)
    for picture in await floor.studio.pictures(job.id):
        assert picture.key is not None
        data = await floor.store.get(picture.key)
        text = read_provenance(data)
        assert text is not None
        assert text.startswith("Steps: 4, ")
        assert f"Seed: {picture.seed}, " in text
        assert "Model: flux-tiny" in text
        assert job.request.prompt not in text
        assert read_source(data) is DigitalSource.TRAINED
