"""A wait for an event ends when it happens, when its time is up, and when it is cancelled: even in the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from flux_core.database.connecting import connect
from flux_core.database.postgres import PostgresDatabase
from flux_core.waiting import happened
from tests.database.postgres import new_database

TURNS = range(8)
"""Turns of the event loop from the event to the cancellation: more than any wait here takes to notice."""


async def outlives_its_cancellation(wait: Callable[[], Awaitable[object]], occur: Callable[[], None]) -> list[int]:
    """Return after how many turns a loop around ``wait`` was cancelled and went on all the same."""
    outlived = []
    for turns in TURNS:

        async def again_and_again() -> None:
            while True:
                await wait()

        waiting = asyncio.create_task(again_and_again())
        for _ in TURNS:
            await asyncio.sleep(0)
        occur()
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=0.05)
        if not waiting.done():
            outlived.append(turns)
            waiting.cancel()
            await asyncio.wait({waiting})
    return outlived


class Bell:
    """An event that is over as soon as it was heard."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def ring(self) -> None:
        self.event.set()
        self.event = asyncio.Event()


async def test_a_cancellation_in_the_moment_of_the_event_ends_who_waits() -> None:
    bell = Bell()
    assert await outlives_its_cancellation(lambda: happened(bell.event, 60), bell.ring) == []


async def test_the_standard_library_swallows_such_a_cancellation() -> None:
    # Why there is a function of our own. Once this fails, on a newer Python, it can go.
    bell = Bell()
    assert await outlives_its_cancellation(lambda: asyncio.wait_for(bell.event.wait(), 60), bell.ring) != []


async def test_who_watches_a_server_for_changes_can_always_be_cancelled() -> None:
    # As a worker does that is told to stop in the moment in which somebody else writes.
    db = await connect(await new_database())
    version = await db.changed(None, 0)

    async def watch() -> None:
        nonlocal version
        version = await db.changed(version, 60)

    try:
        assert isinstance(db, PostgresDatabase)
        assert await outlives_its_cancellation(watch, db._noted) == []
    finally:
        await db.close()


@pytest.mark.parametrize("happens", [True, False])
async def test_it_says_whether_it_happened(happens: bool) -> None:
    event = asyncio.Event()
    if happens:
        event.set()
    assert await happened(event, 0.01) is happens
