"""ComfyUI: a server of one's own that runs graphs of nodes, one after the other.

Wire format: ComfyUI's server source (0.3.68) and its documentation. A task may be named by the client (``prompt_id``),
so an unclear submit is looked up instead of lost; the server does not refuse a name that it has already had, so nothing
is sent twice. What is queued there, and what it remembers of the past, is gone when it is started again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    RequestRejected,
)
from flux_core.family import FLUX_DEV, FLUX_SCHNELL
from flux_core.offers import ImageInput, Offer
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import Access, Done, Found, Limits, Outcome, Pending, Shot, Vendor, text_of
from flux_core.providers.hosted.vendors import comfyui_socket, comfyui_workflow
from flux_core.providers.hosted.vendors.comfyui_workflow import Workflow

CHECKPOINTS: Mapping[str, str] = {
    FLUX_SCHNELL.id: "flux1-schnell-fp8.safetensors",
    FLUX_DEV.id: "flux1-dev-fp8.safetensors",
}
"""Files under ``models/checkpoints`` as ComfyUI's own examples of FLUX name them; encoders and VAE are inside."""
LISTENING = 2.0
"""Seconds of one poll that are spent on hearing how a running job goes."""
OUT_OF_MEMORY = ("out of memory", "outofmemory", "allocation on device")
"""What PyTorch and ComfyUI say when a card is full, in lower case."""


class ComfyUi(Vendor):
    """A ComfyUI server.

    Without ``COMFYUI_MODELS`` it is taken to have both checkpoints; with it, to have those named there and no others.
    """

    name = "comfyui"
    title = "ComfyUI"
    base_url = ""
    needs_key = False
    extra_settings: ClassVar[Mapping[str, str]] = {
        "workflow": "JSON file of a workflow of your own, exported in API format, that draws from words: with "
        "{prompt}, {seed}, {width} and {height} where they belong; {steps}, {guidance} and {checkpoint} may be, too.",
        "workflow_image": "The same for drawings that start from a picture: with {prompt}, {seed} and {image} "
        "(LoadImage's) where they belong; {strength} and the others may be, too.",
    }
    # One is drawn while the next already waits there, so the card never idles for the way to us and back. A longer
    # queue would be drawn no faster, and what waits there waits in order of arrival instead of in our fair turns.
    limits = Limits(concurrency=2, per_minute=600)
    polled = True
    names_tasks = True
    # Short pauses: the server is near, costs nothing to ask, and a running job is heard over a socket meanwhile.
    poll_every = (0.2, 1.0)

    def __init__(self, access: Access) -> None:
        """Read the operator's workflows; raises ConfigurationError that says what is wrong with one."""
        super().__init__(access)
        self._own = _own_workflow(access, picture=False)
        self._own_from_picture = _own_workflow(access, picture=True)

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return both models, or those that the operator has named.

        With an own workflow for words alone, pictures are not started from: its looks would be lost on the way.
        """
        words_only = self._own is not None and self._own_from_picture is None
        image_input = None if words_only else ImageInput.UPLOAD
        named = self.access.models or CHECKPOINTS
        return {id: Offer(theirs=theirs, image_input=image_input) for id, theirs in named.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Queue the graph under ``shot.client_id``; a picture to start from is uploaded first."""
        image = "" if shot.picture is None else await self._upload(shot.picture, shot.client_id, transport)
        answer = await transport.submit(
            "/prompt",
            json={
                "prompt": self._graph(shot, image),
                "prompt_id": shot.client_id,
                # The messages of a job go to the socket with the name of its client: one name for each job.
                "client_id": shot.client_id,
                # Servers since the end of 2025 make previews by themselves when asked like this; others leave it aside.
                "extra_data": {"preview_method": "auto"},
            },
        )
        match answer.json:
            case {"prompt_id": str(ticket)} if ticket:
                # A server from before mid-2025 chooses the name itself.
                return Pending(ticket=ticket)
            case _:
                raise OutcomeUnknown(f"{self.title} took a workflow without saying under which id")

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Look into the history, then into the queue; hear of the steps where the job is running."""
        entry = await self._history(ticket, transport)
        if entry is None:
            running = await self._running(ticket, transport)
            if running is None:
                # It may have gone from the queue into the history between the two questions.
                entry = await self._history(ticket, transport)
                if entry is None:
                    raise LookupError(ticket)
            elif not running:
                return Pending(ticket=ticket)
        if entry is None:
            news = await comfyui_socket.listen(self.access.base_url, ticket, headers=self.headers(), seconds=LISTENING)
            entry = await self._history(ticket, transport) if news.ended else None
            if entry is None:
                return Pending(ticket=ticket, progress=news.progress, preview=news.preview)
        return Done(found=[await self._found(entry, transport)])

    async def cancel(self, ticket: str, transport: Transport) -> None:
        """Take the job out of the queue, or stop it if it is the one that runs."""
        match await self._running(ticket, transport):
            case True:
                # Servers from before autumn 2025 do not read the id and stop whatever runs; that is ours, just now.
                await transport.call("POST", "/interrupt", json={"prompt_id": ticket})
            case False:
                await transport.call("POST", "/queue", json={"delete": [ticket]})

    async def check(self, transport: Transport) -> str:
        """Ask for the version and the card, and whether the checkpoints are there."""
        match (await transport.call("GET", "/system_stats")).json:
            case {"system": dict(system)} as stats:
                version = text_of(system.get("comfyui_version") or "of an unknown version")
            case _:
                raise self.closed("address", "It does not answer as ComfyUI does.")
        match stats.get("devices"):
            case [{"name": str(card)}, *_]:
                line = f"ComfyUI {version} on {text_of(card)}"
            case _:
                line = f"ComfyUI {version}"
        if (have := await self._checkpoints(transport)) is not None:
            lacking = sorted({offer.theirs for offer in self.offers.values()} - have)
            line += f"; has no checkpoint {', '.join(lacking)}" if lacking else ""
        return line

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``{"error": {"type", "message", "details"}, "node_errors": {…}}``: which node, which value."""
        match answer.json:
            case {"error": {"message": message} as error} as body:
                told = [text_of(f"{message} {error.get('details') or ''}"), *_node_errors(body.get("node_errors"))]
            case {"error": str(message)}:
                told = [text_of(message)]
            case _:
                return None
        if answer.status != 400:
            return None
        return RequestRejected(f"{self.title} does not take the workflow: {'; '.join(told)}", provider=self.title)

    def _graph(self, shot: Shot, image: str) -> dict[str, Any]:
        request = shot.request
        own = self._own if shot.picture is None else self._own_from_picture
        workflow = own or comfyui_workflow.built_in(
            guided=request.guidance is not None, picture=shot.picture is not None
        )
        width, height = shot.size
        return workflow.filled(
            {
                "prompt": request.prompt,
                "seed": shot.seeds[0],
                "width": width,
                "height": height,
                # KSampler takes all of its steps, whatever its denoise: it draws the end of a longer schedule.
                "steps": request.steps if shot.picture is None else request.steps_taken,
                "guidance": 1.0 if request.guidance is None else request.guidance,
                "strength": 1.0 if shot.picture is None or request.strength is None else request.strength,
                "image": image,
                "checkpoint": shot.offer.theirs,
            }
        )

    async def _upload(self, picture: bytes, name: str, transport: Transport) -> str:
        """Store ``picture`` (PNG) in the temporary folder and return what LoadImage calls it."""
        answer = await transport.call(
            "POST",
            "/upload/image",
            files={"image": (f"flux-bot-{name}.png", picture, "image/png")},
            data={"type": "temp", "overwrite": "true"},
        )
        match answer.json:
            case {"name": str(stored)} as place if stored:
                folder = place.get("subfolder")
                return (f"{folder}/{stored}" if folder else stored) + " [temp]"
            case _:
                raise ProviderBroken(f"{self.title} took a picture without saying where it is", provider=self.title)

    async def _history(self, ticket: str, transport: Transport) -> Mapping[str, Any] | None:
        body = (await transport.call("GET", f"/history/{quote(ticket, safe='')}")).json
        if not isinstance(body, dict):
            raise self._no_json("its history")
        entry = body.get(ticket)
        return entry if isinstance(entry, dict) else None

    async def _running(self, ticket: str, transport: Transport) -> bool | None:
        """Say whether a job runs (True) or waits (False); None: it does neither."""
        match (await transport.call("GET", "/queue")).json:
            case {"queue_running": list(running), "queue_pending": list(pending)}:
                if any(_is_of(item, ticket) for item in running):
                    return True
                return False if any(_is_of(item, ticket) for item in pending) else None
            case _:
                raise self._no_json("its queue")

    async def _found(self, entry: Mapping[str, Any], transport: Transport) -> Found:
        """Fetch the picture of a finished job, or raise what it failed with."""
        status = entry.get("status")
        if isinstance(status, dict) and status.get("status_str") == "error":
            raise self._failure(status.get("messages"))
        pictures = list(_pictures(entry.get("outputs")))
        if not pictures:
            raise ProviderBroken(f"{self.title} ended the workflow without a picture", provider=self.title)
        try:
            # With the key, unlike other vendors' pictures: it is the same server, maybe behind somebody's login.
            answer = await transport.call("GET", "/view", params=pictures[0])
        except ProviderClosed as error:
            if error.facts.get("reason") != "address":
                raise
            raise ProviderBroken(f"{self.title} has lost the picture it drew", provider=self.title) from None
        return Found(data=answer.body)

    def _failure(self, messages: Any) -> GenerationFailed:
        """Return what the history's ``[name, data]`` messages tell of an error."""
        for message in messages if isinstance(messages, list) else ():
            match message:
                case ["execution_interrupted", *_]:
                    return ProviderBroken(f"{self.title}: somebody stopped the job there", provider=self.title)
                case ["execution_error", dict(data)]:
                    what = text_of(data.get("exception_message") or "no reason given")
                    kind = str(data.get("exception_type"))
                    node = text_of(f"node {data.get('node_id')} ({data.get('node_type')})")
                    if any(sign in f"{kind} {what}".lower() for sign in OUT_OF_MEMORY):
                        return ProviderBroken(f"{self.title}: out of memory in {node}: {what}", provider=self.title)
                    return ProviderBroken(f"{self.title}: {node} failed: {what}", provider=self.title)
        return ProviderBroken(f"{self.title}: the job failed for no stated reason", provider=self.title)

    def _no_json(self, what: str) -> ProviderDown:
        return ProviderDown(f"{self.title} answered a question for {what} with no JSON", provider=self.title)

    async def _checkpoints(self, transport: Transport) -> set[str] | None:
        """Return the names of all checkpoints; None where none is asked of the server, or it is too old to tell."""
        if self._own is not None and "checkpoint" not in self._own.placeholders:
            return None
        try:
            names = (await transport.call("GET", "/models/checkpoints")).json
        except GenerationFailed:
            return None
        return {str(name) for name in names} if isinstance(names, list) else None


def _own_workflow(access: Access, *, picture: bool) -> Workflow | None:
    name = "workflow_image" if picture else "workflow"
    path = access.extra.get(name, "").strip()
    return comfyui_workflow.read(path, setting=f"COMFYUI_{name.upper()}", picture=picture) if path else None


def _is_of(item: Any, ticket: str) -> bool:
    """Say whether an item of the queue, ``[number, prompt_id, graph, extra_data, outputs]``, is the job ``ticket``."""
    match item:
        case [_, str(id), *_] if id == ticket:
            return True
        case [_, _, _, {"client_id": str(client)}, *_]:
            # How an unclear submit is found on a server that chose another name for it.
            return client == ticket
    return False


def _pictures(outputs: Any) -> Iterator[dict[str, str]]:
    """Yield what /view has to be asked for, pictures that were saved for good before temporary ones."""
    images = [
        image
        for output in (outputs.values() if isinstance(outputs, dict) else ())
        for image in (output.get("images") if isinstance(output, dict) else None) or ()
        if isinstance(image, dict) and isinstance(image.get("filename"), str)
    ]
    for image in sorted(images, key=lambda image: image.get("type") != "output"):
        yield {
            "filename": image["filename"],
            "subfolder": str(image.get("subfolder") or ""),
            "type": str(image.get("type") or "output"),
        }


def _node_errors(told: Any) -> Iterator[str]:
    for id, node in told.items() if isinstance(told, dict) else ():
        errors = node.get("errors") if isinstance(node, dict) else None
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict):
                words = f"{error.get('message')}: {error.get('details')}"
                yield text_of(f"node {id} ({node.get('class_type')}): {words}")
