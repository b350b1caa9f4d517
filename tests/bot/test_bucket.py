"""What members see while the bucket with the pictures refuses, or is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.reading import pictures_of, text_of
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, delivered, finished, is_private, order, png, spent
from tests.bucket import BucketServer


@pytest.fixture
def overrides(bucket: str) -> dict[str, Any]:
    """Keep the pictures in a bucket."""
    return {"picture_store": bucket}


async def test_an_order_with_a_picture_is_refused_in_private_and_costs_nothing(
    stage: Stage, ada: Person, bucket_server: BucketServer
) -> None:
    picture = await ada.upload(png(), "red.png")
    with bucket_server.denying():
        await ada.command("imagine", prompt="a flag", image=picture, strength=0.5)
        told = await ada.wait_for(is_private)
    assert "403" not in text_of(told)
    assert "try again" in text_of(told).lower()
    assert await stage.studio.live_jobs() == []
    assert await spent(stage, ada) == 0
    assert [m for m in await ada.messages() if not is_private(m)] == []


async def test_an_order_in_words_is_taken_and_shown_without_a_preview(
    stage: Stage, ada: Person, bucket_server: BucketServer
) -> None:
    card = await order(stage, ada, prompt="a fox", count=1)
    job = await stage.easel.take()
    await stage.easel.step(job, 1)
    key = f"previews/{job.id}/2.webp"
    with bucket_server.denying():
        await stage.easel.queue.progress("easel", job.id, 2, job.request.steps, key)
        shown = await ada.wait_for(lambda m: m["id"] == card["id"] and "step 2 of 8" in text_of(m))
    assert pictures_of(shown) == []
    await stage.easel.finish(job)
    assert len(pictures_of(await finished(ada, card["id"]))) == 1


async def test_finished_pictures_are_delivered_when_the_bucket_gives_them(
    stage: Stage, ada: Person, bucket_server: BucketServer
) -> None:
    card = await ask(ada, prompt="a fox", count=2)
    job = await stage.easel.take()
    await stage.stop_bot()
    await stage.easel.finish(job)
    version = None
    with bucket_server.denying():
        await stage.start_bot()
        async with asyncio.timeout(30):
            while not [one for one in await stage.studio.live_jobs() if one.delivery_attempts]:
                version = await stage.studio.changed(version, 1)
    result = await finished(ada, card["id"])
    assert len(pictures_of(result)) == 2
    assert (await delivered(stage, job.id)).reply_to is not None
