"""What this process has counted since a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flux_core.metrics import definitions as m


def growth() -> Callable[..., float]:
    """Return what tells by how much a sample (its name, its labels) has grown since this call."""
    before = {
        (one.name, frozenset(one.labels.items())): one.value for each in m.REGISTRY.collect() for one in each.samples
    }

    def grown(name: str, **labels: str) -> float:
        now = m.REGISTRY.get_sample_value(name, labels) or 0.0
        return now - before.get((name, frozenset(labels.items())), 0.0)

    return grown


async def until(fact: Callable[[], object]) -> None:
    """Wait until something is so of which nobody tells."""
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
