"""A stand-in for A1111 and Forge: one lane, slow answers, seeds in a JSON text inside the JSON."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBroken, ProviderClosed, ProviderDown, RequestRejected
from flux_core.providers.hosted.vendors.a1111 import A1111
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status


def error(detail: str, kind: str = "HTTPException", errors: str = "") -> dict[str, str]:
    """Return an error as the API tells it."""
    return {"error": kind, "detail": detail, "body": "", "errors": errors}


class A1111StandIn(StandIn):
    """Draws one request at a time; the others wait in its lane."""

    key = "studio:pw-9sKd72QmVbX4tL0zRfWc"
    auth_value = "Basic {key}"
    prefix_images = ""
    """What stands before the base64 of a picture: nothing, or the beginning of a data URI."""
    grid = False
    """Whether a grid of all pictures comes first, as a server option has it."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = asyncio.Lock()
        self.most_waiting = 0
        self._waiting = 0

    def routes(self) -> None:
        """Serve what we use, and the interrupt that would hit others."""
        self.on_submit("POST", "/sdapi/v1/txt2img", self._serve_drawing)
        self.on_submit("POST", "/sdapi/v1/img2img", self._serve_drawing)
        self.on_free("GET", "/sdapi/v1/sd-models", self._serve_models)
        self.on_free("POST", "/sdapi/v1/interrupt", self._serve_interrupt)

    def authorized(self, request: web.Request) -> bool:
        """Want Basic auth."""
        return request.headers.get("Authorization") == f"Basic {base64.b64encode(self.key.encode()).decode()}"

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer as FastAPI's Basic auth does."""
        body = {"detail": "Incorrect username or password"}
        return web.json_response(body, status=401, headers={"WWW-Authenticate": "Basic"})

    def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer as FastAPI does: this is also what a server without --api says."""
        return web.json_response({"detail": "Not Found"}, status=404)

    async def _serve_drawing(self, request: web.Request) -> web.StreamResponse:
        body = request["body"]
        self._waiting += 1
        self.most_waiting = max(self.most_waiting, self._waiting)
        async with self.lane:
            await self.work()
            self._waiting -= 1
        if body["sampler_name"] != "Euler":
            return web.json_response(error("Sampler not found"), status=400)
        if request.path.endswith("img2img"):
            if not body.get("init_images"):
                return web.json_response(error("Init image not found"), status=404)
            self.take_picture(body["init_images"][0])
        size = body["width"], body["height"]
        seeds = [body["seed"] + i for i in range(body["n_iter"])]
        pictures = [self.picture(seed, size, "png") for seed in seeds]
        if self.grid:
            pictures.insert(0, self.picture(0, size, "png"))
        info = {"seed": seeds[0], "all_seeds": seeds, "index_of_first_image": int(self.grid), "infotexts": ["…"]}
        images = [self.prefix_images + base64.b64encode(picture).decode() for picture in pictures]
        return web.json_response({"images": images, "parameters": {}, "info": json.dumps(info)})

    async def _serve_models(self, request: web.Request) -> web.StreamResponse:
        names = ["flux1-dev-bnb-nf4-v2", "flux1-schnell-fp8"]
        models: list[Any] = [{"title": f"{name}.safetensors [c161224931]", "model_name": name} for name in names]
        return web.json_response(models)

    async def _serve_interrupt(self, request: web.Request) -> web.StreamResponse:
        self.cancelled.append("whatever runs")
        return web.json_response({})


CASES = [
    Case(
        id="a1111",
        vendor=A1111,
        standin=A1111StandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        refusal_kind=None,
        documented=[
            (Status(400, error("Sampler not found")), RequestRejected),
            (Status(401, {"detail": "Incorrect username or password"}), ProviderClosed(reason="key")),
            (Status(404, {"detail": "Not Found"}), ProviderClosed(reason="address")),
            (Status(404, error("Init image not found")), RequestRejected),
            (
                Status(422, {"detail": [{"loc": ["body", "seed"], "msg": "value is not a valid integer"}]}),
                RequestRejected,
            ),
            (Status(500, error("Invalid encoded image")), RequestRejected),
            (Status(500, error("", "OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB")), ProviderBroken),
            (Status(500, error("", "RuntimeError", "Unknown checkpoint: flux1-dev")), RequestRejected),
            (Status(500, error("", "RuntimeError", "expected scalar type Half but found Float")), ProviderDown),
        ],
    )
]
