"""CometAPI: resells FLUX in the formats of Replicate and of Black Forest Labs; the setting ``format`` chooses one.

Wire format: apidoc.cometapi.com (2026). The addresses inside its answers belong to those whose format it speaks, so
every address called here is built from our own base URL. A path that the service does not know, or that a key may not
use, is answered by its web site: a redirect, or a page with status 200. Such a page therefore says that an order was
not taken on. Prices are not published: those here are the original vendors', an assumption.
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
from flux_core.models import ASPECTS, MEGAPIXEL
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
    text_of,
)
from flux_core.providers.hosted.vendors import kontext
from flux_core.providers.hosted.vendors.aspects import aspect_of, sizes_of

LIKE_PICTURE = Sizes(high=1440, most_pixels=MEGAPIXEL)
"""In Replicate's format a drawing that starts from a picture keeps the picture's shape."""

FREE_SIZES = Sizes(low=256, high=1440, multiple=32)

REPLICATE: Mapping[str, Offer] = {
    "flux-dev": Offer(
        theirs="black-forest-labs/flux-dev",
        sizes=sizes_of(),
        steps=Range(low=1, high=50),
        guidance=Range(low=0, high=10),
        price=Price(picture=0.025),
        image_input=ImageInput.LINK,
        picture_sizes=LIKE_PICTURE,
    ),
    "flux-schnell": Offer(
        theirs="black-forest-labs/flux-schnell",
        sizes=sizes_of(),
        steps=Range(low=1, high=4),
        price=Price(picture=0.003),
    ),
    "flux-pro-1.1": Offer(theirs="black-forest-labs/flux-1.1-pro", sizes=FREE_SIZES, price=Price(picture=0.04)),
    "flux-kontext-pro": Offer(
        theirs="black-forest-labs/flux-kontext-pro",
        sizes=kontext.sizes_of(ASPECTS),
        price=Price(picture=0.04),
        image_input=ImageInput.LINK,
        picture_sizes=kontext.TRAINED,
    ),
}
BFL: Mapping[str, Offer] = {
    # Its image_prompt is a visual prompt of no stated strength, not a picture to start from: it is not used.
    "flux-dev": Offer(
        theirs="flux-dev",
        sizes=FREE_SIZES,
        steps=Range(low=1, high=50),
        guidance=Range(low=1.5, high=5),
        price=Price(picture=0.025),
    ),
    "flux-pro-1.1": Offer(theirs="flux-pro-1.1", sizes=FREE_SIZES, price=Price(picture=0.04)),
    "flux-2-pro": Offer(
        theirs="flux-2-pro",
        sizes=Sizes(low=256, high=2048, multiple=16, most_pixels=4 * MEGAPIXEL),
        price=Price(picture=0.015, megapixel=0.015, round_up=True),
        image_input=ImageInput.LINK,
        picture_price=Price(picture=0.015, megapixel=0.03, round_up=True),
    ),
}

MODERATED = re.compile(r"nsfw|moderat|safety|sensitive|content.?polic|flagged", re.IGNORECASE)
SEED = re.compile(r"[Uu]sing seed:? (\d+)")
NO_CREDIT = re.compile(r"quota|balance|credit|top.?up|recharge", re.IGNORECASE)
"""The words for an empty account are not documented; the software behind it says "insufficient user quota"."""


FORMATS = ("replicate", "bfl")


class CometApi(Vendor):
    """CometAPI, in one of its two FLUX formats."""

    name = "cometapi"
    title = "CometAPI"
    base_url = "https://api.cometapi.com"
    key_page = "https://api.cometapi.com/console/token"
    extra_settings: ClassVar[Mapping[str, str]] = {
        "format": "Which FLUX routes are used: `replicate` (the default, with schnell and Kontext) or `bfl`."
    }
    limits = Limits(concurrency=8, per_minute=60)  # none are published
    polled = True
    poll_every = (1.0, 4.0)

    def __init__(self, access: Access) -> None:
        """Raise ConfigurationError for a format that it does not have."""
        super().__init__(access)
        if access.extra.get("format", "replicate").strip().lower() not in FORMATS:
            raise ConfigurationError(f"COMETAPI_FORMAT must be one of {', '.join(FORMATS)}.")

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return the models of the chosen format, by the operator's names for them."""
        models = self.access.models
        table = BFL if self._speaks_bfl else REPLICATE
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in table.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Order one picture."""
        if shot.picture is not None and shot.link is None:
            raise RequestRejected(f"{self.title} takes pictures as links only", provider=self.title)
        image = None if shot.picture is None or shot.link is None else await shot.link()
        model = quote(shot.offer.theirs, safe="/")
        if self._speaks_bfl:
            path, order = f"/flux/v1/{model}", _bfl_order(shot, image)
        else:
            path, order = f"/replicate/v1/models/{model}/predictions", {"input": _replicate_input(shot, image)}
        answer = await transport.submit(path, json=order)
        body = answer.json
        ticket = body.get("id") if isinstance(body, dict) else None
        if not isinstance(ticket, str) or not ticket:
            raise self.fault(answer) or OutcomeUnknown(f"{self.title} took an order without saying under which id")
        return Pending(ticket=ticket)

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Ask for the task, below our own base URL whatever address the answer named."""
        if self._speaks_bfl:
            answer = await transport.call("GET", "/flux/v1/get_result", params={"id": ticket})
        else:
            answer = await transport.call("GET", f"/replicate/v1/predictions/{quote(ticket, safe='')}")
        body = answer.json
        if not isinstance(body, dict):
            raise ProviderDown(f"{self.title} answered a question for a task with no JSON", provider=self.title)
        return self._bfl_outcome(body) if self._speaks_bfl else self._replicate_outcome(body)

    async def check(self, transport: Transport) -> str:
        """List the models the key may use; that costs nothing (an OpenAI-like route)."""
        answer = await transport.call("GET", "/v1/models")
        if not isinstance(answer.json, dict):
            raise self.closed("address", "It answered with no JSON.")
        return "the key is accepted"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``{"error": {message, type, code}}``, and the web site's pages."""
        body = answer.json
        if not isinstance(body, dict):
            # Half an answer in JSON is none of its pages: then an order may well have been taken on.
            page = answer.body.lstrip().startswith(b"<")
            if answer.paid and (answer.status == 404 or (answer.status < 400 and page)):
                return self.closed("address", f"An order was answered with a web page ({answer.status}).")
            return None
        error = body.get("error")
        told = error if isinstance(error, dict) else {}
        words = text_of(told.get("message") or error or body.get("detail") or "")
        line = f"{self.title}: {words}"
        if answer.status in (400, 422, 500) and MODERATED.search(words):
            return Refused(line, reason=CENSORED)
        if answer.status == 500 and told.get("code") == "invalid_request":
            return RequestRejected(line, provider=self.title)
        if answer.status == 403 and NO_CREDIT.search(f"{told.get('code')} {words}"):
            return self.closed("credit", words)
        if answer.status == 404 and error:
            return faults.missing(self.title, words, submitting=answer.paid)
        return (
            faults.by_status(self.title, answer.status, words, submitting=answer.paid) if answer.status >= 400 else None
        )

    @property
    def _speaks_bfl(self) -> bool:
        return self.access.extra.get("format", "").strip().lower() == "bfl"

    def _replicate_outcome(self, body: Mapping[str, Any]) -> Outcome:
        match body.get("status"):
            case "succeeded":
                output = body.get("output")
                urls = [output] if isinstance(output, str) else output if isinstance(output, list) else []
                told = SEED.search(str(body.get("logs") or ""))
                seed = int(told[1]) if told else None
                # An empty list is a success of which the safety filter left nothing.
                return Done(found=[Found(url=url, seed=seed) for url in urls if isinstance(url, str)])
            case "failed":
                raise self._failure(body.get("error") or body.get("logs"))
            case "canceled" | "cancelled" | "aborted":
                raise ProviderDown(f"{self.title} cancelled a task by itself", provider=self.title)
            case _:
                return Pending()

    def _bfl_outcome(self, body: Mapping[str, Any]) -> Outcome:
        result = body.get("result")
        details = body.get("details")
        match body.get("status"):
            case "Ready":
                if isinstance(result, dict) and isinstance(url := result.get("sample"), str):
                    seed = result.get("seed")
                    return Done(found=[Found(url=url, seed=seed if isinstance(seed, int) else None)])
                raise ProviderBroken(f"{self.title} ended a task without a picture", provider=self.title)
            case "Request Moderated" | "Content Moderated":
                reasons = details.get("Moderation Reasons") if isinstance(details, dict) else None
                reason = ", ".join(map(str, reasons)) if isinstance(reasons, list) else ""
                raise Refused(f"{self.title}: moderated: {text_of(reason)}", reason=text_of(reason) or CENSORED)
            case "Error":
                raise self._failure(details)
            case "Task not found":
                raise LookupError("Task not found")  # may be a moment late: it is believed when repeated
            case _:
                progress = body.get("progress")
                return Pending(progress=float(progress) if isinstance(progress, int | float) else None)

    def _failure(self, told: Any) -> GenerationFailed:
        words = text_of(told or "no reason given")
        if MODERATED.search(words):
            return Refused(f"{self.title}: {words}", reason=CENSORED)
        return ProviderDown(f"{self.title}: {words}", provider=self.title)


def _replicate_input(shot: Shot, image: str | None) -> dict[str, Any]:
    request, (width, height) = shot.request, shot.size
    given: dict[str, Any] = {"prompt": request.prompt, "seed": shot.seeds[0], "output_format": "png"}
    match request.model:
        case "flux-kontext-pro" if image is not None:
            return given | {"aspect_ratio": "match_input_image", "input_image": image}
        case "flux-kontext-pro":
            return given | {"aspect_ratio": kontext.word_of(shot.size)}
        case "flux-pro-1.1":
            return given | {"aspect_ratio": "custom", "width": width, "height": height}
    # Not go_fast: with it a seed gives another picture the next time.
    given |= {"num_outputs": 1, "num_inference_steps": request.steps, "megapixels": "1", "go_fast": False}
    if request.guidance is not None:
        given["guidance"] = request.guidance
    if image is None:
        return given | {"aspect_ratio": aspect_of(shot.size)}
    return given | {"image": image, "prompt_strength": request.strength}


def _bfl_order(shot: Shot, image: str | None) -> dict[str, Any]:
    request = shot.request
    width, height = shot.size
    order: dict[str, Any] = {
        "prompt": request.prompt,
        "width": width,
        "height": height,
        "seed": shot.seeds[0],
        "output_format": "png",
        "prompt_upsampling": False,
    }
    if request.model == "flux-dev":
        order |= {"steps": request.steps, "guidance": request.guidance}
    if image is not None:
        order["input_image"] = image
    return order
