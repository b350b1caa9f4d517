"""The bot's shards as they are, for its metrics and for whoever asks whether it is ready."""

from __future__ import annotations

import math
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bot.client import FluxBot
from flux_core.metrics import definitions as m
from flux_core.shards import shown


class Gateway(Collector):
    """The shards of a client."""

    def __init__(self, client: FluxBot) -> None:
        self._client = client

    def collect(self) -> Iterable[Metric]:
        """Return for each shard whether it is connected, and how long its last heartbeat took."""
        up, latency = m.SHARD_UP.family(), m.LATENCY.family()
        for id, shard in self._client.shards.items():
            closed = shard.is_closed()
            up.add_metric((str(id),), 0.0 if closed else 1.0)
            # Infinite until the first heartbeat is answered.
            if not closed and math.isfinite(shard.latency):
                latency.add_metric((str(id),), shard.latency)
        unkept = m.SHARD_UNKEPT.family()
        if self._client.keeping is not None:
            for id in self._client.keeping.missing:
                unkept.add_metric((str(id),), 1.0)
        return [up, latency, unkept]

    async def trouble(self) -> str | None:
        """Return why the bot hears nothing of its members; None while every shard is connected."""
        shards = self._client.shards
        if not shards:
            return "not connected yet"
        closed = [id for id in self._client.kept_shards if id not in shards or shards[id].is_closed()]
        return f"not connected: shard {shown(closed)}" if closed else None
