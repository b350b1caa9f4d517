"""A stand-in for Cloudflare Workers AI: base64 JPEG of one size, and errors as a list of codes."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from flux_core.errors import OutcomeUnknown, ProviderBusy, ProviderClosed, RequestRejected
from flux_core.providers.hosted.vendors.cloudflare import Cloudflare
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

ACCOUNT = "0123456789abcdef0123456789abcdef"


class CloudflareStandIn(StandIn):
    """One account with one token."""

    prefix = "/client/v4"

    def routes(self) -> None:
        """Serve the model and the token's check."""
        self.on_submit("POST", f"/accounts/{ACCOUNT}/ai/run/@cf/black-forest-labs/flux-1-schnell", self._draw)
        self.on_free("GET", "/user/tokens/verify", self._verify)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong token."""
        return web.json_response(envelope(10000, "Authentication error"), status=401)

    def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong account's path."""
        return web.json_response(
            envelope(7003, f"Could not route to {request.path}, perhaps your object identifier is invalid?"), status=400
        )

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        if not 1 <= len(body["prompt"]) <= 2048 or not 1 <= body["steps"] <= 8:
            return web.json_response(envelope(5006, "Error: oneOf at '/' not met"), status=400)
        if self.moderated(request["number"]):
            return web.json_response(envelope(3030, "AiError: Input prompt contains NSFW content."), status=400)
        image = base64.b64encode(self.picture(body["seed"], (1024, 1024), "jpg")).decode()
        return web.json_response({"result": {"image": image}, "success": True, "errors": [], "messages": []})

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        result = {"id": "ed17574386854bf78a67040be0a770b0", "status": "active"}
        return web.json_response({"result": result, "success": True, "errors": [], "messages": []})


def envelope(code: int, message: str) -> dict[str, Any]:
    """Return an error as Cloudflare's API tells it."""
    return {"result": None, "success": False, "errors": [{"code": code, "message": message}], "messages": []}


CASES = [
    Case(
        id="cloudflare",
        vendor=Cloudflare,
        standin=CloudflareStandIn,
        models=("flux-schnell",),
        extra={"account_id": ACCOUNT},
        documented=(
            (Status(401, envelope(10000, "Authentication error")), ProviderClosed(reason="key")),
            (Status(403, envelope(3023, "Service unavailable for account")), ProviderClosed(reason="key")),
            (Status(400, envelope(7003, "Could not route to /accounts/x")), ProviderClosed(reason="address")),
            (Status(404, envelope(3042, "The model name is invalid")), ProviderClosed(reason="address")),
            (
                Status(429, envelope(3036, "You have used up your daily free allocation of 10,000 neurons.")),
                ProviderClosed(reason="credit"),
            ),
            (Status(429, envelope(3040, "No more data centers to forward the request to")), ProviderBusy),
            (Status(400, envelope(5004, "Invalid data type for base64 input: null")), RequestRejected),
            (Status(408, envelope(3007, "Request timeout")), OutcomeUnknown),
            (Status(413, envelope(3006, "Request is too large")), RequestRejected),
        ),
    )
]
