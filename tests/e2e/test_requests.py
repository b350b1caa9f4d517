"""Everything that the bot sends to Discord fits Discord's own description of its API."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from bot.sandbox.reading import labels_of, text_of
from tests.sandbox.openapi_check import check, needs_description

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
LONG = 240


@needs_description
async def test_every_request_of_a_full_tour_is_as_discord_describes_it(installation, sandbox, ada, linus, grace):
    await installation.bot()
    await installation.scripted()

    async def result(person, interaction):
        first = await person.response(interaction, LONG)
        return await person.wait_for(lambda m: m["id"] == first["id"] and "Reroll" in labels_of(m), LONG)

    card = await result(ada, await ada.command("imagine", prompt="a red circle --n 2"))
    await ada.response(await ada.press(card, "Details"))
    await linus.wait_for(lambda m: m["id"] == card["id"] and "Reroll" in labels_of(m))
    await result(linus, await linus.press(card, "Reroll"))
    await result(linus, await linus.press(card, "V1"))
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), "navy").save(picture, "PNG")
    upload = await ada.upload(picture.getvalue(), "blue.png")
    options = {"image": upload, "strength": 0.5, "count": 1, "spoiler": True, "private": True, "format": "png"}
    await result(ada, await ada.command("imagine", prompt="a star", **options))
    await ada.response(await ada.command("imagine", prompt="a star --steps 900"))
    await ada.response(await ada.command("quota"))
    await ada.response(await ada.command("jobs"))
    await ada.response(await ada.command("help"))
    await ada.autocomplete("imagine", "prompt", "a")
    await ada.autocomplete("imagine", "model", "flux", prompt="a")
    await grace.response(await grace.command("admin quota grant", member=ada.id, credits=5, reason="a gift"))
    await grace.response(await grace.command("admin queue pause", reason="a break"))
    assert "a break" in text_of(await ada.response(await ada.command("imagine", prompt="a star")))
    await grace.response(await grace.command("admin queue resume"))
    await ada.press(card, "Delete")
    await ada.wait_gone(card["id"])

    assert len(sandbox.records) > 20
    check(sandbox.records)
