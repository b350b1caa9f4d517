"""The scripted provider keeps to its script, without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from flux_core.catalogue import Catalogue
from flux_core.errors import DrawingBroken, Refused
from flux_core.generation import InputPicture, RequestOptions, resolve
from flux_core.providers.base import DrawTask
from flux_core.providers.scripted import ScriptedProvider, colour_of
from tests.providers.recorder import Recorder

CATALOGUE = Catalogue({"flux-tiny": "nowhere"})
TASK = DrawTask(job_id="a", request=resolve(RequestOptions(prompt="x", seed=5, count=2, steps=4), CATALOGUE))


async def test_failures_come_in_the_order_of_the_script() -> None:
    provider = ScriptedProvider(CATALOGUE, script=[DrawingBroken("first"), None, Refused(reason="rule")])
    recorder = Recorder()
    with pytest.raises(DrawingBroken, match="first"):
        await provider.draw(TASK, recorder)
    assert recorder.steps == [(0, 4), (1, 4), (2, 4)]
    assert len((await provider.draw(TASK, Recorder())).pictures) == 2
    with pytest.raises(Refused):
        await provider.draw(TASK, Recorder())
    assert len((await provider.draw(TASK, Recorder())).pictures) == 2
    assert provider.tasks == [TASK] * 4


async def test_a_seed_has_its_colour() -> None:
    drawn = await ScriptedProvider(CATALOGUE).draw(TASK, Recorder())
    assert [picture.image.getpixel((0, 0)) for picture in drawn.pictures] == [colour_of(5), colour_of(6)]
    assert len({colour_of(seed) for seed in range(50)}) == 50


async def test_strength_is_the_share_drawn_over() -> None:
    black = Image.new("RGB", (30, 30))
    picture = InputPicture(key="x", width=30, height=30)
    request = resolve(RequestOptions(prompt="x", seed=5, strength=0.5), CATALOGUE, picture=picture)
    task = DrawTask(job_id="a", request=request, input_image=black)
    (first, *_) = (await ScriptedProvider(CATALOGUE).draw(task, Recorder())).pictures
    found = first.image.getpixel((9, 9))
    assert isinstance(found, tuple)
    assert all(abs(int(half) - full / 2) <= 1 for half, full in zip(found, colour_of(5), strict=True))


def test_it_needs_no_torch() -> None:
    code = "import sys; import flux_core.providers.scripted; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
