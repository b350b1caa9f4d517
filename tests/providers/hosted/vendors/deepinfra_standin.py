"""A stand-in for DeepInfra: data URIs, safety flags, the cost told."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, RequestRejected
from flux_core.providers.hosted.vendors.deepinfra import DeepInfra
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

SIDES = (128, 256, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1024)
PRICES = {"FLUX-1-schnell": 0.0005, "FLUX-1-dev": 0.009 / 25}


class DeepInfraStandIn(StandIn):
    """Draws PNG, and charges by size and steps."""

    def routes(self) -> None:
        """Serve a path for each model, and the account."""
        self.on_submit("POST", "/v1/inference/black-forest-labs/{model}", self._infer)
        self.on_free("GET", "/v1/me", self._me)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response({"detail": {"error": "User is not authenticated"}}, status=401)

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body, model = request["body"], request.match_info["model"]
        if model not in PRICES:
            return web.json_response({"detail": {"error": "Model is not available"}}, status=404)
        size = body["width"], body["height"]
        if any(side not in SIDES for side in size):
            detail = [{"loc": ["body", "width"], "msg": "unexpected value", "type": "value_error.const"}]
            return web.json_response({"detail": detail}, status=422)
        steps = body["num_inference_steps"]
        cost = PRICES[model] * size[0] / 1024 * size[1] / 1024 * steps
        image = base64.b64encode(self.picture(body["seed"], size, "png")).decode()
        answer: dict[str, Any] = {
            "images": [f"data:image/png;base64,{image}"],
            "nsfw_content_detected": [self.moderated(request["number"])],
            "seed": body["seed"],
            "request_id": "RfMWDr1NXCd7NnaegcNTXmtB",
            "inference_status": {"status": "succeeded", "runtime_ms": 410, "cost": cost},
        }
        return web.json_response(answer)

    async def _me(self, request: web.Request) -> web.StreamResponse:
        account = {"uid": "gh:1", "email": "studio@example.com", "checklist": {"stripe_balance": -17.5}}
        return web.json_response(account)


CASES = [
    Case(
        id="deepinfra",
        vendor=DeepInfra,
        standin=DeepInfraStandIn,
        models=("flux-dev", "flux-schnell"),
        documented=(
            (Status(401, {"detail": {"error": "User is not authenticated"}}), ProviderClosed(reason="key")),
            (
                Status(402, {"detail": {"error": "inference prohibited, please top up"}}),
                ProviderClosed(reason="credit"),
            ),
            (
                Status(422, {"detail": [{"loc": ["body", "width"], "msg": "unexpected value", "type": "value_error"}]}),
                RequestRejected,
            ),
            (Status(429, {"detail": {"error": "Rate limited"}}), ProviderBusy),
            (Status(500, {"detail": {"error": "inference error"}}), ProviderDown),
        ),
    )
]
