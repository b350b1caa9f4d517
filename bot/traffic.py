"""The bot's dealings with Discord, counted: requests as they are answered, and the gateway as it is."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flux_core.metrics import definitions as m
from flux_core.shards import shown

if TYPE_CHECKING:
    from bot.client import FluxBot

FIRST_ANSWER = re.compile(r"/interactions/(\d+)/[^/]+/callback$")
SCOPES = ("user", "global", "shared")
"""What Discord says a rate limit belongs to."""


def counted_requests() -> aiohttp.TraceConfig:
    """Return what counts every request to Discord's API, those included that discord.py repeats by itself."""
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_begin)
    trace.on_request_end.append(_end)
    trace.on_request_exception.append(_break_off)
    return trace


async def _begin(_: Any, context: SimpleNamespace, sent: aiohttp.TraceRequestStartParams) -> None:
    # The session fetches from the CDN and connects to the gateway, too.
    context.began = time.monotonic() if str(sent.url).startswith(discord.http.Route.BASE) else None


async def _end(_: Any, context: SimpleNamespace, ended: aiohttp.TraceRequestEndParams) -> None:
    if context.began is None:
        return
    status = ended.response.status
    m.REQUESTS.labels(str(status)).inc()
    m.REQUEST_SECONDS.observe(time.monotonic() - context.began)
    if status == 429:
        scope = ended.response.headers.get("X-RateLimit-Scope", "")
        m.RATE_LIMITED.labels(scope if scope in SCOPES else "unknown").inc()
    elif status < 300 and (answered := FIRST_ANSWER.search(ended.url.path)):
        made = discord.utils.snowflake_time(int(answered[1])).timestamp()
        m.ACKNOWLEDGED.observe(max(0.0, time.time() - made))


async def _break_off(_: Any, context: SimpleNamespace, __: aiohttp.TraceRequestExceptionParams) -> None:
    if context.began is not None:
        m.UNANSWERED.inc()


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
