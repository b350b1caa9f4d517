"""A storage that is away is asked again, and one that is stuck not for ever."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from flux_core import insistence
from flux_core.errors import StorageUnavailable
from flux_core.insistence import insist


async def test_what_takes_long_to_say_no_is_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 0.0, 0

    async def stuck() -> None:
        nonlocal now, asked
        now, asked = now + 120, asked + 1
        raise StorageUnavailable("nothing came of it")

    monkeypatch.setattr(insistence, "RETRY_SECONDS", (0.0,) * 34)
    monkeypatch.setattr(insistence, "time", SimpleNamespace(monotonic=lambda: now))
    with pytest.raises(StorageUnavailable):
        await insist(stuck)
    assert asked == 3, "five minutes are over"
