"""A loop that looks again whatever happened in the last look."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from bot.delivery import rounds
from flux_core.errors import StorageUnavailable
from flux_core.service import Studio


class Changing:
    """As much of a studio as a loop hears: every call tells of another change."""

    def __init__(self) -> None:
        self.version = 0

    async def changed(self, since: int | None, timeout: float) -> int:  # noqa: ASYNC109
        assert since in (None, self.version)
        self.version += 1
        return self.version


async def test_a_look_that_fails_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rounds, "GAP", 0)
    monkeypatch.setattr(rounds, "AFTER_TROUBLE", 0)
    troubles: list[Exception | None] = [StorageUnavailable("away"), RuntimeError("unforeseen"), None]
    looked = asyncio.Event()

    async def look() -> None:
        if (trouble := troubles.pop(0)) is not None:
            raise trouble
        looked.set()
        await asyncio.Event().wait()

    loop = asyncio.create_task(rounds.rounds(cast("Studio", cast("Any", Changing())), look, "things"))
    async with asyncio.timeout(30):
        await looked.wait()
    assert "things have to wait: away" in caplog.text
    assert "a look at things failed" in caplog.text
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 2.0), (1, 4.0), (4, 32.0), (5, 60.0), (10_000, 60.0)])
def test_pauses_grow_up_to_the_longest(attempts: int, seconds: float) -> None:
    assert rounds.pause_after(attempts, 60.0) == seconds
