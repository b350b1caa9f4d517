"""A stand-in for AI/ML API: three shapes of answer, two statuses of success, JPEG under a PNG's name."""

from __future__ import annotations

import base64
from typing import Any, Literal

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, RequestRejected
from flux_core.providers.hosted.vendors import kontext
from flux_core.providers.hosted.vendors.aimlapi import AimlApi
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

BOUNDS = {
    "flux/dev": (512, 1536),
    "flux/schnell": (64, 1536),
    "flux-pro/v1.1": (256, 1440),
    "blackforestlabs/flux-2-pro": (512, 2048),
    "blackforestlabs/flux-2-pro-edit": (512, 2048),
}
NO_CREDIT = "You've run out of credits. Please top up your balance or update your payment method to continue."
FREE_TIER = "Free-tier limit: You've reached the free-tier limit (10 requests per hour). Please upgrade your plan."


class AimlApiStandIn(StandIn):
    """Answers in ``shape`` with ``status``; pictures are ``format``, whatever their names say."""

    shape: Literal["images", "data", "choices"] = "images"
    status = 201
    format = "jpeg"

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, tuple[int, tuple[int, int]]] = {}

    def routes(self) -> None:
        """Serve orders, files and the balance."""
        self.on_submit("POST", "/v1/images/generations", self._generate)
        self.on_file("GET", "/eagle/files/{name}", self._file)
        self.on_free("GET", "/v2/billing", self._billing)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response(error(401, "The API key is invalid."), status=401)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        model, seed = body["model"], body["seed"]
        if not isinstance(seed, int) or seed < 1:
            return _invalid()
        if "num_inference_steps" in body and not 1 <= body["num_inference_steps"] <= 50:
            return _invalid()
        if "guidance_scale" in body and not (1 <= body["guidance_scale"] <= 20 and model.startswith("flux/dev")):
            return _invalid()
        if "aspect_ratio" in body:
            if not model.startswith("flux/kontext-pro/") or "image_size" in body:
                return _invalid()
            size = kontext.SIZES[body["aspect_ratio"]]
        elif model in BOUNDS:
            size = body["image_size"]["width"], body["image_size"]["height"]
            low, high = BOUNDS[model]
            if any(side % 32 or not low <= side <= high for side in size):
                return _invalid()
        elif model == "flux/dev/image-to-image" and "image_size" not in body:
            size = (0, 0)  # the picture's, which comes now
        else:
            return _invalid()
        if model.endswith(("/image-to-image", "-edit")):
            link = body["image_urls"][0] if model.endswith("-edit") else body["image_url"]
            if not link.startswith("https://"):
                return _invalid()  # only URLs are documented
            try:
                picture = self.take_picture(link)
            except ValueError:
                return _invalid()
            size = picture.size if size == (0, 0) else size
        return web.json_response(self._answer(request, seed, size), status=self.status)

    def _answer(self, request: web.Request, seed: int, size: tuple[int, int]) -> dict[str, Any]:
        name = f"{len(self.files)}.png"
        self.files[name] = seed, size
        url = f"{self.root_url}/eagle/files/{name}"
        flagged = self.moderated(request["number"])
        if self.shape == "data" and not flagged:
            return {"data": [{"url": url, "b64_json": None}], "meta": {"usage": {"credits_used": 120000}}}
        if self.shape == "choices" and not flagged:
            data = base64.b64encode(self.picture(seed, size, self.format)).decode()
            return {
                "status": "finished",
                "prompt": [request["body"]["prompt"]],
                "model": request["body"]["model"],
                "num_returns": 1,
                "args": {},
                "subjobs": [],
                "output": {"choices": [{"image_base64": data}]},
            }
        return {
            "images": [{"url": url, "width": size[0], "height": size[1], "content_type": "image/jpeg"}],
            "timings": {"inference": 2.13},
            "seed": seed,
            "has_nsfw_concepts": [flagged],
            "prompt": request["body"]["prompt"],
        }

    async def _file(self, request: web.Request) -> web.StreamResponse:
        seed, size = self.files[request.match_info["name"]]
        return web.Response(body=self.picture(seed, size, self.format), content_type="image/png")

    async def _billing(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"current_balance": 123.45, "currency": "USD"})


def error(status: int | str, message: str) -> dict[str, Any]:
    """Return an error as AI/ML API tells it."""
    return {
        "message": message,
        "path": "/v1/images/generations",
        "requestId": "0b2f6c1e-7c0e-4a5d-9d1c-3b1f2e5a7c9d",
        "statusCode": status,
        "timestamp": "2026-08-01T12:00:00.000Z",
    }


def _invalid() -> web.Response:
    return web.json_response(error(400, "Body validation error!"), status=400)


CASES = [
    Case(
        id="aimlapi",
        vendor=AimlApi,
        standin=AimlApiStandIn,
        models=("flux-dev", "flux-schnell", "flux-pro-1.1", "flux-kontext-pro", "flux-2-pro"),
        picture_model="flux-dev",
        documented=(
            (Status(400, error(400, "Body validation error!")), RequestRejected),
            (Status(401, error(401, "The API key is invalid.")), ProviderClosed(reason="key")),
            (Status(403, error("403", NO_CREDIT)), ProviderClosed(reason="credit")),
            (Status(429, error("429", FREE_TIER)), ProviderBusy),
            (Status(500, error(500, "Internal server error")), ProviderDown),
            (Status(504, error(504, "Generation timeout")), ProviderDown),
        ),
    )
]
