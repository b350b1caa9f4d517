"""The bot's requests to Discord, counted as they are answered."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord

from flux_core.metrics import definitions as m

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
