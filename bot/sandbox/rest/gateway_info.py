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
            "total": 1_000,
            "remaining": call.gateway.identifies_left,
            "reset_after": 86_400_000,
            "max_concurrency": 1,
        },
    }


ROUTES = (
    Route("GET", "/gateway", gateway_for_everybody, with_bot_token=False),
    Route("GET", "/gateway/bot", gateway_for_bots),
)
