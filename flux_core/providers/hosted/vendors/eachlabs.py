"""Eachlabs: predictions that are ordered, then polled.

Wire format: the vendor's docs and OpenAPI (eachlabs/mintlify-docs of August 2026, eachlabs/docs of December 2025).
Prices are not published: those here are what FLUX usually costs, an assumption; each answer tells what was charged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from flux_core.errors import (
    ConfigurationError,
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.models import MEGAPIXEL
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import (
    CENSORED,
    Access,
    Done,
    Found,
    Limits,
    Outcome,
    Pending,
    Shot,
    Vendor,
    microdollars,
    text_of,
)
from flux_core.providers.hosted.vendors.aspects import aspect_of, sizes_of

OFFERS: Mapping[str, Offer] = {
    "flux-dev": Offer(
        theirs="flux-dev",
        sizes=sizes_of("1:1", "16:9", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"),
        steps=Range(low=1, high=50),
        guidance=Range(low=0, high=10),
        price=Price(picture=0.025),
        image_input=ImageInput.UPLOAD,
        # A drawing that starts from a picture keeps the picture's shape.
        picture_sizes=Sizes(high=1440, most_pixels=MEGAPIXEL),
    ),
    "flux-schnell": Offer(
        theirs="flux-schnell",
        sizes=sizes_of(),
        steps=Range(low=1, high=4),  # not confirmed; so it is where Eachlabs buys the model
        price=Price(picture=0.003),
    ),
}
UPLOAD_SECONDS = 3600

MODERATED = re.compile(r"nsfw|moderat|safety|sensitive|content.?polic|content_rejected|flagged", re.IGNORECASE)
"""The reason of a failure may be plain text only."""


WAYS = ("x-api-key", "bearer")


class Eachlabs(Vendor):
    """Eachlabs' predictions."""

    name = "eachlabs"
    title = "Eachlabs"
    base_url = "https://api.eachlabs.ai"
    key_page = "https://www.eachlabs.ai"
    extra_settings: ClassVar[Mapping[str, str]] = {
        "auth": "How the key is sent: `x-api-key` (the default) or `bearer`, as Eachlabs' newer documents have it."
    }
    limits = Limits(concurrency=10, per_minute=60)
    polled = True
    poll_every = (1.0, 3.0)

    def __init__(self, access: Access) -> None:
        """Raise ConfigurationError for a way to send the key that it does not have."""
        super().__init__(access)
        if access.extra.get("auth", "x-api-key").strip().lower() not in WAYS:
            raise ConfigurationError(f"EACHLABS_AUTH must be one of {', '.join(WAYS)}.")

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return both models, by the operator's names for them."""
        models = self.access.models
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    def headers(self) -> dict[str, str]:
        """Return the key in the header that the setting ``auth`` names."""
        if self.access.key is None or self.access.extra.get("auth", "").strip().lower() == "bearer":
            return super().headers()
        return {"X-API-Key": self.access.key}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Order one picture; a picture to start from is uploaded first."""
        image = None if shot.picture is None else await self._upload(shot.picture, transport)
        order = {"model": shot.offer.theirs, "version": "0.0.1", "input": _input(shot, image)}
        answer = await transport.submit("/v1/prediction", json=order)
        body = answer.json
        ticket = body.get("predictionID") if isinstance(body, dict) else None
        if not isinstance(ticket, str) or not ticket:
            raise OutcomeUnknown(f"{self.title} took an order without saying under which id")
        # "status": "success" means no more here than that the order was taken.
        return Pending(ticket=ticket)

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Ask for the prediction."""
        body = (await transport.call("GET", _path(ticket))).json
        if not isinstance(body, dict):
            raise ProviderDown(f"{self.title} answered a question for a prediction with no JSON", provider=self.title)
        output = body.get("output")
        match body.get("status"):
            case "success" if not (isinstance(output, dict) and output.get("success") is False):
                urls = _urls(output)
                if not urls:
                    raise ProviderBroken(f"{self.title} ended a prediction without a picture", provider=self.title)
                return Done(found=[Found(url=urls[0])], microdollars=_cost(body.get("metrics")))
            case "success" | "error" | "failed":
                raise self._failure(output, body.get("logs"))
            case "cancelled" | "canceled":
                raise ProviderDown(f"{self.title} cancelled a prediction by itself", provider=self.title)
            case _:
                return Pending()

    async def cancel(self, ticket: str, transport: Transport) -> None:
        """Cancel the prediction."""
        await transport.call("POST", f"{_path(ticket)}/cancel")

    async def check(self, transport: Transport) -> str:
        """Ask for the last executions; that costs nothing."""
        answer = await transport.call("GET", "/v1/executions", params={"limit": "1"})
        if answer.json is None:
            raise self.closed("address", "It answered with no JSON.")
        return "the key is accepted"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``{"error": …, "details": …}``."""
        body = answer.json
        if not isinstance(body, dict):
            return None
        words = text_of(" ".join(str(body[name]) for name in ("error", "message", "details") if body.get(name)))
        if answer.status in (400, 422) and MODERATED.search(words):
            return Refused(f"{self.title}: {words}", reason=CENSORED)
        if answer.status == 404 and body.get("error"):
            return faults.missing(self.title, words, submitting=answer.paid)
        return faults.by_status(self.title, answer.status, words, submitting=answer.paid)

    async def _upload(self, picture: bytes, transport: Transport) -> str:
        """Store ``picture`` (PNG) at Eachlabs for an hour and return its URL."""
        wanted = {"content_type": "image/png", "expires_in_seconds": UPLOAD_SECONDS}
        place = (await transport.call("POST", "/v1/upload/presign", json=wanted)).json
        match place:
            case {"presigned_url": str(target), "public_url": str(public)}:
                required = place.get("required_headers")
                headers = {str(k): str(v) for k, v in required.items()} if isinstance(required, dict) else {}
                headers["Content-Type"] = "image/png"
                await transport.call("PUT", target, content=picture, headers=headers, keyless=True)
                return public
            case _:
                raise ProviderBroken(f"{self.title} named no place to upload a picture to", provider=self.title)

    def _failure(self, output: Any, logs: Any) -> GenerationFailed:
        """Return what a failed prediction tells: a classification, a text, or the last line of its log."""
        told = output if isinstance(output, dict) else {}
        classification = told.get("classification")
        category = classification.get("category") if isinstance(classification, dict) else None
        reason = text_of(told.get("error_message") or told.get("error") or (output if isinstance(output, str) else ""))
        words = reason or text_of((str(logs or "").strip().splitlines() or ["no reason given"])[-1])
        line = f"{self.title}: {category}: {words}" if category else f"{self.title}: {words}"
        if category == "content_moderation" or (category in (None, "unknown") and MODERATED.search(words)):
            return Refused(line, reason=reason or CENSORED)
        if category in ("invalid_user_input", "invalid_model_config"):
            return RequestRejected(line, provider=self.title)
        return ProviderDown(line, provider=self.title)


def _path(ticket: str) -> str:
    return f"/v1/prediction/{quote(ticket, safe='')}"


def _input(shot: Shot, image: str | None) -> dict[str, Any]:
    request = shot.request
    given: dict[str, Any] = {
        "prompt": request.prompt,
        "seed": shot.seeds[0],
        "num_outputs": 1,
        "num_inference_steps": request.steps,
        "output_format": "png",
        "disable_safety_checker": False,
    }
    if request.guidance is not None:
        given["guidance"] = request.guidance
    if image is None:
        return given | {"aspect_ratio": aspect_of(shot.size)}
    return given | {"image": image, "prompt_strength": request.strength}


def _urls(output: Any) -> list[str]:
    """Return the pictures' addresses in an output: one, a list of them, or an object around either."""
    match output:
        case str() if output.startswith(("http://", "https://", "data:image/")):
            return [output]
        case list():
            return [url for item in output for url in _urls(item)]
        case dict():
            return next(
                (urls for name in ("images", "image", "output", "url") if (urls := _urls(output.get(name)))), []
            )
        case _:
            return []


def _cost(metrics: Any) -> int | None:
    return microdollars(metrics.get("cost")) if isinstance(metrics, dict) else None
