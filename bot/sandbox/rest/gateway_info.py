"""Where the gateway is."""

from __future__ import annotations

from typing import Any

from .api import Call, Route


async def gateway_for_everybody(call: Call) -> dict[str, Any]:
    return {"url": call.world.addresses.gateway_url}


async def gateway_for_bots(call: Call) -> dict[str, Any]:
    return {
        "url": call.world.addresses.gateway_url,
        "shards": call.world.shards,
        "session_start_limit": {
            "total": call.world.limits.session_starts,
            "remaining": call.gateway.starts.left,
            "reset_after": call.gateway.starts.reset_after,
            "max_concurrency": call.world.limits.max_concurrency,
        },
    }


ROUTES = (
    Route("GET", "/gateway", gateway_for_everybody, with_bot_token=False),
    Route("GET", "/gateway/bot", gateway_for_bots),
)
