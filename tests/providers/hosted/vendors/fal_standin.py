"""A stand-in for fal.ai's queue: status 202 until it is 200, and COMPLETED even where nothing was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, Refused, RequestRejected
from flux_core.providers.hosted.vendors.fal import Fal
from tests.providers.hosted.standin import Case, StandIn, Task
from tests.providers.hosted.troubles import Status

MODELS = (
    "fal-ai/flux/schnell",
    "fal-ai/flux/dev",
    "fal-ai/flux/dev/image-to-image",
    "fal-ai/flux-pro/v1.1",
    "fal-ai/flux-pro/kontext",
    "fal-ai/flux-pro/kontext/text-to-image",
    "fal-ai/flux-2-pro",
    "fal-ai/flux-2-pro/edit",
)
EXHAUSTED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."


class FalStandIn(StandIn):
    """Draws flat pictures; the sets name submits by number."""

    auth_value = "Key {key}"
    urls = True
    """Whether a submit answers with the URLs to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.black: set[int] = set()
        """Drawn, but flagged and blackened."""
        self.errors: dict[int, str] = {}
        """Submit → error_type that its status is completed with."""
        self.results: dict[int, Status] = {}
        """Submit → what its response URL answers with."""

    def routes(self) -> None:
        """Serve the models, and what is below owner and app: status, result, cancel."""
        for model in MODELS:
            self.on_submit("POST", f"/{model}", self._submit)
        for app in ("flux", "flux-pro", "flux-2-pro"):
            own = f"/fal-ai/{app}/requests/{{id}}"
            self.on_poll("GET", f"{own}/status", self._status)
            self.on_poll("GET", own, self._response)
            self.on_free("PUT", f"{own}/cancel", self._cancel)
        self.on_file("GET", "/files/{id}.png", self._deliver)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response({"detail": "No user found for Key ID and Secret"}, status=401)

    def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer an unknown path."""
        return web.json_response({"detail": "Not found"}, status=404)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        model, order = request.path.strip("/"), request["body"]
        size = _size(order)
        least = 10 if model.endswith("/image-to-image") else 1
        if "num_inference_steps" in order and not least <= order["num_inference_steps"] <= 50:
            entry = {"loc": ["body", "num_inference_steps"], "msg": "Input should be within bounds", "type": "bounds"}
            return web.json_response({"detail": [entry]}, status=422)
        for picture in [order["image_url"]] if "image_url" in order else order.get("image_urls", []):
            size = self.take_picture(picture).size
        task = self.new_task(request, seed=order["seed"], size=size)
        answer = {"status": "IN_QUEUE", "request_id": task.id, "queue_position": 0}
        if self.urls:
            own = f"{self.root_url}/{'/'.join(model.split('/')[:2])}/requests/{task.id}"
            answer |= {"response_url": own, "status_url": f"{own}/status", "cancel_url": f"{own}/cancel"}
        return web.json_response(answer)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        task = self.look(request.match_info["id"])
        if task is None:
            return self.missing(request)
        told: dict[str, Any] = {"status": "IN_QUEUE", "request_id": task.id, "queue_position": 1}
        if task.state != "done":
            if task.polls > 1:
                told = {"status": "IN_PROGRESS", "request_id": task.id, "logs": []}
            return web.json_response(told, status=202)
        told = {"status": "COMPLETED", "request_id": task.id, "logs": [], "metrics": {"inference_time": 1.9}}
        if (kind := self.errors.get(task.number)) is not None:
            told |= {"error": "the runner went away", "error_type": kind}
        return web.json_response(told)

    async def _response(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None:
            return self.missing(request)
        if task.state != "done":
            return web.json_response({"detail": "Request is still in progress"}, status=400)
        if (instead := self.results.get(task.number)) is not None:
            return self._instead(request, instead)
        if self.moderated(task.number):
            return self._instead(request, violation())
        return web.json_response(self._result(task))

    def _result(self, task: Task) -> dict[str, Any]:
        image = {"url": f"{self.root_url}/files/{task.id}.png", "width": task.size[0], "content_type": "image/png"}
        flags = [task.number in self.black]
        return {"images": [image], "timings": {"inference": 1.9}, "seed": task.seed, "has_nsfw_concepts": flags}

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        task = self.cancel_task(request.match_info["id"])
        if task is None:
            return web.json_response({"status": "NOT_FOUND"}, status=404)
        if task.state == "done":
            return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
        return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)

    async def _deliver(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks[request.match_info["id"]]
        return web.Response(body=self.picture(task.seed, task.size, "png"), content_type="image/png")


def violation() -> Status:
    """Return the answer that says that a request is against fal's rules."""
    entry = {
        "loc": ["body", "prompt"],
        "msg": "The content could not be processed because it contained material flagged by a content checker.",
        "type": "content_policy_violation",
        "url": "https://docs.fal.ai/errors#content_policy_violation",
        "ctx": {},
        "input": "…",
    }
    return Status(422, {"detail": [entry]})


def _size(order: Mapping[str, Any]) -> tuple[int, int]:
    if "image_size" in order:
        return order["image_size"]["width"], order["image_size"]["height"]
    width, _, height = order.get("aspect_ratio", "1:1").partition(":")
    ratio = int(width) / int(height)
    return round(1024 * sqrt(ratio) / 16) * 16, round(1024 / sqrt(ratio) / 16) * 16


CASES = [
    Case(
        id="fal",
        vendor=Fal,
        standin=FalStandIn,
        models=("flux-dev", "flux-schnell", "flux-pro-1.1", "flux-kontext-pro", "flux-2-pro"),
        picture_model="flux-dev",
        polled=True,
        documented=[
            (Status(401, {"detail": "No user found for Key ID and Secret"}), ProviderClosed(reason="key")),
            (Status(403, {"detail": EXHAUSTED}), ProviderClosed(reason="credit")),
            (Status(403, {"detail": "Access denied"}), ProviderClosed(reason="key")),
            (violation(), Refused),
            (
                Status(422, {"detail": [{"loc": ["body", "seed"], "msg": "not an integer", "type": "int_type"}]}),
                RequestRejected,
            ),
            (Status(429, {"detail": "Too many requests"}), ProviderBusy),
            (Status(500, {"detail": "Internal server error", "error_type": "internal_error"}), ProviderDown),
        ],
        refusal_kind="poll",
    )
]
