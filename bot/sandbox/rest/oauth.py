"""The application itself."""

from __future__ import annotations

from typing import Any

from bot.sandbox.community import APPLICATION_ID

from .api import Call, Route


async def application(call: Call) -> dict[str, Any]:
    """Describe the application; its owner is a person of the community."""
    community = call.world.community
    return {
        "id": APPLICATION_ID,
        "name": community.bot.username,
        "icon": None,
        "description": "The sandbox's bot.",
        "summary": "",
        "bot_public": False,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": 0,
        "owner": community.application_owner.raw(),
        "bot": community.bot.raw(),
        "team": None,
        "rpc_origins": [],
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "approximate_guild_count": 1,
        "integration_types_config": {"0": {}},
    }


ROUTES = (
    Route("GET", "/oauth2/applications/@me", application),
    Route("GET", "/applications/@me", application),
)
