"""A stand-in for Black Forest Labs: tasks, a polling URL of their own, signed results that die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, RequestRejected
from flux_core.providers.hosted.vendors.bfl import BlackForestLabs
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Status

NOTHING: dict[str, Any] = {"result": None, "progress": None, "details": None}


class BflStandIn(StandIn):
    """Draws flat pictures, and ends a task as ``endings`` says."""

    auth_header = "x-key"
    auth_value = "{key}"
    clusters = False
    """Whether polling URLs are on another host than the one that was asked."""
    old = False
    """Whether it answers a submit with the id alone, as servers did before there were clusters."""
    cents: float | None = 2.5
    credits: float = 1250.5

    def __init__(self) -> None:
        super().__init__()
        self.endings: dict[int, Mapping[str, Any]] = {}
        """Number of the submit → status and details that its task ends with."""
        self.expired = 0
        """How many of the next requests for a finished picture come too late."""

    def routes(self) -> None:
        """Serve the models, the result, the balance, and the delivery host."""
        for model in ("flux-dev", "flux-pro-1.1", "flux-kontext-pro", "flux-2-pro"):
            self.on_submit("POST", f"/v1/{model}", self._submit)
        self.on_poll("GET", "/v1/get_result", self._result)
        self.on_free("GET", "/v1/credits", self._credits)
        self.on_file("GET", "/delivery/{id}.png", self._deliver)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        return web.json_response({"detail": "Not authenticated - Invalid Authentication"}, status=403)

    def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer an unknown path."""
        return web.json_response({"detail": "Not Found"}, status=404)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        order = request["body"]
        model = request.path.rpartition("/")[2]
        if (wrong := _invalid(model, order)) is not None:
            field, message = wrong
            error = {"loc": ["body", field], "msg": message, "type": "value_error"}
            return web.json_response({"detail": [error]}, status=422)
        if order.get("input_image") is not None:
            self.take_picture(order["input_image"])
        task = self.new_task(request, seed=order["seed"], size=_size(model, order))
        if self.old:
            return web.json_response({"id": task.id})
        host = self.other_host_url if self.clusters else self.base_url
        url = f"{host}/v1/get_result?id={task.id}"
        return web.json_response({"id": task.id, "polling_url": url, "cost": self.cents, "input_mp": 0, "output_mp": 1})

    async def _result(self, request: web.Request) -> web.StreamResponse:
        task = self.look(request.query["id"])
        if task is None:
            return self._told(request.query["id"], "Task not found")
        if task.state != "done":
            return self._told(task.id, "Pending", progress=0.4)
        if (ending := self.endings.get(task.number)) is not None:
            return self._told(task.id, **ending)
        if self.moderated(task.number):
            return self._told(task.id, "Request Moderated", details={"Moderation Reasons": ["Derivative Works Filter"]})
        sample = f"{self.root_url}/delivery/{task.id}.png?se=2026-11-21T12%3A00%3A00Z&sig=abc%2B1"
        result = {"sample": sample, "prompt": task.body["prompt"], "seed": task.seed, "duration": 3.1}
        return self._told(task.id, "Ready", result=result)

    def _told(self, id: str, status: str, **more: Any) -> web.StreamResponse:
        return web.json_response({"id": id, "status": status, **NOTHING, **more})

    async def _deliver(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks[request.match_info["id"]]
        if self.expired > 0 or request.query.get("sig") != "abc+1":
            self.expired -= 1
            return web.Response(status=403, text="<Error><Code>AuthenticationFailed</Code></Error>")
        return web.Response(body=self.picture(task.seed, task.size, "png"), content_type="image/png")

    async def _credits(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"credits": self.credits})


class ClusteredBflStandIn(BflStandIn):
    """Has clusters on another host, which may see the key."""

    clusters = True
    trusts_other_host = True


class ClusteredBlackForestLabs(BlackForestLabs):
    """Trusts the stand-in's other host as the vendor's file trusts ``*.bfl.ai``."""

    trusted_hosts = ("localhost",)


def _invalid(model: str, order: Mapping[str, Any]) -> tuple[str, str] | None:
    if not order.get("prompt"):
        return "prompt", "Field required"
    if order.get("output_format") not in ("jpeg", "png"):
        return "output_format", "Input should be 'jpeg' or 'png'"
    if model == "flux-kontext-pro":
        width, _, height = str(order.get("aspect_ratio")).partition(":")
        if not 3 / 7 <= int(width) / int(height) <= 7 / 3:
            return "aspect_ratio", "Aspect ratio must be between 21:9 and 9:21"
        return None
    multiple, most = (16, 2048) if model == "flux-2-pro" else (32, 1440)
    for side in ("width", "height"):
        if not 256 <= order[side] <= most or order[side] % multiple:
            return side, f"Input should be a multiple of {multiple} up to {most}"
    if model == "flux-dev" and not (1 <= order["steps"] <= 50 and 1.5 <= order["guidance"] <= 5):
        return "steps", "Input should be within bounds"
    if model != "flux-dev" and ("steps" in order or "guidance" in order):
        return "steps", "Extra inputs are not permitted"
    return None


def _size(model: str, order: Mapping[str, Any]) -> tuple[int, int]:
    if model != "flux-kontext-pro":
        return order["width"], order["height"]
    width, _, height = order["aspect_ratio"].partition(":")
    ratio = int(width) / int(height)
    return round(1024 * sqrt(ratio) / 16) * 16, round(1024 / sqrt(ratio) / 16) * 16


DOCUMENTED = [
    (Status(402, {"detail": "Insufficient credits. Add more credits to continue."}), ProviderClosed(reason="credit")),
    (Status(403, {"detail": "Not authenticated - Invalid Authentication"}), ProviderClosed(reason="key")),
    (Status(422, {"detail": [{"loc": ["body", "width"], "msg": "too large", "type": "less_than"}]}), RequestRejected),
    (Status(400, {"detail": "Bad request"}), RequestRejected),
    (Status(429, {"error": "rate_limit_exceeded", "message": "Slow down", "retry_after": 5}), ProviderBusy),
    (Status(500, {"detail": "Internal server error"}), ProviderDown),
    (Status(503, {"detail": "Service unavailable"}, {"Retry-After": "0"}), ProviderBusy),
]

CASES = [
    Case(
        id="bfl",
        vendor=BlackForestLabs,
        standin=BflStandIn,
        models=("flux-dev", "flux-pro-1.1", "flux-kontext-pro", "flux-2-pro"),
        picture_model="flux-kontext-pro",
        polled=True,
        documented=DOCUMENTED,
        refusal_kind="poll",
    ),
]

CLUSTERED = replace(CASES[0], id="bfl-clusters", vendor=ClusteredBlackForestLabs, standin=ClusteredBflStandIn)
"""Not for the contract suite: there, the other host is always a stranger's."""
