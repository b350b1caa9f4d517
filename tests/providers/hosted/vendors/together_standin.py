"""A stand-in for Together AI: base64, no seed back, 422 for refusals, a CDN that wants a User-Agent."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, Refused, RequestRejected
from flux_core.models import ASPECTS
from flux_core.providers.hosted.vendors import kontext
from flux_core.providers.hosted.vendors.together import Together
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

MODELS = (
    "black-forest-labs/FLUX.1-schnell",
    "black-forest-labs/FLUX.1.1-pro",
    "black-forest-labs/FLUX.1-kontext-pro",
    "black-forest-labs/FLUX.2-pro",
    "studio/FLUX.1-dev-7f3a",
)
FLAGGED = "The prompt may contain NSFW content."


class TogetherStandIn(StandIn):
    """Answers with base64, or with URLs whatever was asked for where ``gives_urls``."""

    gives_urls = False

    def __init__(self) -> None:
        super().__init__()
        self.files: list[tuple[int, tuple[int, int]]] = []

    def routes(self) -> None:
        """Serve orders, files and the list of models."""
        self.on_submit("POST", "/v1/images/generations", self._generate)
        self.on_file("GET", "/imgproxy/{number}", self._file)
        self.on_free("GET", "/v1/models", self._models)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response(error("Invalid API key provided.", code="invalid_api_key"), status=401)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        size = body["width"], body["height"]
        if body["model"] not in MODELS:
            message = f"Unable to access model {body['model']}. Please visit the list of models."
            return web.json_response(error(message, code="model_not_available"), status=404)
        if any(side % 8 for side in size):
            return web.json_response(error("width must be a multiple of 8", param="width"), status=422)
        if body["model"].endswith("1.1-pro") and any(side % 32 or not 256 <= side <= 1440 for side in size):
            return web.json_response(error("width must be a multiple of 32", param="width"), status=422)
        aspect = body.get("aspect_ratio")
        if aspect is not None and abs(ASPECTS[aspect] / (size[0] / size[1]) - 1) > 0.06:
            return web.json_response(error("aspect_ratio and size differ", param="aspect_ratio"), status=400)
        if "kontext" in body["model"]:
            size = kontext.SIZES[body["aspect_ratio"]]
        for link in [*filter(None, [body.get("image_url")]), *body.get("reference_images", [])]:
            self.take_picture(link)
        if self.moderated(request["number"]):
            return web.json_response(error(FLAGGED), status=422)
        item: dict[str, Any] = {"index": 0}
        if self.gives_urls:
            item |= {"type": "url", "url": f"{self.root_url}/imgproxy/{len(self.files)}"}
            self.files.append((body["seed"], size))
        else:
            data = base64.b64encode(self.picture(body["seed"], size, body["output_format"])).decode()
            item |= {"type": "b64_json", "b64_json": data}
        return web.json_response({"id": "o1", "model": body["model"], "object": "list", "data": [item]})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if not request.headers.get("User-Agent"):
            return web.Response(status=403, text="Forbidden")
        seed, size = self.files[int(request.match_info["number"])]
        return web.Response(body=self.picture(seed, size, "jpeg"), content_type="image/jpeg")

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([{"id": name, "object": "model", "type": "image"} for name in MODELS])


def error(message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return an error as Together tells it."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


CASES = [
    Case(
        id="together",
        vendor=Together,
        standin=TogetherStandIn,
        models=("flux-schnell", "flux-pro-1.1", "flux-kontext-pro", "flux-2-pro", "flux-dev"),
        picture_model="flux-kontext-pro",
        access_models={"flux-dev": "studio/FLUX.1-dev-7f3a"},
        documented=(
            (Status(400, error("Input validation error: prompt is empty")), RequestRejected),
            (Status(401, error("Invalid API key provided.", code="invalid_api_key")), ProviderClosed(reason="key")),
            (Status(402, error("Credit limit exceeded.")), ProviderClosed(reason="credit")),
            (Status(422, error(FLAGGED)), Refused),
            (Status(422, error("steps must be between 1 and 50", param="steps")), RequestRejected),
            (Status(429, error("Too many requests"), {"x-ratelimit-reset": "1"}), ProviderBusy),
            (Status(500, error("Internal server error")), ProviderDown),
            (Status(503, error("The server is overloaded")), ProviderBusy),
        ),
    )
]
