"""From /imagine to posted pictures, with a real bot process, a real worker process and the model that ships.

All of these tests are about the same bot and the same worker: those take ten seconds of the processor to start.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of, text_of
from bot.sandbox.server import Sandbox
from flux_core.images.encoding import read_provenance
from tests.e2e.installation import Installation
from tests.sandbox.openapi_check import check, description_path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]
LONG = 240


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory):
    async with Sandbox() as sandbox:
        installation = Installation(sandbox, tmp_path_factory.mktemp("house"))
        try:
            await installation.bot()
            await installation.worker()
            yield installation
        finally:
            await installation.close()
        # Whatever the tests were about, every request of the bot has to be one that Discord describes.
        if description_path() is not None:
            check(sandbox.records)


@pytest_asyncio.fixture(loop_scope="module")
async def ada(running):
    async with Person(running.sandbox.base_url, "Ada") as person:
        yield person


@pytest_asyncio.fixture(loop_scope="module")
async def linus(running):
    async with Person(running.sandbox.base_url, "Linus") as person:
        yield person


async def pictures(person, message):
    """Download the pictures a message shows, decoded to RGB."""
    return [Image.open(io.BytesIO(await person.download(url))).convert("RGB") for url in pictures_of(message)]


async def finished(person, interaction, count=None):
    """Wait for the card of an interaction to become a result."""
    first = await person.response(interaction, LONG)
    return await person.wait_for(lambda message: message["id"] == first["id"] and "Reroll" in labels_of(message), LONG)


def colour_at(image, x, y):
    """Return the mean RGB of a patch around (x, y), given as parts of the sides."""
    pixels = np.asarray(image, dtype=float)
    height, width, _ = pixels.shape
    patch = pixels[int(y * height) - 8 : int(y * height) + 8, int(x * width) - 8 : int(x * width) + 8]
    return patch.mean(axis=(0, 1))


def likeness(one, other):
    """Return the correlation of two pictures' brightness, seen from afar (16 × 16)."""
    seen = [np.asarray(image.convert("L").resize((16, 16)), dtype=float).ravel() for image in (one, other)]
    return float(np.corrcoef(*seen)[0, 1])


async def test_a_prompt_becomes_four_pictures(running, ada):
    interaction = await ada.command("imagine", prompt="a red circle on a blue background --seed 7")
    card = await finished(ada, interaction)
    assert labels_of(card) == ["V1", "V2", "V3", "V4", "Reroll", "Details", "Delete"]
    assert "a red circle on a blue background" in text_of(card)
    assert "flux-tiny" in text_of(card)
    drawn = await pictures(ada, card)
    assert [picture.size for picture in drawn] == [(512, 512)] * 4
    assert len({picture.tobytes() for picture in drawn}) == 4
    for picture in drawn:
        red, _, blue = colour_at(picture, 0.06, 0.06)
        assert blue > red + 40, "the background is blue"
    assert "Seed: 7" in read_provenance(await ada.download(pictures_of(card)[0]))


async def test_the_card_shows_progress_with_a_preview_before_the_result(running, ada):
    seen, before = [], {message["id"] for message in await ada.messages()}

    def watch(message):
        if message["id"] in before:
            return False
        seen.append((text_of(message), len(pictures_of(message)), labels_of(message)))
        return "Reroll" in labels_of(message)

    await ada.command("imagine", prompt="a green square --steps 50")
    await ada.wait_for(watch, LONG)
    steps = [entry for entry in seen if "Cancel" in entry[2]]
    assert steps, "the card lived before it had a result"
    assert any(count == 1 for _, count, _ in steps), "a preview was shown"


async def test_every_button_of_a_result_works(running, ada, linus):
    card = await finished(ada, await ada.command("imagine", prompt="a yellow star --n 2 --seed 3"))
    original = await pictures(ada, card)

    details = await ada.response(await ada.press(card, "Details"))
    assert details["ephemeral_for"] == ada.id
    assert all(seed in text_of(details) for seed in ("3", "4"))
    assert "Apache-2.0" in text_of(details)

    await linus.wait_for(lambda message: message["id"] == card["id"] and "Reroll" in labels_of(message))
    rerolled = await finished(linus, await linus.press(card, "Reroll"))
    assert rerolled["id"] != card["id"]
    assert {p.tobytes() for p in await pictures(linus, rerolled)}.isdisjoint(p.tobytes() for p in original)

    varied = await finished(ada, await ada.press(card, "V2"))
    assert max(likeness(picture, original[1]) for picture in await pictures(ada, varied)) > 0.3

    refused = await linus.response(await linus.press(card, "Delete"))
    assert refused["ephemeral_for"] == linus.id
    await ada.press(card, "Delete")
    await ada.wait_gone(card["id"])
    async with running.studio() as studio:
        [job] = [job for job in await studio.jobs_of(account(running, ada), active_only=False) if job.request.seed == 3]
        assert [picture.key for picture in await studio.pictures(job.id)] == [None, None]
        [variation] = [j for j in await studio.jobs_of(account(running, ada), active_only=False) if j.parent_id]
        assert (variation.parent_id, variation.parent_position) == (job.id, 1)


async def test_cancel_stops_a_running_job_and_gives_its_credits_back(running, ada):
    async with running.studio() as studio:
        before = (await studio.quota(account(running, ada))).left
        await ada.command("imagine", prompt="a blue fish --steps 50")
        first = await ada.wait_for(lambda message: "Cancel" in labels_of(message), LONG)
        await ada.press(first, "Cancel")
        card = await ada.wait_for(lambda m: m["id"] == first["id"] and "ancelled" in text_of(m), LONG)
        assert pictures_of(card) == []
        assert (await studio.quota(account(running, ada))).left == before


async def test_an_uploaded_picture_with_little_strength_keeps_its_composition(running, ada):
    picture = Image.new("RGB", (600, 400), (40, 60, 200))
    picture.paste((230, 60, 40), (60, 100, 260, 300))
    data = io.BytesIO()
    picture.save(data, "PNG")
    upload = await ada.upload(data.getvalue(), "mine.png")
    card = await finished(ada, await ada.command("imagine", prompt="a red square", image=upload, strength=0.3, count=1))
    [drawn] = await pictures(ada, card)
    assert drawn.size == (768, 512), "the size follows the picture"
    assert likeness(drawn, picture) > 0.8


def account(installation, person):
    from flux_core.jobs import Account

    return Account(int(installation.sandbox.world.guild_id), int(person.id))
