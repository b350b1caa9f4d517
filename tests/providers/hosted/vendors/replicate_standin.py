"""A stand-in for Replicate: predictions of official models, uploads, flagged pictures left out without a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, RequestRejected
from flux_core.providers.hosted.vendors.replicate import Replicate
from tests.providers.hosted.standin import Case, StandIn, Task
from tests.providers.hosted.troubles import Status

ASPECTS = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "4:5": (896, 1088),
    "3:4": (896, 1152),
}
ASPECTS |= {":".join(reversed(word.split(":"))): (height, width) for word, (width, height) in ASPECTS.items()}

NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."
PICTURE_FIELDS = {"flux-dev": "image", "flux-kontext-pro": "input_image", "flux-2-pro": "input_images"}


class ReplicateStandIn(StandIn):
    """Draws flat pictures, and ends a prediction as ``endings`` says."""

    def __init__(self) -> None:
        super().__init__()
        self.endings: dict[int, Mapping[str, Any]] = {}
        """Number of the submit → what its finished prediction says otherwise."""

    def routes(self) -> None:
        """Serve models, predictions, uploads, the account, and the delivery host."""
        self.on_submit("POST", "/v1/models/black-forest-labs/{model}/predictions", self._submit)
        self.on_poll("GET", "/v1/predictions/{id}", self._look)
        self.on_free("POST", "/v1/predictions/{id}/cancel", self._cancel)
        self.on_free("POST", "/v1/files", self._upload)
        self.on_free("GET", "/v1/account", self._account)
        self.on_file("GET", "/xezq/{id}/out-0.png", self._deliver)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong key."""
        said = {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}
        return web.json_response(said, status=401)

    def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer an unknown path."""
        return web.json_response({"detail": "The requested resource could not be found.", "status": 404}, status=404)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        model, given = request.match_info["model"], request["body"]["input"]
        wrong = _invalid(model, given)
        size = _size(model, given)
        if picture := given.get(PICTURE_FIELDS.get(model, "")):
            try:
                size = self.take_picture(picture[0] if isinstance(picture, list) else picture).size
            except ValueError as error:
                wrong = wrong or ("input.image", str(error))
        if wrong is not None:
            return web.json_response(invalid(*wrong), status=422)
        task = self.new_task(request, seed=given["seed"], size=size)
        return web.json_response(self._told(task, "starting"), status=201)

    async def _look(self, request: web.Request) -> web.StreamResponse:
        task = self.look(request.match_info["id"])
        if task is None:
            return self.missing(request)
        if task.state == "cancelled":
            return web.json_response(self._told(task, "canceled"))
        if task.state != "done":
            logs = f"Using seed: {task.seed}\n 25%|##5       | 1/4\n 50%|#####     | 2/4" if task.polls > 1 else ""
            return web.json_response(self._told(task, "processing" if task.polls > 1 else "starting", logs=logs))
        url = f"{self.root_url}/xezq/{task.id}/out-0.png"
        output: Any = url if "num_outputs" not in task.body["input"] else [url]
        logs = f"Using seed: {task.seed}\n100%|##########| 4/4"
        told = self._told(task, "succeeded", output=output, logs=logs, metrics={"predict_time": 2.1, "image_count": 1})
        if self.moderated(task.number):
            told |= {"status": "failed", "output": None, "error": NSFW}
        return web.json_response(told | dict(self.endings.get(task.number, {})))

    def _told(self, task: Task, status: str, **more: Any) -> dict[str, Any]:
        own = f"{self.root_url}/v1/predictions/{task.id}"
        return {
            "id": task.id,
            "version": "hidden",
            "input": task.body["input"],
            "logs": "",
            "output": None,
            "data_removed": False,
            "error": None,
            "source": "api",
            "status": status,
            "created_at": "2026-11-21T12:00:00Z",
            "urls": {"get": own, "cancel": f"{own}/cancel", "web": f"https://replicate.com/p/{task.id}"},
        } | more

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        task = self.cancel_task(request.match_info["id"])
        return self.missing(request) if task is None else web.json_response(self._told(task, "canceled"))

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        url = f"{self.root_url}/v1/files/file-{len(self.stored)}"
        self.stored[url] = request["body"]["content"]
        return web.json_response({"id": url.rpartition("/")[2], "urls": {"get": url}}, status=201)

    async def _account(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"type": "organization", "username": "the-studio", "name": "The Studio"})

    async def _deliver(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks[request.match_info["id"]]
        return web.Response(body=self.picture(task.seed, task.size, "png"), content_type="image/png")


def invalid(field: str, description: str) -> dict[str, Any]:
    """Return the answer to a field that is not right."""
    entry = {"type": "any", "field": field, "description": description}
    title = "Input validation failed"
    return {"detail": f"- {field}: {description}\n", "status": 422, "title": title, "invalid_fields": [entry]}


def _invalid(model: str, given: Mapping[str, Any]) -> tuple[str, str] | None:
    if not given.get("prompt"):
        return "input", "prompt is required"
    if model in ("flux-schnell", "flux-dev"):
        most = 4 if model == "flux-schnell" else 50
        if not 1 <= given["num_inference_steps"] <= most:
            return "input.num_inference_steps", f"Must be less than or equal to {most}"
        if given.get("aspect_ratio", "1:1") not in ASPECTS:
            return "input.aspect_ratio", "Must be one of those listed"
        if model == "flux-schnell" and "guidance" in given:
            return "input", "Additional property guidance is not allowed"
    elif model == "flux-kontext-pro":
        if given["aspect_ratio"] not in {*ASPECTS, "1:2", "2:1", "match_input_image"}:
            return "input.aspect_ratio", "Must be one of those listed"
    elif given["aspect_ratio"] != "custom" or given["width"] % 32 or given["height"] % 32:
        return "input.width", "Must be a multiple of 32"
    return None


def _size(model: str, given: Mapping[str, Any]) -> tuple[int, int]:
    if given.get("aspect_ratio") == "custom":
        return given["width"], given["height"]
    width, height = ASPECTS.get(given.get("aspect_ratio", "1:1"), (1024, 1024))
    return (width // 2, height // 2) if given.get("megapixels") == "0.25" else (width, height)


CASES = [
    Case(
        id="replicate",
        vendor=Replicate,
        standin=ReplicateStandIn,
        models=("flux-dev", "flux-schnell", "flux-pro-1.1", "flux-kontext-pro", "flux-2-pro"),
        picture_model="flux-dev",
        polled=True,
        documented=[
            (Status(401, {"title": "Unauthenticated", "detail": "…", "status": 401}), ProviderClosed(reason="key")),
            (
                Status(402, {"title": "Insufficient credit", "detail": "You have insufficient credit", "status": 402}),
                ProviderClosed(reason="credit"),
            ),
            (Status(422, invalid("input.num_inference_steps", "Must be less than or equal to 4")), RequestRejected),
            (Status(422, {"title": "Invalid version or not permitted", "detail": "…", "status": 422}), RequestRejected),
            (Status(429, {"detail": "Request was throttled.", "status": 429, "retry_after": 5}), ProviderBusy),
            (Status(500, {"detail": "Internal server error", "status": 500}), ProviderDown),
        ],
        refusal_kind="poll",
    )
]
