"""The REST API, one file per group of routes."""

from __future__ import annotations

from aiohttp import web

from . import channels, commands, gateway_info, guilds, interactions, oauth, users, webhooks
from .api import Api


def add_routes(app: web.Application, api: Api) -> None:
    """Put every route of the API under /api/v10; whatever else is asked for below /api answers as Discord does."""
    for group in (oauth, gateway_info, users, guilds, commands, channels, interactions, webhooks):
        for route in group.ROUTES:
            app.router.add_route(route.method, "/api/v10" + route.path, api.endpoint(route))
    app.router.add_route("*", "/api/{path:.*}", api.unknown)
