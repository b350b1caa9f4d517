"""Stand-ins for servers with OpenAI's image route: vLLM-Omni, SGLang Diffusion and LocalAI, each with its habits."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, Refused, RequestRejected
from flux_core.providers.hosted.vendors.openai_images import OpenAiImages
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

MODELS = {"flux-dev": "black-forest-labs/FLUX.1-dev", "flux-schnell": "black-forest-labs/FLUX.1-schnell"}


class OpenServer(StandIn):
    """What the three have in common. ``open_to_all`` asks for no key."""

    open_to_all = False

    def authorized(self, request: web.Request) -> bool:
        """Ask for the key, or for nothing at all."""
        return "Authorization" not in request.headers if self.open_to_all else super().authorized(request)

    async def list_models(self, request: web.Request) -> web.StreamResponse:
        """List them."""
        data = [{"id": name, "object": "model"} for name in MODELS.values()]
        return web.json_response({"object": "list", "data": data})

    def encoded(self, request: web.Request, size: tuple[int, int]) -> str:
        """Return the picture of a request as base64 PNG."""
        return base64.b64encode(self.picture(int(request["body"]["seed"]), size, "png")).decode()


class VllmOmniStandIn(OpenServer):
    """Knows b64_json only, and complains as FastAPI does."""

    prefix = "/v1"

    def routes(self) -> None:
        """Serve words, pictures and models."""
        self.on_submit("POST", "/images/generations", self._draw)
        self.on_submit("POST", "/images/edits", self._edit)
        self.on_free("GET", "/models", self.list_models)

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        if body.get("response_format", "b64_json") != "b64_json":
            return web.json_response(validation("response_format", "Input should be 'b64_json'"), status=422)
        if not 1 <= int(body["num_inference_steps"]) <= 200:
            return web.json_response(validation("num_inference_steps", "out of range"), status=422)
        if self.moderated(request["number"]):
            return web.json_response(refusal(), status=400)
        data = [{"b64_json": self.encoded(request, size_of(body)), "url": None, "revised_prompt": None}]
        return web.json_response({"created": 1760000000, "data": data})

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        self.take_picture(request["body"]["image"])
        return await self._draw(request)


class SglangStandIn(OpenServer):
    """Gives URLs without a host, by default."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[str, tuple[int, tuple[int, int]]] = {}

    def routes(self) -> None:
        """Serve words, pictures, models and what was drawn."""
        self.on_submit("POST", "/v1/images/generations", self._draw)
        self.on_submit("POST", "/v1/images/edits", self._edit)
        self.on_file("GET", "/v1/images/{id}/content", self._content)
        self.on_free("GET", "/v1/models", self.list_models)

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        if self.moderated(request["number"]):
            return web.json_response(refusal(), status=400)
        item: dict[str, Any] = {"revised_prompt": body["prompt"], "file_path": "/outputs/a.png"}
        if body.get("response_format") == "b64_json":
            item["b64_json"] = self.encoded(request, size_of(body))
        else:
            id = f"img-{len(self.drawn)}"
            self.drawn[id] = int(body["seed"]), size_of(body)
            item["url"] = f"/v1/images/{id}/content?variant=0"
        return web.json_response({"id": "a", "created": 1760000000, "data": [item], "peak_memory_mb": 30000.0})

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        self.take_picture(request["body"]["image"])
        return await self._draw(request)

    async def _content(self, request: web.Request) -> web.StreamResponse:
        seed, size = self.drawn[request.match_info["id"]]
        return web.Response(body=self.picture(seed, size, "png"), content_type="image/png")


class LocalAiStandIn(OpenServer):
    """Takes pictures in JSON, has no route for edits, and reads a bar in the prompt as "but not"."""

    def routes(self) -> None:
        """Serve drawing and models."""
        self.on_submit("POST", "/v1/images/generations", self._draw)
        self.on_free("GET", "/v1/models", self.list_models)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response(go_error(401, "An authentication key is required"), status=401)

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        if body["model"] not in MODELS.values():
            return web.json_response(go_error(500, "could not load model: rpc error"), status=500)
        for given in [*filter(None, [body.get("file")]), *body.get("ref_images", [])]:
            self.take_picture(given)
        if self.moderated(request["number"]):
            return web.json_response(refusal(), status=400)
        data = [{"embedding": None, "index": 0, "b64_json": self.encoded(request, size_of(body))}]
        return web.json_response({"id": "a", "created": 1760000000, "data": data, "usage": {"total_tokens": 0}})


def size_of(body: dict[str, Any]) -> tuple[int, int]:
    """Return the size asked for."""
    width, height = body["size"].split("x")
    return int(width), int(height)


def validation(field: str, message: str) -> dict[str, Any]:
    """Return FastAPI's complaint about a field."""
    return {"detail": [{"type": "literal_error", "loc": ["body", field], "msg": message, "input": "x"}]}


def go_error(code: int, message: str) -> dict[str, Any]:
    """Return an error as LocalAI tells it."""
    return {"error": {"code": code, "message": message, "type": ""}}


def refusal(code: str = "content_policy_violation") -> dict[str, Any]:
    """Return OpenAI's refusal; the servers themselves have no filter, what stands before them may."""
    message = "Your request was rejected as a result of our safety system."
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


SPEAKS_FASTAPI = (
    (Status(422, validation("size", "Input should be WIDTHxHEIGHT")), RequestRejected),
    (Status(400, {"detail": "Invalid size"}), RequestRejected),
    (Status(404, {"detail": "Not Found"}), ProviderClosed(reason="address")),
    (Status(500, {"detail": "Image generation failed"}), ProviderDown),
    (Status(503, {"detail": "Engine not ready"}), ProviderBusy),
    (Status(400, refusal("moderation_blocked")), Refused),
)

CASES = [
    Case(
        id="openai-vllm-omni",
        vendor=OpenAiImages,
        standin=VllmOmniStandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        access_models=MODELS,
        extra={"edits": "multipart"},
        documented=SPEAKS_FASTAPI,
    ),
    Case(
        id="openai-sglang",
        vendor=OpenAiImages,
        standin=SglangStandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        access_models=MODELS,
        extra={"edits": "multipart", "response_format": "url"},
        documented=SPEAKS_FASTAPI,
    ),
    Case(
        id="openai-localai",
        vendor=OpenAiImages,
        standin=LocalAiStandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        access_models=MODELS,
        extra={"edits": "json"},
        documented=(
            (Status(400, go_error(400, "no model specified")), RequestRejected),
            (Status(401, go_error(401, "An authentication key is required")), ProviderClosed(reason="key")),
            (Status(500, go_error(500, "rpc error: code = Unavailable")), ProviderDown),
            (Status(400, refusal()), Refused),
        ),
    ),
]
