"""AUTOMATIC1111's web UI, Forge and their kin: a server of one's own that answers while it draws, one at a time.

Wire format: the API as Forge's source has it (modules/api); the server has to be started with ``--api``.

Nothing is cancelled there. ``/sdapi/v1/interrupt`` names no task and stops whatever runs, which may be somebody else's
drawing; and whoever waits in its lane cannot be taken out. So every call draws one picture: a cancelled job costs the
server one picture at most, and a job of four moves on with each.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from flux_core.errors import ConfigurationError, GenerationFailed, ProviderBroken, ProviderDown, RequestRejected
from flux_core.family import FLUX_DEV, FLUX_SCHNELL
from flux_core.offers import ImageInput, Offer
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import Access, Done, Found, Limits, Outcome, Shot, Vendor, text_of

CHECKPOINTS: Mapping[str, str] = {FLUX_SCHNELL.id: "flux1-schnell", FLUX_DEV.id: "flux1-dev"}
"""The server takes the first checkpoint whose title contains such a name."""


class A1111(Vendor):
    """A web UI server, Basic auth (``--api-auth``) included.

    Without ``A1111_MODELS`` it is taken to have both checkpoints; with it, to have those named there and no others.
    """

    name = "a1111"
    title = "A1111"
    base_url = ""
    needs_key = False
    # It draws under one lock: a second request would only grow old in its lane.
    limits = Limits(concurrency=1, per_minute=600)
    polled = False
    # A request waits for others' there, then maybe for another checkpoint to be loaded, then for its own picture.
    submit_seconds = 900.0

    def __init__(self, access: Access) -> None:
        """Raise ConfigurationError for a key that is no ``user:password``."""
        super().__init__(access)
        if access.key is not None and not all(access.key.partition(":")[::2]):
            raise ConfigurationError("A1111_API_KEY has to be user:password, as the server's --api-auth has it.")

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return both models, or those that the operator has named."""
        named = self.access.models or CHECKPOINTS
        return {id: Offer(theirs=theirs, image_input=ImageInput.INLINE) for id, theirs in named.items()}

    def headers(self) -> dict[str, str]:
        """Return the user and password as Basic auth."""
        if self.access.key is None:
            return {}
        return {"Authorization": f"Basic {b64encode(self.access.key.encode()).decode()}"}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw the pictures of one call, with seeds one after the other."""
        request = shot.request
        width, height = shot.size
        order: dict[str, Any] = {
            "prompt": request.prompt,
            "negative_prompt": "",
            "seed": shot.seeds[0],
            "steps": request.steps,
            "width": width,
            "height": height,
            # FLUX is distilled: the guidance that members choose is the distilled one, which Forge alone reads.
            "cfg_scale": 1,
            "sampler_name": "Euler",
            "scheduler": "Simple",
            "batch_size": 1,
            "n_iter": len(shot.seeds),
            "override_settings": {"sd_model_checkpoint": shot.offer.theirs},
            # Back to what its page shows would mean to load two checkpoints for each picture.
            "override_settings_restore_afterwards": False,
            "send_images": True,
            "save_images": False,
            # Its page can show the progress of a task by this name.
            "force_task_id": shot.client_id,
        }
        if request.guidance is not None:
            order["distilled_cfg_scale"] = request.guidance
        if shot.picture is None:
            path = "/sdapi/v1/txt2img"
        else:
            path = "/sdapi/v1/img2img"
            order["init_images"] = [b64encode(shot.picture).decode()]
            order["denoising_strength"] = 1.0 if request.strength is None else request.strength
        answer = await transport.submit(path, json=order)
        found = _found(answer.json, len(shot.seeds))
        if not found:
            raise ProviderBroken(f"{self.title} answered without a picture", provider=self.title)
        return Done(found=found)

    async def check(self, transport: Transport) -> str:
        """Ask for the checkpoints, and say which of ours are not among them."""
        models = (await transport.call("GET", "/sdapi/v1/sd-models")).json
        if not isinstance(models, list):
            raise self.closed("address", "It does not answer as the web UI's API does.")
        titles = [str(model.get("title")) for model in models if isinstance(model, dict)]
        lacking = sorted(
            offer.theirs
            for offer in self.offers.values()
            if not any(offer.theirs.lower() in title.lower() for title in titles)
        )
        return f"{len(titles)} checkpoints" + (f"; none is called {' or '.join(lacking)}" if lacking else "")

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``{"error": exception's name, "detail", "body", "errors": exception's text}``."""
        body = answer.json
        if not isinstance(body, dict):
            return None
        kind = str(body.get("error") or "")
        words = text_of(" ".join(str(body[name]) for name in ("detail", "errors") if body.get(name)))
        line = f"{self.title} answered {answer.status}: {words or kind}"
        if answer.status == 404 and words in ("Not Found", ""):
            return self.closed("address", "Is the server started with --api?")
        if "outofmemory" in kind.lower() or "out of memory" in words.lower():
            return ProviderBroken(f"{self.title}: out of memory: {words or kind}", provider=self.title)
        if answer.status in (400, 404, 422) or "unknown checkpoint" in words.lower():
            return RequestRejected(line, provider=self.title)
        if answer.status == 500 and kind == "HTTPException":
            # Raised on purpose, for an input that it does not take.
            return RequestRejected(line, provider=self.title)
        if answer.status == 500 and kind:
            return ProviderDown(line, provider=self.title)
        return None


def _found(body: Any, count: int) -> list[Found]:
    """Read ``images`` (base64, maybe as data URIs) and the seeds in ``info``, a JSON text inside the JSON."""
    images = body.get("images") if isinstance(body, dict) else None
    if not isinstance(images, list):
        return []
    try:
        info = json.loads(body["info"])
    except (KeyError, TypeError, ValueError):
        info = None
    told = info if isinstance(info, dict) else {}
    # A server that makes grids of several pictures puts them first.
    first = told.get("index_of_first_image")
    images = images[first if isinstance(first, int) and first > 0 else 0 :][:count]
    seeds = told.get("all_seeds")
    seeds = seeds if isinstance(seeds, list) else []
    return [
        Found(
            url=image if image.startswith("data:") else f"data:image/png;base64,{image}",
            seed=seeds[index] if index < len(seeds) and isinstance(seeds[index], int) else None,
        )
        for index, image in enumerate(images)
        if isinstance(image, str)
    ]
