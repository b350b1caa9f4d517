"""What cannot be drawn is refused privately, and nothing is charged."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from bot.sandbox.driver import Person, Refused
from bot.sandbox.reading import text_of
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, is_private, order, png, spent

REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "\u200b"}, "nothing to draw yet"),
    ({"prompt": "--seed 4"}, "nothing to draw yet"),
    ({"prompt": "x" * 2001}, "2,001 characters; I can read up to 2,000"),
    ({"prompt": "x" * 6000}, "6,000 characters; I can read up to 2,000"),
    ({"prompt": "a", "model": "flux-ultra"}, "There is no model “flux-ultra” here"),
    ({"prompt": "a", "model": "flux-dev", "steps": 51}, "`steps` can be 1 to 50 here, not 51"),
    ({"prompt": "a", "model": "flux-dev", "steps": 0}, "`steps` can be 1 to 50 here, not 0"),
    ({"prompt": "a", "count": 5}, "`count` can be 1 to 4 here, not 5"),
    ({"prompt": "a", "seed": -1}, "`seed` can be 0 to 4294967295 here, not -1"),
    ({"prompt": "a", "model": "flux-dev", "guidance": 0.5}, "`guidance` can be 1 to 10 here, not 0.5"),
    ({"prompt": "a", "strength": 0.5}, "there is none"),
    ({"prompt": "a", "size": "big"}, "I can't read the size “big”"),
    ({"prompt": "a", "size": "1000x1000", "model": "flux-dev"}, "must be multiples of 16"),
    ({"prompt": "a", "size": "64x64", "model": "flux-dev"}, "each side needs at least 256 pixels"),
    ({"prompt": "a", "size": "2048x2048", "model": "flux-dev"}, "at most 2 megapixels in all"),
    ({"prompt": "a", "size": "1024x1024", "aspect": "16:9", "model": "flux-dev"}, "don't fit together"),
    ({"prompt": "a --style raw"}, "I don't know the flag `--style`"),
    ({"prompt": "a --sed 3"}, "Did you mean `--seed`?"),
    ({"prompt": "a --steps many"}, "`--steps` needs a whole number, but it says “many”"),
    ({"prompt": "a --ar"}, "`--ar` needs a value behind it, for example `--ar 16:9`"),
    ({"prompt": "a --ar 5:7"}, r"I don't know the aspect “5\:7”"),
    ({"prompt": "a --seed 3", "seed": 4}, "The option `seed` says “4”, but the flag in your prompt says “3”"),
    ({"prompt": "a --format bmp"}, "I can't save pictures as “bmp”"),
]


async def test_impossible_requests_are_refused_privately(stage: Stage, ada: Person) -> None:
    for options, sentence in REFUSALS:
        answer = await ask(ada, **options)
        assert sentence in text_of(answer), options
        assert is_private(answer), options
    assert await spent(stage, ada) == 0
    assert await stage.studio.live_jobs() == []


@pytest.mark.parametrize(("prompt", "sentence"), [("", "required"), ("x" * 10_000, "0 to 6000")], ids=len)
async def test_what_discord_itself_refuses_never_reaches_the_bot(
    stage: Stage, ada: Person, prompt: str, sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        await ada.command("imagine", prompt=prompt)
    assert await spent(stage, ada) == 0


def bomb() -> bytes:
    """Return 50 KB that claim to be 400 megapixels."""
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")
    return data.getvalue()


BAD_FILES: list[tuple[bytes, str, str]] = [
    (b"", "empty.png", "empty"),
    (b"hello, this is text", "renamed.png", "no picture I can read"),
    (png(800, 800)[:900], "truncated.png", "damaged or cut off"),
    (b"%PDF-1.7", "paper.pdf", "no picture I can read"),
    (bomb(), "bomb.png", "20000×20000 pixels; I take up to 50 megapixels"),
]


@pytest.mark.parametrize(("data", "name", "sentence"), BAD_FILES, ids=[name for _, name, _ in BAD_FILES])
async def test_bad_pictures_are_refused_privately(
    stage: Stage, ada: Person, data: bytes, name: str, sentence: str
) -> None:
    image = await ada.upload(data, name)
    asked = await ada.command("imagine", prompt="a", image=image)
    refusal = await ada.wait_for(is_private)
    assert sentence in text_of(refusal)
    placeholder = (await ada.outcome(asked)).response_message_id
    if placeholder != refusal["id"]:
        assert placeholder is not None
        await ada.wait_gone(placeholder)
    assert await spent(stage, ada) == 0
    assert await stage.studio.live_jobs() == []


@pytest.mark.parametrize("overrides", [{"max_upload_bytes": 2000, "max_upload_pixels": 10_000}])
async def test_too_large_pictures_are_refused_privately(stage: Stage, ada: Person, overrides: dict[str, Any]) -> None:
    heavy = await ada.upload(png(96, 64) + bytes(3000), "heavy.png")
    assert "file of" in text_of(await ask(ada, prompt="a", image=heavy))
    bomb = await ada.upload(png(200, 100), "bomb.png")
    await ada.command("imagine", prompt="a", image=bomb)
    await ada.wait_for(lambda m: is_private(m) and "200×100 pixels" in text_of(m))
    assert await spent(stage, ada) == 0


@pytest.mark.parametrize("overrides", [{"daily_allowance": 1.0, "max_waiting": 2}])
async def test_spent_quota_and_full_queue_are_refused_privately(
    stage: Stage, ada: Person, overrides: dict[str, Any]
) -> None:
    refusal = await ask(ada, prompt="a", model="flux-dev", count=1)
    assert "This costs 7 credits and you have 1 credit left" in text_of(refusal)
    assert "<t:" in text_of(refusal)
    assert is_private(refusal)
    for _ in range(2):
        await order(stage, ada, prompt="a", steps=1, count=1)
    refusal = await ask(ada, prompt="a", steps=1, count=1)
    assert "2 jobs waiting" in text_of(refusal)
    assert is_private(refusal)


async def test_a_channel_without_permission_is_named_before_anything_happens(stage: Stage, ada: Person) -> None:
    refusal = await ada.response(await ada.command("imagine", prompt="a", channel="read-only"))
    assert "**Send Messages**" in text_of(refusal)
    assert is_private(refusal)
    stage.sandbox.inject(deny=["ATTACH_FILES"])
    refusal = await ask(ada, prompt="a", private=True)
    assert "**Attach Files**" in text_of(refusal)
    assert await spent(stage, ada) == 0
