"""A stand-in for Fireworks: FLUX.1 in JSON at once, Kontext ordered and asked for."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, RequestRejected
from flux_core.family import FLUX_KONTEXT
from flux_core.providers.hosted.vendors.aspects import SIZES
from flux_core.providers.hosted.vendors.fireworks import Fireworks
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

MODELS = "/workflows/accounts/fireworks/models"


class FireworksStandIn(StandIn):
    """Draws about a megapixel."""

    prefix = "/inference/v1"
    answers_pictures = False
    """Whether a picture comes instead of JSON, as the newest page describes it."""
    forgotten_polls = 0
    """How many polls of a task answer that there is none, before it is known."""

    def routes(self) -> None:
        """Serve the models, Kontext's result and the list of models."""
        for model in ("flux-1-schnell-fp8", "flux-1-dev-fp8"):
            self.on_submit("POST", f"{MODELS}/{model}/text_to_image", self._draw)
        self.on_submit("POST", f"{MODELS}/flux-kontext-pro", self._order)
        self.on_poll("POST", f"{MODELS}/flux-kontext-pro/get_result", self._result)
        self.on_file("GET", "/kontext/{id}", self._file)
        self.on_free("GET", "/models", self._models)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response(error("The API key you provided is invalid.", "UNAUTHORIZED"), status=401)

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        filtered = self.moderated(request["number"])
        if self.answers_pictures:
            picture = self.picture(body["seed"], size_of(body), "png")
            told = {"Finish-Reason": "CONTENT_FILTERED" if filtered else "SUCCESS", "Seed": str(body["seed"])}
            return web.Response(body=picture, content_type="image/png", headers=told)
        if filtered:
            return web.json_response({"id": "f1", "base64": [], "finishReason": "CONTENT_FILTERED", "seed": 1})
        image = base64.b64encode(self.picture(body["seed"], size_of(body), "png")).decode()
        seed = body["seed"] or 77
        return web.json_response({"id": "f1", "base64": [image], "finishReason": "SUCCESS", "seed": seed})

    async def _order(self, request: web.Request) -> web.StreamResponse:
        body = request["body"]
        if "input_image" in body:
            self.take_picture(body["input_image"])
        task = self.new_task(request, seed=body["seed"], size=size_of(body))
        return web.json_response({"request_id": task.id})

    async def _result(self, request: web.Request) -> web.StreamResponse:
        id = request["body"]["id"]
        task = self.look(id)
        told: dict[str, Any] = {"id": id, "status": "Pending", "result": None, "progress": 0.5, "details": None}
        if task is None or (task.polls <= self.forgotten_polls):
            told |= {"status": "Task not found", "progress": None}
        elif task.state == "done":
            if self.moderated(task.number):
                told |= {"status": "Content Moderated", "details": {"Moderation Reasons": ["Violence"]}}
            else:
                url = f"{self.root_url}/kontext/{task.id}"
                told |= {"status": "Ready", "result": {"sample": url, "seed": task.seed}, "progress": None}
        return web.json_response(told)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks[request.match_info["id"]]
        return web.Response(body=self.picture(task.seed, task.size, "png"), content_type="image/png")

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [{"id": "accounts/fireworks/models/flux-1-dev-fp8"}]})


def size_of(body: dict[str, Any]) -> tuple[int, int]:
    """Return about a megapixel of the aspect that is asked for."""
    if (named := SIZES.get(body["aspect_ratio"])) is not None:
        return named
    width, height = map(int, body["aspect_ratio"].split(":"))
    return FLUX_KONTEXT.size_for_ratio(width / height)


def error(message: str, code: str = "") -> dict[str, Any]:
    """Return an error as Fireworks' inference tells it."""
    return {"error": {"object": "error", "type": "invalid_request_error", "code": code, "message": message}}


DOCUMENTED = (
    (Status(401, error("The API key you provided is invalid.")), ProviderClosed(reason="key")),
    (Status(402, error("Payment required")), ProviderClosed(reason="credit")),
    (Status(403, error("Forbidden")), ProviderClosed(reason="key")),
    (Status(404, error("Model not found, inaccessible, and/or not deployed")), RequestRejected),
    (Status(404, "Not Found"), ProviderClosed(reason="address")),
    (Status(412, error("Account is suspended")), ProviderClosed(reason="credit")),
    (Status(400, error("Invalid input")), RequestRejected),
    (Status(429, error("Rate limit exceeded")), ProviderBusy),
    (Status(500, error("Internal server error")), ProviderDown),
)

CASES = [
    Case(
        id="fireworks",
        vendor=Fireworks,
        standin=FireworksStandIn,
        models=("flux-dev", "flux-schnell"),
        documented=DOCUMENTED,
    ),
    Case(
        id="fireworks-kontext",
        vendor=Fireworks,
        standin=FireworksStandIn,
        models=("flux-kontext-pro",),
        picture_model="flux-kontext-pro",
        polled=True,
        documented=DOCUMENTED,
        refusal_kind="poll",
    ),
]
