"""A stand-in for Runware: an array of tasks to one address, errors beside the data."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, Refused, RequestRejected
from flux_core.providers.hosted.vendors.runware import Runware
from tests.providers.hosted.standin import Case, Kind, StandIn
from tests.providers.hosted.troubles import Status


class RunwareStandIn(StandIn):
    """Draws in base64; the cost of a picture is ``cost`` dollars."""

    cost = 0.0006
    draws = True
    """Whether an answer holds a picture."""
    gives_flagged = False
    """Whether a flagged picture comes with its flag."""
    shown_error: dict[str, Any] | None = None
    """Told with status 200, as a task's own error is."""

    def routes(self) -> None:
        """Serve the one address."""
        self.on("POST", "/v1", self._serve_tasks, _kind)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        error = {"code": "invalidApiKey", "message": "Invalid API key.", "parameter": "apiKey"}
        return web.json_response({"errors": [error]}, status=401)

    async def _serve_tasks(self, request: web.Request) -> web.StreamResponse:
        (task,) = request["body"]
        if task["taskType"] == "accountManagement":
            return web.json_response({"data": [{**task, "organizationName": "Studio", "balance": 12.5}]})
        await self.work()
        if self.shown_error is not None:
            return web.json_response({"data": [], "errors": [{**self.shown_error, "taskUUID": task["taskUUID"]}]})
        size = task["width"], task["height"]
        if any(side % 64 or not 128 <= side <= 2048 for side in size):
            error = {"code": "invalidWidth", "message": "Invalid value for 'width' parameter.", "parameter": "width"}
            return web.json_response({"errors": [error]}, status=400)
        if not isinstance(task["seed"], int) or task["seed"] < 1:
            error = {"code": "invalidSeed", "message": "Invalid value for 'seed' parameter.", "parameter": "seed"}
            return web.json_response({"errors": [error]}, status=400)
        if "seedImage" in task:
            self.take_picture(task["seedImage"])
        answer = {
            "taskType": "imageInference",
            "taskUUID": task["taskUUID"],
            "imageUUID": "c64351d5-4c59-42f7-95e1-eace013eddab",
            "imageBase64Data": base64.b64encode(self.picture(task["seed"], size, "png")).decode(),
            "seed": task["seed"],
            "NSFWContent": self.moderated(request["number"]),
            "cost": self.cost,
        }
        if not self.draws or (answer["NSFWContent"] and not self.gives_flagged):
            del answer["imageBase64Data"]
        return web.json_response({"data": [answer]})


def _kind(body: Any) -> Kind:
    return "submit" if isinstance(body, list) and body and body[0].get("taskType") == "imageInference" else "free"


def errors(code: str, message: str, parameter: str | None = None) -> dict[str, Any]:
    """Return an error as Runware tells it."""
    return {"errors": [{"code": code, "message": message, "parameter": parameter, "taskType": "imageInference"}]}


CASES = [
    Case(
        id="runware",
        vendor=Runware,
        standin=RunwareStandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        documented=(
            (Status(401, errors("invalidApiKey", "Invalid API key.", "apiKey")), ProviderClosed(reason="key")),
            (
                Status(402, errors("insufficientCredits", "Your account has insufficient credits.")),
                ProviderClosed(reason="credit"),
            ),
            (Status(429, errors("rateLimitExceeded", "Too many requests.")), ProviderBusy),
            (Status(400, errors("invalidWidth", "Invalid value for 'width'.", "width")), RequestRejected),
            (Status(400, errors("invalidProviderContent", "The provider rejected the request.")), Refused),
        ),
    )
]
