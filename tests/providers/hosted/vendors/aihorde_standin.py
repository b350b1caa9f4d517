"""A stand-in for the AI Horde: seeds as text, pictures elsewhere, requests that vanish, and a question asked rarely."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, Refused, RequestRejected
from flux_core.providers.hosted.vendors.aihorde import ANONYMOUS, AiHorde
from tests.providers.hosted.standin import Case, StandIn, Task
from tests.providers.hosted.troubles import Status

STATUSES_A_MINUTE = 10


def error(rc: str, message: str = "…") -> dict[str, str]:
    """Return an error as the Horde tells it."""
    return {"message": message, "rc": rc}


class AiHordeStandIn(StandIn):
    """Has one volunteer, who draws one request after the other."""

    prefix = "/api/v2"
    auth_header = "apikey"
    auth_value = "{key}"
    anonymous = False
    """Whether the key that everybody has is good, too."""
    possible = True
    inline = False
    """Whether pictures come as base64 instead of links."""
    censored_as = "censored"
    """The state of a picture that was held back."""
    faulted = False

    def __init__(self) -> None:
        super().__init__()
        self.statuses: Counter[str] = Counter()

    def routes(self) -> None:
        """Serve the image requests of API v2."""
        self.on_submit("POST", "/generate/async", self._serve_submit)
        self.on_poll("GET", "/generate/check/{id}", self._serve_check)
        self.on_poll("GET", "/generate/status/{id}", self._serve_status)
        self.on_free("DELETE", "/generate/status/{id}", self._serve_cancel)
        self.on_free("GET", "/find_user", self._serve_user)
        self.on_file("GET", "/r2/{id}.webp", self._serve_picture)

    def authorized(self, request: web.Request) -> bool:
        """Take the key of everybody where that is allowed."""
        return super().authorized(request) or (self.anonymous and request.headers.get("apikey") == ANONYMOUS)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer an unknown key."""
        return web.json_response(error("InvalidAPIKey", "No user matching sent API Key."), status=401)

    def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer an unknown request."""
        return web.json_response(error("RequestNotFound", "Waiting Prompt with ID 'x' not found."), status=404)

    async def _serve_submit(self, request: web.Request) -> web.StreamResponse:
        body = request["body"]
        params = body["params"]
        if not isinstance(params["seed"], str) or not request.headers["Client-Agent"].count(":") >= 2:
            return web.json_response({"message": "Input payload validation failed", "errors": {}}, status=400)
        size = params["width"], params["height"]
        if any(side % 64 or not 64 <= side <= 3072 for side in size):
            return web.json_response(error("InvalidSize"), status=400)
        if "source_image" in body:
            self.take_picture(body["source_image"])
        task = self.new_task(request, seed=int(params["seed"]), size=size)
        return web.json_response({"id": task.id, "kudos": 12.0, "warnings": []}, status=202)

    async def _serve_check(self, request: web.Request) -> web.StreamResponse:
        task = self.look(request.match_info["id"])
        return self.missing(request) if task is None else web.json_response(self._standing(task))

    def _standing(self, task: Task) -> dict[str, Any]:
        done = task.state == "done"
        return {
            "finished": int(done),
            "processing": int(not done and task.polls > 1),
            "restarted": 0,
            "waiting": int(not done and task.polls <= 1),
            "done": done,
            "faulted": self.faulted,
            "wait_time": 0 if done else 12,
            "queue_position": 0 if done else 3,
            "kudos": 12.0,
            "is_possible": self.possible,
        }

    async def _serve_status(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None:
            return self.missing(request)
        self.statuses[task.id] += 1
        if self.statuses[task.id] > STATUSES_A_MINUTE:
            return web.json_response({"message": "10 per 1 minute"}, status=429)
        held_back = self.moderated(task.number)
        picture = base64.b64encode(self.picture(task.seed, task.size)).decode() if self.inline else ""
        generation = {
            "img": picture or f"{self.root_url}/r2/{task.id}.webp",
            "seed": str(task.seed),
            "id": f"g-{task.id}",
            "censored": held_back,
            "state": self.censored_as if held_back else "ok",
            "gen_metadata": [],
            "worker_id": "w1",
            "worker_name": "A volunteer",
            "model": task.body["models"][0],
        }
        return web.json_response({**self._standing(task), "generations": [generation], "shared": False})

    async def _serve_cancel(self, request: web.Request) -> web.StreamResponse:
        task = self.cancel_task(request.match_info["id"])
        return self.missing(request) if task is None else web.json_response({**self._standing(task), "generations": []})

    async def _serve_user(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"username": "studio#12345", "id": 12345, "kudos": 1234.0})

    async def _serve_picture(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks[request.match_info["id"]]
        return web.Response(body=self.picture(task.seed, task.size), content_type="image/webp")


CASES = [
    Case(
        id="aihorde",
        vendor=AiHorde,
        standin=AiHordeStandIn,
        models=("flux-schnell",),
        picture_model="flux-schnell",
        polled=True,
        refusal_kind="poll",
        documented=[
            (Status(400, error("CorruptPrompt", "This prompt appears to violate our terms of service.")), Refused),
            (Status(400, error("InvalidSize", "Invalid size.")), RequestRejected),
            (Status(401, error("InvalidAPIKey", "No user matching sent API Key.")), ProviderClosed(reason="key")),
            (Status(403, error("KudosUpfront", "This request requires upfront kudos.")), RequestRejected),
            (Status(403, error("SharedKeyEmpty", "No kudos left.")), ProviderClosed(reason="credit")),
            (Status(403, error("Forbidden", "Not for you.")), RequestRejected),
            (Status(403, error("TimeoutIP", "Your address has been put into timeout.")), ProviderDown),
            (Status(423, error("Locked", "Locked.")), ProviderDown),
            (Status(429, error("TooManyPrompts", "Parallel requests (5) exceeded user limit (4).")), ProviderBusy),
            (Status(429, {"message": "2 per 1 second"}, {"Retry-After": "1"}), ProviderBusy),
        ],
    )
]
