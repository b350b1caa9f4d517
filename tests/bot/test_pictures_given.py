"""What a member gives besides words: a picture to edit, a mask, a LoRA. From the sandbox's keyboard to the job."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.errors import LoraUnusable
from flux_core.generation import GenerationRequest
from flux_core.offers import Offer
from tests.bot import test_reviews
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, delivered, finished, is_private, png, press


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {
        "flux_kontext_path": "kontext",
        "flux_fill_path": "fill",
        "flux_redux_path": "redux",
        "flux_klein_path": "klein",
        "loras": "ink=loras/ink.safetensors, oil=studio/oil:flux-dev",
    }


async def asked(stage: Stage, person: Person, **options: Any) -> GenerationRequest:
    await ask(person, **({"prompt": "a flag", "count": 1} | options))
    return (await stage.easel.take()).request


async def refused(person: Person, **options: Any) -> str:
    answer = await ask(person, **({"prompt": "a flag", "count": 1} | options))
    assert is_private(answer)
    return text_of(answer)


async def test_a_mask_goes_with_its_picture_and_a_model_that_paints_is_chosen(stage: Stage, ada: Person) -> None:
    image, mask = await ada.upload(png(200, 100), "shot.png"), await ada.upload(png(100, 50, "white"), "mask.png")
    answer = await ask(ada, prompt="a flag", image=image, mask=mask, count=1)
    job = await stage.easel.take()
    request = job.request
    assert request.model == "flux-fill-dev"
    assert request.input_picture is not None
    assert request.input_mask is not None
    assert (request.input_mask.width, request.input_mask.height) == (100, 50)
    assert request.width == 2 * request.height
    assert Image.open(io.BytesIO(await stage.studio.picture_bytes(request.input_mask.key))).size == (100, 50)
    await stage.easel.finish(job)
    done = await finished(ada, answer["id"])
    await delivered(stage, job.id)
    assert "painted anew" in text_of(await press(ada, done, "Details"))
    await press(ada, done, "V1")
    varied = (await stage.easel.take()).request
    assert varied.input_mask == request.input_mask
    assert varied.input_picture != request.input_picture


async def test_a_picture_means_what_the_model_makes_of_it(stage: Stage, ada: Person) -> None:
    image = await ada.upload(png(100, 100), "shot.png")
    for model in ("flux-kontext-dev", "flux-redux-dev", "flux-klein-4b"):
        request = await asked(stage, ada, model=model, image=image)
        assert request.input_picture is not None
        assert request.strength is None
    assert (await asked(stage, ada, model="flux-klein-4b")).input_picture is None


async def test_what_is_missing_or_too_much_is_told_in_private(stage: Stage, ada: Person) -> None:
    image, mask = await ada.upload(png(100, 100), "shot.png"), await ada.upload(png(100, 100), "mask.png")
    assert "Give it a picture as `image`" in await refused(ada, model="flux-kontext-dev")
    assert "and a `mask` of it" in await refused(ada, model="flux-fill-dev")
    assert "needs to know where to paint" in await refused(ada, model="flux-fill-dev", image=image)
    assert "cannot paint anew what a mask shows" in await refused(ada, model="flux-dev", image=image, mask=mask)
    assert "Attach it as `image`, too" in await refused(ada, mask=mask)
    black = await ada.upload(png(100, 100, "black"), "mask.png")
    await ada.command("imagine", prompt="a flag", image=image, mask=black, count=1)
    await ada.wait_for(lambda m: is_private(m) and "Your `mask` is white nowhere" in text_of(m))
    tall = await ada.upload(png(50, 100, "white"), "mask.png")
    await ada.command("imagine", prompt="a flag", image=image, mask=tall, count=1)
    said = await ada.wait_for(lambda m: is_private(m) and "Your `mask` has another shape" in text_of(m))
    assert "The mask has 50×100 pixels, the picture 100×100." in text_of(said)
    assert await stage.studio.live_jobs() == []


async def test_a_lora_is_offered_asked_for_and_shown(stage: Stage, ada: Person) -> None:
    async def offered(typed: str, **options: str) -> list[str]:
        return [choice["value"] for choice in await ada.autocomplete("imagine", "lora", typed, **options)]

    assert await offered("") == ["ink"]
    assert await offered("", model="flux-dev") == ["ink", "oil"]
    assert await offered("O:0.5", model="flux-dev") == ["oil:0.5"]
    answer = await ask(ada, prompt="a flag --lora ink:0.8", count=1)
    job = await stage.easel.take()
    assert job.request.lora is not None
    assert (job.request.lora.name, job.request.lora.weight) == ("ink", 0.8)
    await stage.easel.finish(job)
    done = await finished(ada, answer["id"])
    assert "LoRA ink 0.8" in text_of(done)
    assert "ink with weight 0.8" in text_of(await press(ada, done, "Details"))
    await press(ada, done, "Reroll")
    assert (await stage.easel.take()).request.lora == job.request.lora


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"lora": "inc"}, "Did you mean `ink`?"),
        ({"lora": "oil"}, "The LoRA `oil` is for `flux-dev`, not for `flux-tiny`"),
        ({"lora": "ink:2"}, "1.5"),
        ({"lora": "ink:-1"}, "1.5"),
        ({"lora": "ink:much"}, "much"),
    ],
)
async def test_a_lora_that_cannot_be_had_is_refused(
    stage: Stage, ada: Person, typed: dict[str, str], told: str
) -> None:
    assert told in await refused(ada, **typed)


async def test_members_are_offered_the_loras_of_living_workers_and_told_where_none_has_one(
    stage: Stage, ada: Person
) -> None:
    stage.easel.offers = {"flux-tiny": Offer(theirs="x", loras=("pen",))}
    await stage.easel.register()
    assert [choice["value"] for choice in await ada.autocomplete("imagine", "lora", "")] == ["pen"]
    await ask(ada, prompt="a flag", lora="pen:0.5", count=1)
    assert str((await stage.easel.take()).request.lora) == "pen:0.5"
    assert "none has the LoRA ink for flux-tiny at the moment" in await refused(ada, lora="ink")


async def test_a_lora_that_does_not_fit_ends_the_job_with_the_credits_back(stage: Stage, ada: Person) -> None:
    answer = await ask(ada, prompt="a flag", lora="ink", count=1)
    job = await stage.easel.take()
    await stage.easel.fail(job, LoraUnusable("does not fit", lora="ink", model="flux-tiny"))
    ended = await ada.wait_for(lambda m: m["id"] == answer["id"] and "LoRA `ink` can't be used" in text_of(m))
    assert "Your credits are back" in text_of(ended)
    assert "V1" not in labels_of(ended)


async def test_a_lora_that_is_listed_no_longer_cannot_be_had_by_a_button(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await ask(ada, prompt="a flag", lora="ink", count=1)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    done = await finished(ada, answer["id"])
    monkeypatch.setattr(stage.studio.catalogue, "loras", {})
    stage.easel.offers = {model: Offer(theirs=model) for model in stage.easel.offers}
    await stage.easel.register()
    for button in ("Reroll", "V1"):
        refusal = await press(ada, done, button)
        assert is_private(refusal)
        assert "There is no LoRA for this model here" in text_of(refusal)
    assert await stage.studio.live_jobs() == []


async def test_moderators_see_the_mask_of_what_they_approve(stage: Stage, ada: Person, grace: Person) -> None:
    await test_reviews.moderate(stage, grace)
    image, mask = await ada.upload(png(200, 100), "shot.png"), await ada.upload(png(100, 50, "white"), "marks.png")
    await ask(ada, prompt="a dragon", image=image, mask=mask, count=1)
    message = await test_reviews.asked(grace)
    assert [one["filename"] for one in message["attachments"]] == ["start.png", "mask.png"]
    assert "can't show" not in text_of(message)
