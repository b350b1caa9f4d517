"""A stand-in for ComfyUI: a queue that takes any name twice, a history that is empty until the end, and a socket."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, Literal

from aiohttp import web

from flux_core.errors import ProviderBusy, ProviderClosed, ProviderDown, RequestRejected
from flux_core.providers.hosted.vendors.comfyui import ComfyUi
from tests.providers.hosted.standin import Case, Handler, StandIn, Task
from tests.providers.hosted.troubles import Status

CHECKPOINTS = ["flux1-dev-fp8.safetensors", "flux1-schnell-fp8.safetensors"]
NO_CHECKPOINT = {
    "error": {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": "",
        "extra_info": {},
    },
    "node_errors": {
        "1": {
            "errors": [
                {
                    "type": "value_not_in_list",
                    "message": "Value not in list",
                    "details": f"ckpt_name: 'other.safetensors' not in {CHECKPOINTS}",
                    "extra_info": {},
                }
            ],
            "dependent_outputs": ["7"],
            "class_type": "CheckpointLoaderSimple",
        }
    },
}


class ComfyUiStandIn(StandIn):
    """Draws what the sampler of a graph says; a login in front of it wants the key."""

    files_ask_key = True
    socket: Literal["steps", "silent", "refused", "garbage", "ends"] = "steps"
    """What the socket of a running job tells: its steps; nothing; it is not let in; nonsense; that it is over."""
    socket_moved_to = ""
    """Another server, to which the socket is redirected."""
    names_tasks = True
    """Servers from before mid-2025 choose the names themselves."""
    failure: list[Any] | None = None
    """The message in the history with which jobs fail."""
    outputs: dict[str, Any] | None = None
    """What the history says came out, instead of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[str] = []
        """The name of every job that was queued, each time."""
        self.uploads: dict[str, bytes] = {}
        self.sockets: list[str] = []
        """The client of every socket that was opened."""

    def routes(self) -> None:
        """Serve the routes that the server's own page uses, too."""
        self.on_submit("POST", "/prompt", self._serve_prompt)
        self.on_poll("GET", "/history/{id}", self._serve_history)
        self.on_poll("GET", "/queue", self._serve_queue)
        self.on_file("GET", "/view", self._serve_view)
        self.on_free("POST", "/queue", self._serve_delete)
        self.on_free("POST", "/interrupt", self._serve_interrupt)
        self.on_free("POST", "/upload/image", self._serve_upload)
        self.on_free("GET", "/system_stats", self._serve_stats)
        self.on_free("GET", "/models/checkpoints", answering(CHECKPOINTS))
        self._app.router.add_get("/ws", self._serve_socket)

    def waiting(self) -> list[Task]:
        """Return the jobs that are not over; the first of them runs."""
        return [task for task in self.tasks.values() if task.state == "working"]

    async def _serve_prompt(self, request: web.Request) -> web.StreamResponse:
        body = request["body"]
        graph = body["prompt"]
        inputs = {node["class_type"]: node["inputs"] for node in graph.values()}
        if inputs["CheckpointLoaderSimple"]["ckpt_name"] not in CHECKPOINTS:
            return web.json_response(NO_CHECKPOINT, status=400)
        if "LoadImage" in inputs:
            name = inputs["LoadImage"]["image"]
            if name not in self.uploads:
                return web.json_response({"error": {"type": "invalid_prompt", "message": "No such image"}}, status=400)
            size = self.take_picture(self.uploads[name]).size
        else:
            latent = inputs["EmptySD3LatentImage"]
            size = latent["width"], latent["height"]
        sampler = inputs["KSampler"]
        assert isinstance(sampler["seed"], int)
        assert isinstance(sampler["steps"], int)
        id = body["prompt_id"] if self.names_tasks else None
        task = self.new_task(request, seed=sampler["seed"], size=size, id=id)
        self.runs.append(task.id)
        return web.json_response({"prompt_id": task.id, "number": len(self.runs), "node_errors": {}})

    async def _serve_history(self, request: web.Request) -> web.StreamResponse:
        task = self.look(request.match_info["id"])
        if task is None or task.state == "working" or (task.state == "cancelled" and task.polls == 0):
            return web.json_response({})
        return web.json_response({task.id: self._entry(task)})

    def _entry(self, task: Task) -> dict[str, Any]:
        failure = ["execution_interrupted", {"prompt_id": task.id}] if task.state == "cancelled" else self.failure
        status = {
            "status_str": "error" if failure else "success",
            "completed": not failure,
            "messages": [["execution_start", {"prompt_id": task.id}], *([failure] if failure else [])],
        }
        image = {"filename": f"ComfyUI_temp_{task.id}.png", "subfolder": "", "type": "temp"}
        outputs: dict[str, Any] = {} if failure else (self.outputs or {"7": {"images": [image]}})
        return {"prompt": self._item(task), "outputs": outputs, "status": status, "meta": {}}

    def _item(self, task: Task) -> list[Any]:
        return [task.number, task.id, task.body["prompt"], {"client_id": task.body["client_id"]}, ["7"]]

    async def _serve_queue(self, request: web.Request) -> web.StreamResponse:
        items = [self._item(task) for task in self.waiting()]
        return web.json_response({"queue_running": items[:1], "queue_pending": items[1:]})

    async def _serve_view(self, request: web.Request) -> web.StreamResponse:
        name = request.query["filename"].removeprefix("ComfyUI_temp_").removesuffix(".png")
        task = self.tasks.get(name)
        if task is None:
            return web.Response(status=404)
        return web.Response(body=self.picture(task.seed, task.size, "png"), content_type="image/png")

    async def _serve_delete(self, request: web.Request) -> web.StreamResponse:
        for id in request["body"]["delete"]:
            if id in [task.id for task in self.waiting()[1:]]:
                self.cancel_task(id)
        return web.Response()

    async def _serve_interrupt(self, request: web.Request) -> web.StreamResponse:
        if self.waiting() and request["body"].get("prompt_id") in (None, self.waiting()[0].id):
            self.cancel_task(self.waiting()[0].id)
        return web.Response()

    async def _serve_upload(self, request: web.Request) -> web.StreamResponse:
        body = request["body"]
        name = f"upload ({len(self.uploads)}).png"
        self.uploads[f"{name} [{body['type']}]"] = body["image"]
        return web.json_response({"name": name, "subfolder": "", "type": body["type"]})

    async def _serve_stats(self, request: web.Request) -> web.StreamResponse:
        device = {"name": "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync", "type": "cuda", "vram_total": 25386352640}
        return web.json_response({"system": {"comfyui_version": "0.3.68"}, "devices": [device]})

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        self._record(request, "socket")
        if self.socket_moved_to:
            return web.Response(
                status=307, headers={"Location": f"ws{self.socket_moved_to.removeprefix('http')}{request.path_qs}"}
            )
        if self.socket == "refused" or not self.authorized(request):
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query["clientId"]
        self.sockets.append(client)
        await socket.send_json(
            {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}, "sid": client}}
        )
        task = next((task for task in self.waiting()[:1] if task.body["client_id"] == client), None)
        if task is not None:
            await self._tell(socket, task)
        async for _ in socket:
            pass
        return socket

    async def _tell(self, socket: web.WebSocketResponse, task: Task) -> None:
        steps = self.polls_needed + 1
        progress = {"value": min(task.polls, steps), "max": steps, "prompt_id": task.id, "node": "5"}
        preview = struct.pack(">II", 1, 1) + self.picture(task.seed, (64, 64), "jpg")
        match self.socket:
            case "steps":
                other = {**progress, "value": steps, "prompt_id": "another"}
                await socket.send_json({"type": "progress", "data": other})
                await socket.send_json({"type": "progress", "data": progress})
                await socket.send_bytes(preview)
            case "garbage":
                await socket.send_str("{")
                await socket.send_str(json.dumps([1]))
                await socket.send_json({"type": "progress", "data": {"value": "x", "max": 0}})
                await socket.send_bytes(b"\0\0")
                await socket.close(code=1011)
            case "ends":
                await asyncio.sleep(0.02)
                task.state = "done"
                await socket.send_json({"type": "executing", "data": {"node": None, "prompt_id": task.id}})


def answering(body: Any) -> Handler:
    """Return a handler that always answers the same JSON."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return answer


CASES = [
    Case(
        id="comfyui",
        vendor=ComfyUi,
        standin=ComfyUiStandIn,
        models=("flux-dev", "flux-schnell"),
        picture_model="flux-dev",
        refusal_kind=None,
        polled=True,
        documented=[
            (Status(400, NO_CHECKPOINT), RequestRejected),
            (
                Status(400, {"error": {"type": "no_prompt", "message": "No prompt provided"}, "node_errors": {}}),
                RequestRejected,
            ),
            (Status(401, "Unauthorized"), ProviderClosed(reason="key")),
            (Status(404, "Not Found"), ProviderClosed(reason="address")),
            (Status(500, "500 Internal Server Error"), ProviderDown),
            (Status(503, "starting"), ProviderBusy),
        ],
    )
]
