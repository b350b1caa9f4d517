"""CometAPI in both of its FLUX formats. The addresses inside its answers belong to somebody else, as in reality."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flux_core.errors import OutcomeUnknown, ProviderBusy, ProviderClosed, ProviderDown, Refused, RequestRejected
from flux_core.family import FLUX_DEV
from flux_core.models import ASPECTS
from flux_core.providers.hosted.vendors.cometapi import CometApi
from tests.providers.hosted.standin import PAGE, Case, StandIn, Task
from tests.providers.hosted.troubles import Status

REPLICATE = ("flux-dev", "flux-schnell", "flux-1.1-pro", "flux-kontext-pro")
BFL = ("flux-dev", "flux-pro-1.1", "flux-2-pro")


class CometApiStandIn(StandIn):
    """Serves both formats; what it does not know, its web site answers."""

    def __init__(self) -> None:
        super().__init__()
        self.error = "NSFW content detected. Try running it again."
        """Why a moderated task of Replicate's format failed."""
        self.moderation: dict[str, Any] = {"status": "Content Moderated", "details": None}
        """How a moderated task of the other format ends."""

    def routes(self) -> None:
        self.on_submit("POST", "/replicate/v1/models/black-forest-labs/{model}/predictions", self.predict)
        self.on_poll("GET", "/replicate/v1/predictions/{id}", self.prediction)
        self.on_submit("POST", "/flux/v1/{model}", self.order)
        self.on_poll("GET", "/flux/v1/get_result", self.result)
        self.on_free("GET", "/v1/models", self.models)
        self.on_file("GET", "/files/{id}.png", self.file)

    def denied(self, request: web.Request) -> web.Response:
        """Answer a wrong key."""
        return problem(401, "invalid token")

    def missing(self, request: web.Request) -> web.Response:
        """Show the web site."""
        return web.Response(text=PAGE, content_type="text/html")

    async def predict(self, request: web.Request) -> web.StreamResponse:
        """POST a prediction."""
        given, model = request["body"].get("input", {}), request.match_info["model"]
        if model not in REPLICATE:
            return self.missing(request)
        picture = given.get("input_image") if model == "flux-kontext-pro" else given.get("image")
        if (wrong := _wrong_input(model, given, picture)) is not None:
            return problem(400, wrong)
        if picture is not None:
            size = self._link(picture)
        elif given["aspect_ratio"] == "custom":
            size = given["width"], given["height"]
        else:
            size = FLUX_DEV.size_for_aspect(given["aspect_ratio"])
        return web.json_response(self._prediction(self.new_task(request, seed=given["seed"], size=size)), status=201)

    async def prediction(self, request: web.Request) -> web.Response:
        """GET a prediction."""
        task = self.look(request.match_info["id"])
        return problem(404, "task not exist") if task is None else web.json_response(self._prediction(task))

    async def order(self, request: web.Request) -> web.StreamResponse:
        """POST a task in the format of Black Forest Labs."""
        order, model = request["body"], request.match_info["model"]
        if model not in BFL:
            return self.missing(request)
        if not order.get("prompt") or not isinstance(order.get("seed"), int):
            return problem(400, "prompt is required")
        if model == "flux-dev" and not (1 <= order["steps"] <= 50 and 1.5 <= order["guidance"] <= 5):
            return problem(400, "steps or guidance is out of range")
        if "image_prompt" in order or (model != "flux-2-pro" and "input_image" in order):
            return problem(400, "nothing starts from this picture")
        size = order.get("width"), order.get("height")
        multiple, high = (16, 2048) if model == "flux-2-pro" else (32, 1440)
        if not all(isinstance(side, int) and 256 <= side <= high and side % multiple == 0 for side in size):
            return problem(400, "width and height are out of range")
        if "input_image" in order:
            self._link(order["input_image"])
        task = self.new_task(request, seed=order["seed"], size=size)
        return web.json_response({"id": task.id, "polling_url": f"{self.other_host_url}/v1/get_result?id={task.id}"})

    async def result(self, request: web.Request) -> web.Response:
        """GET /flux/v1/get_result?id=…"""
        task = self.look(request.query.get("id", ""))
        if task is None:
            return web.json_response({"id": "?", "status": "Task not found", "result": None})
        if task.state != "done":
            return web.json_response({"id": task.id, "status": "Pending", "result": None, "progress": 0.5})
        if self.moderated(task.number):
            return web.json_response({"id": task.id, "result": None} | self.moderation)
        result = {"seed": task.seed, "prompt": task.body["prompt"], "sample": self._url(task), "duration": 3.1}
        return web.json_response({"id": task.id, "result": result, "status": "Ready"})

    async def models(self, request: web.Request) -> web.Response:
        """GET /v1/models."""
        return web.json_response({"object": "list", "data": [{"id": "black-forest-labs/flux-schnell"}]})

    async def file(self, request: web.Request) -> web.Response:
        """GET a result."""
        task = self.tasks[request.match_info["id"]]
        return web.Response(body=self.picture(task.seed, task.size, "png"), content_type="image/png")

    def _link(self, picture: str) -> tuple[int, int]:
        assert picture.startswith("https://"), "only URLs are documented"
        return self.take_picture(picture).size

    def _url(self, task: Task) -> str:
        return self.file_url(f"/files/{task.id}.png")

    def _prediction(self, task: Task) -> dict[str, Any]:
        elsewhere = f"{self.other_host_url}/v1/predictions/{task.id}"
        answer: dict[str, Any] = {
            "id": task.id,
            "model": "black-forest-labs/flux-schnell",
            "version": "hidden",
            "input": task.body["input"],
            "logs": f"Using seed: {task.seed}\n 50%|#####     | 2/4" if task.polls else "",
            "output": None,
            "error": None,
            "status": "starting" if task.polls == 0 else "processing",
            "urls": {"get": elsewhere, "cancel": f"{elsewhere}/cancel", "stream": elsewhere},
        }
        if task.state != "done":
            return answer
        if self.moderated(task.number):
            return answer | {"status": "failed", "error": self.error}
        return answer | {"status": "succeeded", "output": [self._url(task)], "metrics": {"image_count": 1}}


def _wrong_input(model: str, given: dict[str, Any], picture: str | None) -> str | None:
    aspect, sides = given.get("aspect_ratio"), [given.get("width", 0), given.get("height", 0)]
    if not given.get("prompt") or not isinstance(given.get("seed"), int) or given.get("output_format") != "png":
        return "prompt is required"
    if model == "flux-1.1-pro":
        right = aspect == "custom" and all(256 <= side <= 1440 and side % 32 == 0 for side in sides)
        return None if right and picture is None else "only sizes of its own"
    if sides != [0, 0]:
        return "additional property width is not allowed"
    if model == "flux-kontext-pro":
        allowed = ASPECTS.keys() - {"4:5", "5:4"} if picture is None else {"match_input_image"}
        return None if aspect in allowed else "aspect_ratio is none of those listed"
    if not 1 <= given["num_inference_steps"] <= (4 if model == "flux-schnell" else 50) or given["num_outputs"] != 1:
        return "num_inference_steps is out of range"
    if ("guidance" in given) != (model == "flux-dev"):
        return "only flux-dev has a guidance"
    if picture is not None:
        return None if model == "flux-dev" and 0 < given["prompt_strength"] <= 1 else "prompt_strength is out of range"
    return None if aspect in ASPECTS else "aspect_ratio is none of those listed"


def problem(status: int, message: str, code: str = "invalid_request") -> web.Response:
    """Answer with an error as CometAPI writes it."""
    return web.json_response(told(message, code), status=status)


def told(message: str, code: str = "") -> dict[str, Any]:
    """Return the body of an error."""
    message = f"{message} (request id: 20261121)"
    return {"error": {"message": message, "type": "comet_api_error", "param": "", "code": code}}


DOCUMENTED = (
    (Status(400, told("prompt is required", "invalid_request")), RequestRejected),
    (Status(400, told("the prompt was flagged as sensitive", "invalid_request")), Refused),
    (Status(401, told("invalid token")), ProviderClosed(reason="key")),
    (Status(403, told("no access to this group")), ProviderClosed(reason="key")),
    (Status(403, told("user quota is not enough", "insufficient_user_quota")), ProviderClosed(reason="credit")),
    (Status(429, told("too many requests")), ProviderBusy),
    (Status(500, told("invalid size", "invalid_request")), RequestRejected),
    (Status(500, told("upstream error", "do_request_failed")), ProviderDown),
    (Status(504, told("timeout")), OutcomeUnknown),
    (Status(524, PAGE), OutcomeUnknown),
    (Status(200, PAGE, {"Content-Type": "text/html"}), ProviderClosed(reason="address")),
    (Status(301, "", {"Location": "https://www.example.com/"}), ProviderClosed(reason="address")),
)

CASES = [
    Case(
        id="cometapi",
        vendor=CometApi,
        standin=CometApiStandIn,
        models=("flux-dev", "flux-schnell", "flux-pro-1.1"),
        picture_model="flux-dev",
        polled=True,
        refusal_kind="poll",
        documented=DOCUMENTED,
    ),
    Case(
        id="cometapi-kontext",
        vendor=CometApi,
        standin=CometApiStandIn,
        models=("flux-kontext-pro",),
        picture_model="flux-kontext-pro",
        polled=True,
        refusal_kind="poll",
    ),
    Case(
        id="cometapi-bfl",
        vendor=CometApi,
        standin=CometApiStandIn,
        models=("flux-dev", "flux-pro-1.1", "flux-2-pro"),
        picture_model="flux-2-pro",
        polled=True,
        extra={"format": "bfl"},
        refusal_kind="poll",
        documented=DOCUMENTED,
    ),
]
