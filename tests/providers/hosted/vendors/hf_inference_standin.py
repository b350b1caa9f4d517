"""A stand-in for Hugging Face's router with the services behind it, and for the Hub."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, RequestRejected
from flux_core.providers.hosted.vendor import Access
from flux_core.providers.hosted.vendors.aspects import SIZES
from flux_core.providers.hosted.vendors.hf_inference import HfInference
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

PICTURE_MODEL = "studio/flux-from-pictures"


class HfInferenceStandIn(StandIn):
    """All services answer at once."""

    unfinished = False
    """Whether Replicate's minute is over before the picture is drawn."""
    fal_detail: Any = None
    """What fal refuses with, as its error's detail."""

    def routes(self) -> None:
        """Serve the services and the Hub's key check."""
        self.on_submit("POST", "/hf-inference/models/{owner}/{name}", self._hf)
        self.on_submit("POST", "/together/v1/images/generations", self._together)
        self.on_submit("POST", "/nscale/v1/images/generations", self._nscale)
        self.on_submit("POST", "/fal-ai/fal-ai/flux/{name}", self._fal)
        self.on_submit("POST", "/replicate/v1/models/black-forest-labs/{name}/predictions", self._replicate)
        self.on_file("GET", "/out/{width}/{height}/{seed}", self._file)
        self.on_free("GET", "/api/whoami-v2", self._whoami)

    def access(self, case: Case, **changed: Any) -> Access:
        """Point at the Hub that this server is as well."""
        access = super().access(case, **changed)
        return replace(access, extra={"hub": self.root_url, **access.extra})

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response({"error": "Invalid username or password."}, status=401)

    async def _hf(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body, told = request["body"], request["body"]["parameters"]
        size = told.get("width"), told.get("height")
        if f"{request.match_info['owner']}/{request.match_info['name']}" == PICTURE_MODEL:
            self.take_picture(body["inputs"])
            size = told["target_size"]["width"], told["target_size"]["height"]
        if self.moderated(request["number"]):
            return web.json_response({"error": "The prompt was flagged as NSFW."}, status=400)
        return web.Response(body=self.picture(told["seed"], size, "jpg"), content_type="image/jpeg")

    async def _together(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        if self.moderated(request["number"]):
            message = "Your request was flagged as potentially NSFW content."
            return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=422)
        image = self.picture(body["seed"], (body["width"], body["height"]), "jpg")
        item = {"index": 0, "type": "b64_json", "b64_json": base64.b64encode(image).decode()}
        return web.json_response({"id": "o1", "model": body["model"], "object": "list", "data": [item]})

    async def _nscale(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        if self.moderated(request["number"]):
            return web.json_response({"error": {"message": "content policy", "code": "content_policy"}}, status=400)
        width, height = map(int, body["size"].split("x"))
        image = base64.b64encode(self.picture(body["seed"], (width, height), "png")).decode()
        return web.json_response({"created": 1760000000, "data": [{"b64_json": image}]})

    async def _fal(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        if self.fal_detail is not None:
            return web.json_response({"detail": self.fal_detail}, status=422)
        body = request["body"]
        size = body["image_size"]["width"], body["image_size"]["height"]
        image = {"url": self._url(body["seed"], size), "width": size[0], "height": size[1]}
        flagged = self.moderated(request["number"])
        return web.json_response({"images": [image], "seed": body["seed"], "has_nsfw_concepts": [flagged]})

    async def _replicate(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        assert request.headers["Prefer"] == "wait"
        given = request["body"]["input"]
        told: dict[str, Any] = {"id": "p1", "status": "succeeded", "output": None, "error": None}
        if self.unfinished:
            told["status"] = "processing"
        elif self.moderated(request["number"]):
            told |= {"status": "failed", "error": "All generated images contained NSFW content. Try another prompt."}
        else:
            told["output"] = [self._url(given["seed"], SIZES[given["aspect_ratio"]])]
        return web.json_response(told, status=201)

    def _url(self, seed: int, size: tuple[int, int]) -> str:
        return f"{self.root_url}/out/{size[0]}/{size[1]}/{seed}"

    async def _file(self, request: web.Request) -> web.StreamResponse:
        told = request.match_info
        picture = self.picture(int(told["seed"]), (int(told["width"]), int(told["height"])), "png")
        return web.Response(body=picture, content_type="image/png")

    async def _whoami(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"type": "user", "name": "studio", "isPro": True})


SPENT = (
    "You have exceeded your monthly included credits for Inference Providers. "
    "Subscribe to PRO to get 20x more monthly included credits."
)
LOADING = {"error": "Model black-forest-labs/FLUX.1-dev is currently loading", "estimated_time": 20.0}
DOCUMENTED = (
    (Status(401, {"error": "Invalid username or password."}), ProviderClosed(reason="key")),
    (Status(402, {"error": SPENT}), ProviderClosed(reason="credit")),
    (Status(503, LOADING), ProviderBusy),
    (Status(429, {"error": "Rate limit reached."}), ProviderBusy),
    (Status(400, {"error": "Unknown parameter"}), RequestRejected),
    (Status(404, {"error": "Not Found"}), ProviderClosed(reason="address")),
)


def _case(service: str, *models: str) -> Case:
    return Case(
        id=f"hf-{service}",
        vendor=HfInference,
        standin=HfInferenceStandIn,
        models=models or ("flux-dev", "flux-schnell"),
        extra={"provider": service},
        documented=DOCUMENTED,
    )


CASES = [
    replace(_case("hf-inference"), extra={"picture_model": PICTURE_MODEL}, picture_model="flux-dev"),
    _case("together"),
    _case("nscale", "flux-schnell"),
    _case("fal-ai"),
    _case("replicate"),
]
