"""The bucket stalls: whoever needs it waits, and nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of, text_of
from flux_core.jobs import JobState
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, png
from tests.bot.studio_worker import only_job, working
from tests.bucket import BucketServer
from tests.stalling_proxy import StallingProxy

PATIENCE = 60.0


@pytest.fixture
async def proxy(bucket_server: BucketServer) -> AsyncIterator[StallingProxy]:
    async with StallingProxy(bucket_server.port).running() as proxy:
        yield proxy


@pytest.fixture
def overrides(bucket: str, proxy: StallingProxy, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keep the pictures in a bucket at the end of a way that may stall."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    return {"picture_store": bucket}


async def test_a_bucket_that_stalls_holds_up_only_what_needs_it(
    stage: Stage, ada: Person, linus: Person, proxy: StallingProxy
) -> None:
    async with working(stage, step_seconds=0.1):
        drawn = await ask(ada, prompt="a fox", count=1)
        await ada.wait_for(lambda m: m["id"] == drawn["id"] and "step" in text_of(m), PATIENCE)
        proxy.stall()
        picture = await ada.upload(png(), "red.png")
        # It is acknowledged with "thinking…", and has a card once its picture is kept.
        from_picture = await ada.command("imagine", prompt="a flag", count=1, image=picture, strength=0.5)
        assert (await ada.outcome(from_picture)).state == "acknowledged"
        # The bot answers others as quickly as ever: 3 seconds are all that Discord gives.
        in_words = await ask(linus, prompt="a hare", count=1)
        await asyncio.sleep(1.0)  # what is drawn cannot be stored
        assert await _states(stage, ada) == [JobState.RUNNING]
        assert [m for m in await ada.messages() if pictures_of(m) and "Reroll" in labels_of(m)] == []
        proxy.go_on()
        for person, card in ((ada, drawn), (ada, await ada.response(from_picture, PATIENCE)), (linus, in_words)):
            await person.wait_for(
                lambda m, id=card["id"]: m["id"] == id and pictures_of(m) and "Details" in str(m["components"]),
                PATIENCE,
            )
        job = await only_job(stage, linus)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
    assert await _states(stage, ada) == [JobState.SUCCEEDED, JobState.SUCCEEDED]


async def _states(stage: Stage, person: Person) -> list[JobState]:
    return [job.state for job in await stage.studio.jobs_of(account_of(person), active_only=False)]
