"""The database goes away under a running bot and a running worker: orders are refused, work in hand is kept."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of, text_of
from flux_core.database import sqlite
from flux_core.errors import StorageUnavailable
from flux_core.jobs import Job, JobState
from flux_core.service import Submission
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, delivered, finished, is_private, order, outbox_empty, png, spent
from tests.bot.studio_worker import only_job, working
from tests.database.postgres import Server

AWAY = "Nothing was charged; please try again soon."
PATIENCE = 60.0
OUTAGE = float(os.environ.get("OUTAGE_SECONDS", "1"))
"""A minute in ``make soak``: OUTAGE_SECONDS=60 pytest --timeout 600."""


@pytest.fixture(params=["file", "server"])
def kind(request: pytest.FixtureRequest) -> str:
    """A file that somebody else has locked, or a server that is down."""
    return str(request.param)


@pytest.fixture
def server(kind: str) -> Iterator[Server | None]:
    server = Server() if kind == "server" else None
    yield server
    if server is not None:
        server.close()


@pytest.fixture
async def overrides(server: Server | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    if server is not None:
        return {"database_url": await server.new_database()}
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.3)
    return {}


@asynccontextmanager
async def away(stage: Stage, server: Server | None) -> AsyncIterator[None]:
    """Have nobody write meanwhile; on the server nobody reads, either."""
    if server is not None:
        await asyncio.to_thread(server.stop)
        yield
        await asyncio.to_thread(server.start)
        return
    file = stage.settings.database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        yield
        somebody.execute("ROLLBACK")


async def refused(person: Person) -> None:
    """Ask for pictures, and read in private why there are none."""
    await person.command("imagine", prompt="too soon", count=1)
    told = await person.wait_for(lambda m: is_private(m) and AWAY in text_of(m), PATIENCE)
    assert "too soon" not in text_of(told)


async def test_orders_are_refused_and_what_is_drawn_meanwhile_is_delivered_later(
    stage: Stage, server: Server | None, ada: Person, linus: Person
) -> None:
    async with working(stage, step_seconds=0.1):
        card = await order(stage, ada, prompt="a fox", count=2)
        await ada.wait_for(lambda m: m["id"] == card["id"] and "step" in text_of(m), PATIENCE)
        async with away(stage, server):
            await refused(linus)
            await asyncio.sleep(OUTAGE)  # the drawing ends, and cannot be told
            assert [m for m in await ada.messages() if "Reroll" in labels_of(m)] == []
        result = await ada.wait_for(lambda m: m["id"] == card["id"] and len(pictures_of(m)) == 2, PATIENCE)
        job = await only_job(stage, ada)
        assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
        assert await spent(stage, ada) == job.cost
        # Both go on as if nothing had been, and of the order that was refused nothing came.
        await outbox_empty(stage)
        assert await stage.studio.jobs_of(account_of(linus), active_only=False) == []
        assert await spent(stage, linus) == 0
        later = await ask(linus, prompt="a hare", count=1)
        assert len(pictures_of(await finished(linus, later["id"]))) == 1
        assert {m["id"] for m in await ada.messages() if pictures_of(m)} == {result["id"], later["id"]}


@pytest.mark.parametrize("kind", ["file"], indirect=True)
@pytest.mark.parametrize("with_picture", [False, True], ids=["of words", "from a picture"])
async def test_nothing_comes_of_an_order_that_was_committed_and_not_confirmed(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch, with_picture: bool
) -> None:
    submit = stage.studio.submit

    async def unheard(submission: Submission) -> Job:
        await submit(submission)
        raise StorageUnavailable("the connection broke while the answer was on its way")

    monkeypatch.setattr(stage.studio, "submit", unheard)
    more = {"image": await ada.upload(png(), "red.png"), "strength": 0.5} if with_picture else {}
    await ada.command("imagine", prompt="a fox", **more)
    await ada.wait_for(lambda m: is_private(m) and AWAY in text_of(m))
    version = None
    async with asyncio.timeout(PATIENCE):
        while (job := await only_job(stage, ada)).state is not JobState.CANCELLED:
            version = await stage.studio.changed(version, 1)
    assert await spent(stage, ada) == 0
    assert (await delivered(stage, job.id)).delivered_at is not None
    assert [m for m in await ada.messages() if not is_private(m)] == []
