"""From /imagine to the posted pictures, over real sockets, through discord.py, down to the database."""

from __future__ import annotations

import io

from PIL import Image

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of, text_of
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, delivered, draw, finished, is_private, order, png, press


async def test_imagine_posts_pictures(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a red circle", seed=7, count=2)
    assert "In the queue" in text_of(first)
    assert labels_of(first) == ["Cancel"]
    job = await stage.easel.take()
    assert job.request.seeds == range(7, 9)
    await stage.easel.finish(job)
    done = await finished(ada, first["id"])
    assert "a red circle" in text_of(done)
    assert "seed 7" in text_of(done)
    assert f"<@{ada.id}>" in text_of(done)
    assert labels_of(done) == ["V1", "V2", "Reroll", "Details", "Delete"]
    pictures = [Image.open(io.BytesIO(await ada.download(url))) for url in pictures_of(done)]
    assert [picture.size for picture in pictures] == [(512, 512)] * 2
    job = await delivered(stage, job.id)
    assert job.reply_to is not None
    assert job.reply_to.interaction_token == ""


async def test_the_message_tells_turn_then_progress_with_a_preview(stage: Stage, ada: Person) -> None:
    first = await order(stage, ada, prompt="one")
    second = await order(stage, ada, prompt="two")
    await ada.wait_for(lambda m: m["id"] == second["id"] and "2nd in the queue" in text_of(m))
    job = await stage.easel.take()
    await stage.easel.step(job, 3, preview=True)
    drawing = await ada.wait_for(lambda m: m["id"] == first["id"] and "step 3 of 8" in text_of(m))
    assert len(pictures_of(drawing)) == 1
    assert labels_of(drawing) == ["Cancel"]
    await stage.easel.step(job, 6, preview=True)
    later = await ada.wait_for(lambda m: m["id"] == first["id"] and "step 6 of 8" in text_of(m))
    assert pictures_of(later) != pictures_of(drawing)
    assert len(later["attachments"]) == 1
    await ada.wait_for(lambda m: m["id"] == second["id"] and "Next in the queue" in text_of(m))
    await stage.easel.finish(job)
    done = await finished(ada, first["id"])
    assert len(done["attachments"]) == len(pictures_of(done)) == 4


async def test_every_option_reaches_the_job(stage: Stage, ada: Person) -> None:
    await ask(
        ada,
        prompt="a boat",
        model="flux-dev",
        aspect="16:9",
        steps=5,
        guidance=2.5,
        seed=11,
        count=1,
        format="png",
        spoiler=True,
    )
    job = await stage.easel.take()
    request = job.request
    assert (request.model, request.steps, request.guidance, request.seed) == ("flux-dev", 5, 2.5, 11)
    assert (request.width, request.height, request.count, request.output_format) == (1360, 768, 1, "png")
    assert job.reply_to is not None
    assert job.reply_to.spoiler
    await stage.easel.finish(job)
    done = await ada.wait_for(lambda m: "Details" in labels_of(m))
    gallery = next(c for c in done["components"][0]["components"] if c["type"] == 12)
    assert [item["spoiler"] for item in gallery["items"]] == [True]


async def test_flags_in_the_prompt_reach_the_job(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="a boat —ar 2:3 --seed 5 –n 1 --steps 20 --model “flux-schnell” --steps 20 at sea", steps=20)
    refusal = await ada.wait_for(is_private)
    assert "`steps` can be 1 to 12" in text_of(refusal)
    await ask(ada, prompt="a boat —ar 2:3 --seed 5 –n 1 --steps 4 --model “flux-schnell” at sea", steps=4)
    request = (await stage.easel.take()).request
    assert request.prompt == "a boat at sea"
    assert (request.model, request.seed, request.count, request.steps) == ("flux-schnell", 5, 1, 4)
    assert request.width < request.height


async def test_an_uploaded_picture_is_the_start(stage: Stage, ada: Person) -> None:
    image = await ada.upload(png(200, 100), "shot.png")
    await ask(ada, prompt="a flag", image=image, strength=0.3, count=1)
    request = (await stage.easel.take()).request
    assert request.strength == 0.3
    assert request.input_picture is not None
    assert (request.input_picture.width, request.input_picture.height) == (200, 100)
    assert request.width == 2 * request.height
    kept = await stage.studio.picture_bytes(request.input_picture.key)
    assert Image.open(io.BytesIO(kept)).getpixel((0, 0)) == (255, 0, 0)


async def test_private_pictures_are_for_one_pair_of_eyes(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="secret", count=1, private=True)
    assert is_private(done)
    public = await draw(stage, linus, prompt="open", count=1)
    job = next(j for j in await stage.studio.jobs_of(account_of(ada), active_only=False))
    assert all(message["id"] != done["id"] for message in await linus.messages())
    answer = await linus.response(await linus.forge(public, f"flux:details:{job.id}"))
    assert "secret" not in text_of(answer)
    again = await press(ada, done, "Reroll")
    assert is_private(again)
    await ada.press(done, "Delete")
    await ada.wait_gone(done["id"])
