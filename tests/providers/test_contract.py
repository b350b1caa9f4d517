"""What every provider promises, run over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from PIL import Image, ImageChops, ImageStat

from flux_core.catalogue import Catalogue
from flux_core.errors import Cancelled, LeaseLost
from flux_core.generation import GenerationRequest, InputPicture, RequestOptions, resolve
from flux_core.providers.base import Drawing, DrawsTogether, DrawTask, Provider
from flux_core.providers.local import LocalProvider
from flux_core.providers.scripted import ScriptedProvider
from flux_core.tiny.architecture import build_random
from tests.providers.recorder import Recorder


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue({"flux-tiny": str(build_random(tmp_path_factory.mktemp("flux-tiny")))})


@pytest.fixture(scope="session")
def local(catalogue: Catalogue) -> Iterator[LocalProvider]:
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    yield provider
    asyncio.run(provider.close())


@pytest.fixture(params=["scripted", "local"])
def provider(request: pytest.FixtureRequest, catalogue: Catalogue) -> Provider:
    return ScriptedProvider(catalogue) if request.param == "scripted" else request.getfixturevalue("local")


@pytest.fixture
def task(catalogue: Catalogue) -> Callable[..., DrawTask]:
    def make(*, picture: Image.Image | None = None, **options: object) -> DrawTask:
        given = RequestOptions.model_validate({"prompt": "a circle", "seed": 3, "count": 2, "steps": 4} | options)
        key = None if picture is None else InputPicture(key="inputs/x.png", width=picture.width, height=picture.height)
        return DrawTask(job_id="a", request=resolve(given, catalogue, picture=key), input_image=picture)

    return make


def pixels(request: GenerationRequest, catalogue: Catalogue) -> tuple[int, int]:
    enlarge = catalogue[request.model].enlarge
    return request.width * enlarge, request.height * enlarge


async def test_it_offers_the_models_of_the_catalogue(provider: Provider) -> None:
    assert list(provider.offers) == ["flux-tiny"]
    assert not provider.hosted
    assert provider.closed is None
    assert provider.name
    assert provider.concurrency >= 1


async def test_it_draws_every_picture_in_order_in_its_full_size(
    provider: Provider, catalogue: Catalogue, task: Callable[..., DrawTask]
) -> None:
    wanted = task(count=3, aspect="3:2")
    drawn = (await provider.draw(wanted, Recorder())).pictures
    assert [picture.seed for picture in drawn] == [3, 4, 5]
    assert {picture.image.size for picture in drawn} == {pixels(wanted.request, catalogue)}
    assert {picture.image.mode for picture in drawn} == {"RGB"}
    assert len({picture.image.tobytes() for picture in drawn}) == 3


async def test_the_same_task_gives_the_same_pictures(provider: Provider, task: Callable[..., DrawTask]) -> None:
    first, second = [await provider.draw(task(), Recorder()) for _ in range(2)]
    assert [picture.image.tobytes() for picture in first.pictures] == [
        picture.image.tobytes() for picture in second.pictures
    ]
    assert first.withheld is None
    assert first.microdollars is None


async def test_it_starts_from_a_picture(provider: Provider, task: Callable[..., DrawTask]) -> None:
    start = Image.radial_gradient("L").convert("RGB")
    light = await provider.draw(task(picture=start, strength=0.2, steps=10), Recorder())
    strong = await provider.draw(task(picture=start, strength=1.0, steps=10), Recorder())
    assert light.pictures[0].image.tobytes() != strong.pictures[0].image.tobytes()


async def test_it_tells_that_it_begins_and_every_step(provider: Provider, task: Callable[..., DrawTask]) -> None:
    recorder = Recorder()
    await provider.draw(task(steps=3), recorder)
    assert recorder.steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert recorder.previews


@pytest.mark.parametrize("error", [Cancelled(), LeaseLost()], ids=["cancelled", "lease lost"])
async def test_it_stops_where_progress_says_so_and_can_draw_again(
    provider: Provider, task: Callable[..., DrawTask], error: Cancelled | LeaseLost
) -> None:
    recorder = Recorder(stop=2, error=error)
    with pytest.raises(type(error)) as caught:
        await provider.draw(task(), recorder)
    assert caught.value is error
    assert recorder.steps[-1] == (2, 4)
    assert len((await provider.draw(task(), Recorder())).pictures) == 2


async def test_a_cancelled_call_gives_the_drawing_up(provider: Provider, task: Callable[..., DrawTask]) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Signalling(Recorder):
        def step(self, done: int, total: int) -> None:
            super().step(done, total)
            loop.call_soon_threadsafe(begun.set)

    recorder = Signalling()
    drawing = asyncio.create_task(provider.draw(task(steps=50), recorder))
    await begun.wait()
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    await provider.draw(task(), Recorder())  # waits for its turn behind what was given up
    assert recorder.steps[-1][0] < 50


def three(task: Callable[..., DrawTask]) -> list[DrawTask]:
    return [task(prompt=f"{n} circles", seed=10 * n, count=n) for n in (1, 2, 3)]


async def test_several_tasks_together_give_what_each_gives_alone(
    provider: Provider, task: Callable[..., DrawTask]
) -> None:
    assert isinstance(provider, DrawsTogether)
    recorders = [Recorder() for _ in range(3)]
    together = await provider.draw_together(three(task), recorders)
    for wanted, recorder, drawing in zip(three(task), recorders, together, strict=True):
        alone = await provider.draw(wanted, Recorder())
        assert isinstance(drawing, Drawing)
        assert [picture.seed for picture in drawing.pictures] == [picture.seed for picture in alone.pictures]
        for ours, theirs in zip(drawing.pictures, alone.pictures, strict=True):
            # A level or two of 8 bits, before a small model's pictures are enlarged and sharpened.
            assert max(ImageStat.Stat(ImageChops.difference(ours.image, theirs.image)).mean) < 0.1
        assert recorder.steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
        assert recorder.previews


async def test_who_is_stopped_in_company_leaves_the_others_alone(
    provider: Provider, task: Callable[..., DrawTask]
) -> None:
    assert isinstance(provider, DrawsTogether)
    error = Cancelled()
    recorders = [Recorder(), Recorder(stop=2, error=error), Recorder()]
    first, second, third = await provider.draw_together(three(task), recorders)
    assert second is error
    assert recorders[1].steps[-1] == (2, 4)
    assert isinstance(first, Drawing)
    assert isinstance(third, Drawing)
    assert [len(drawing.pictures) for drawing in (first, third)] == [1, 3]


async def test_a_cancelled_call_gives_all_of_a_company_up(provider: Provider, task: Callable[..., DrawTask]) -> None:
    assert isinstance(provider, DrawsTogether)
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Signalling(Recorder):
        def step(self, done: int, total: int) -> None:
            super().step(done, total)
            loop.call_soon_threadsafe(begun.set)

    recorders = [Signalling(), Signalling()]
    tasks = [task(steps=50), task(steps=50, seed=9)]
    drawing = asyncio.create_task(provider.draw_together(tasks, recorders))
    await begun.wait()
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    await provider.draw(task(), Recorder())
    assert all(done < 50 for recorder in recorders for done, _ in recorder.steps)
