"""Eachlabs as its documents describe it: predictions, presigned uploads, and three shapes of output."""

from __future__ import annotations

import itertools
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, Refused, RequestRejected
from flux_core.family import FLUX_DEV
from flux_core.providers.hosted.vendors.eachlabs import Eachlabs
from tests.providers.hosted.standin import Case, StandIn, Task
from tests.providers.hosted.troubles import Status

ASPECTS = {"flux-dev": {"1:1", "16:9", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"}}
ASPECTS["flux-schnell"] = ASPECTS["flux-dev"] | {"3:4", "4:3"}
IN_FLIGHT = 10


class EachlabsStandIn(StandIn):
    """Takes the key in either header, as the vendor does."""

    def __init__(self) -> None:
        super().__init__()
        self.output = "string"
        """Or "list", or "object"."""
        self.failure: dict[str, Any] | None = None
        """What a prediction ends with instead of a picture, merged into the answer."""
        self._names = itertools.count()

    def routes(self) -> None:
        for path in ("/v1/prediction", "/v1/prediction/"):
            self.on_submit("POST", path, self.create)
        self.on_poll("GET", "/v1/prediction/{id}", self.show)
        self.on_free("POST", "/v1/prediction/{id}/cancel", self.cancel)
        self.on_free("GET", "/v1/executions", self.executions)
        self.on_free("POST", "/v1/upload/presign", self.presign)
        self.on_free("PUT", "/put/{name}", self.put, keyless=True)
        self.on_file("GET", "/out/{id}.png", self.file)

    def authorized(self, request: web.Request) -> bool:
        """Take the header of the older documents and that of the newer ones."""
        return request.headers.get("X-API-Key") == self.key or super().authorized(request)

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/prediction."""
        order = request["body"]
        given = order.get("input", {})
        model = order.get("model")
        if model not in ASPECTS or order.get("version") != "0.0.1" or not _valid(model, given):
            return web.json_response({"error": "Invalid input for model"}, status=400)
        if sum(task.state == "working" for task in self.tasks.values()) >= IN_FLIGHT:
            body = {"status": 429, "error": "too many requests", "details": "10 predictions are in flight"}
            return web.json_response(body, status=429)
        if "image" in given:
            if not 0 < given["prompt_strength"] <= 1:
                return web.json_response({"error": "Invalid input for model"}, status=400)
            size = self.take_picture(given["image"]).size
        elif given.get("aspect_ratio") in ASPECTS[model]:
            size = FLUX_DEV.size_for_aspect(given["aspect_ratio"])
        else:
            return web.json_response({"error": "Invalid input for model"}, status=400)
        task = self.new_task(request, seed=given["seed"], size=size)
        return web.json_response(
            {"status": "success", "message": "Prediction created successfully", "predictionID": task.id}
        )

    async def show(self, request: web.Request) -> web.Response:
        """GET /v1/prediction/{id}."""
        task = self.look(request.match_info["id"])
        if task is None:
            return web.json_response({"error": "Prediction not found"}, status=404)
        answer: dict[str, Any] = {
            "id": task.id,
            "input": task.body["input"],
            "status": {"working": "processing", "done": "success"}.get(task.state, task.state),
            "output": None,
            "logs": None,
            "metrics": {"predict_time": 0, "cost": 0},
            "urls": {"get": f"{self.other_host_url}/v1/prediction/{task.id}"},
        }
        if task.state == "done":
            if self.moderated(task.number):
                answer |= {"status": "error", "output": rejected("content_moderation", "Nudity was found")}
            elif self.failure is not None:
                answer |= self.failure
            else:
                answer |= {"output": self._output(task), "metrics": {"predict_time": 9.8, "cost": 0.025}}
        return web.json_response(answer)

    async def cancel(self, request: web.Request) -> web.Response:
        """POST /v1/prediction/{id}/cancel."""
        if (task := self.cancel_task(request.match_info["id"])) is None:
            return web.json_response({"error": "Prediction not found"}, status=404)
        message = "Prediction canceled successfully"
        return web.json_response({"status": "cancelled", "message": message, "predictionID": task.id})

    async def executions(self, request: web.Request) -> web.Response:
        """GET /v1/executions."""
        return web.json_response({"executions": []})

    async def presign(self, request: web.Request) -> web.Response:
        """POST /v1/upload/presign."""
        if request["body"].get("content_type") != "image/png":
            return web.json_response({"error": "Invalid content type"}, status=400)
        name = f"file_{next(self._names)}"
        return web.json_response(
            {
                "id": name,
                "presigned_url": self.file_url(f"/put/{name}?signature=abc"),
                "public_url": f"https://cdn.example/{name}.png",
                "expires_at": "2026-11-21T01:00:00Z",
                "required_headers": {"x-amz-acl": "public-read"},
            }
        )

    async def put(self, request: web.Request) -> web.Response:
        """PUT to the store, which takes the signature and no second way of authentication."""
        wanted = {"x-amz-acl": "public-read", "Content-Type": "image/png"}
        if any(request.headers.get(name) != value for name, value in wanted.items()):
            return web.Response(status=403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if "X-API-Key" in request.headers or "Authorization" in request.headers:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        self.stored[f"https://cdn.example/{request.match_info['name']}.png"] = await request.read()
        return web.Response()

    async def file(self, request: web.Request) -> web.Response:
        """GET a result."""
        task = self.tasks[request.match_info["id"]]
        return web.Response(body=self.picture(task.seed, task.size, "png"), content_type="image/png")

    def _output(self, task: Task) -> Any:
        url = self.file_url(f"/out/{task.id}.png")
        return {"string": url, "list": [url], "object": {"images": [{"url": url}]}}[self.output]


def _valid(model: str, given: dict[str, Any]) -> bool:
    steps, seed = given.get("num_inference_steps"), given.get("seed")
    return (
        bool(given.get("prompt"))
        and isinstance(steps, int)
        and 1 <= steps <= (4 if model == "flux-schnell" else 50)
        and isinstance(seed, int)
        and given.get("num_outputs") == 1
        and given.get("output_format") in ("webp", "png", "jpg")
        and isinstance(given.get("guidance"), float) == (model == "flux-dev")
        and (model == "flux-dev" or "image" not in given)
    )


def rejected(category: str, message: str) -> dict[str, Any]:
    """Return the output of a prediction that failed."""
    return {
        "success": False,
        "error_code": "EXECUTION_FAILED",
        "error_message": message,
        "classification": {"category": category},
        "retryable": False,
    }


CASES = [
    Case(
        id="eachlabs",
        vendor=Eachlabs,
        standin=EachlabsStandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        polled=True,
        refusal_kind="poll",
        documented=(
            (Status(400, {"error": "Invalid input for model"}), RequestRejected),
            (Status(400, {"error": "The prompt was flagged by moderation"}), Refused),
            (Status(401, {"error": "Invalid or missing API key"}), ProviderClosed(reason="key")),
            (
                Status(402, {"status": 402, "error": "payment required", "details": "no balance"}),
                ProviderClosed(reason="credit"),
            ),
            (Status(404, {"error": "Model not found"}), RequestRejected),
            (Status(429, {"status": 429, "error": "too many requests", "details": "10 in flight"}), ProviderBusy),
            (Status(500, {"error": "internal"}), ProviderDown),
        ),
    )
]
