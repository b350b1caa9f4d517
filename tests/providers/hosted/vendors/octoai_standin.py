"""A stand-in for a server in OctoAI's format: several pictures a request, each with its seed and its own safety."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, RequestRejected
from flux_core.providers.hosted.vendors.octoai import SIZES, OctoAi
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status


class OctoAiStandIn(StandIn):
    """Draws in base64 PNG; ``open_to_all`` asks for no key, ``tells_seeds`` says which seed a picture has."""

    open_to_all = False
    tells_seeds = True

    def routes(self) -> None:
        """Serve one path for each model."""
        self.on_submit("POST", "/generate/{model}", self._generate)

    def authorized(self, request: web.Request) -> bool:
        """Ask for the key, or for nothing at all."""
        return "Authorization" not in request.headers if self.open_to_all else super().authorized(request)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response({"detail": "Not authenticated"}, status=401)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        model = request.match_info["model"]
        if model not in ("flux-schnell", "flux-dev"):
            return web.json_response({"detail": "Not Found"}, status=404)
        size = body.get("width", 1024), body.get("height", 1024)
        if size not in SIZES.listed:
            return web.json_response({"detail": "Internal server error"}, status=500)  # as the SDK remembers it
        count, seeds = body.get("num_images", 1), body.get("seed")
        if not isinstance(seeds, list) or len(seeds) != count or not 1 <= count <= 16:
            return invalid("seed", "one seed for each image is needed")
        if not all(0 < seed < 2**32 for seed in seeds):
            return invalid("seed", "ensure this value is greater than 0")
        if "init_image" in body:
            if model != "flux-dev" or not 0 < body["strength"] <= 1:
                return invalid("init_image", "extra fields not permitted")
            self.take_picture(body["init_image"])
        images = [self._image(request["number"], index, seed, size) for index, seed in enumerate(seeds)]
        return web.json_response({"images": images, "prediction_time_ms": 812.4})

    def _image(self, number: int, index: int, seed: int, size: tuple[int, int]) -> dict[str, Any]:
        told = seed if self.tells_seeds else None
        if self.moderated(number, index):
            return {"image_b64": None, "removed_for_safety": True, "safety_score": None, "seed": told}
        data = base64.b64encode(self.picture(seed, size, "png")).decode()
        return {"image_b64": data, "removed_for_safety": False, "safety_score": 0.01, "seed": told}


def detail(field: str, message: str) -> dict[str, Any]:
    """Return the body of a request that does not hold to the schema."""
    return {"detail": [{"loc": ["body", field], "msg": message, "type": "value_error"}]}


def invalid(field: str, message: str) -> web.Response:
    """Answer such a request."""
    return web.json_response(detail(field, message), status=422)


CASES = [
    Case(
        id="octoai",
        vendor=OctoAi,
        standin=OctoAiStandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        documented=(
            (Status(401, {"detail": "Not authenticated"}), ProviderClosed(reason="key")),
            (Status(422, detail("prompt", "field required")), RequestRejected),
            (Status(429, {"detail": "Too many requests"}, {"retry-after-ms": "20"}), ProviderBusy),
            (Status(500, {"detail": "Internal server error"}), ProviderDown),
        ),
    )
]
