"""Black Forest Labs' own API: a task is submitted, its polling URL is asked, the picture is fetched within ten minutes.

Wire format after docs.bfl.ai (API reference, openapi.json) and the vendor's Python SDK. Not in the vendor's documents,
but seen in several independent clients: ``details["Moderation Reasons"]``, and ``details`` as plain text on errors.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from flux_core.errors import (
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
from flux_core.providers.hosted.vendor import Done, Found, Limits, Outcome, Pending, Shot, Vendor, microdollars, text_of
from flux_core.providers.hosted.vendors import kontext

FREE_SIZES = Sizes(low=256, high=1440, multiple=32)

OFFERS: Mapping[str, Offer] = {
    # Its image_prompt is a visual prompt of no stated strength, not a picture to start from: it is not used.
    "flux-dev": Offer(
        theirs="flux-dev",
        sizes=FREE_SIZES,
        steps=Range(low=1, high=50),
        guidance=Range(low=1.5, high=5),
        price=Price(picture=0.025),  # from a reseller's page; the vendor's price list has it no more
    ),
    # Prices: docs.bfl.ai/quick_start/pricing, one credit being a US cent.
    "flux-pro-1.1": Offer(theirs="flux-pro-1.1", sizes=FREE_SIZES, price=Price(picture=0.04)),
    "flux-kontext-pro": Offer(
        theirs="flux-kontext-pro",
        sizes=kontext.TRAINED,  # documented: every aspect between 21:9 and 9:21
        price=Price(picture=0.04),
        image_input=ImageInput.INLINE,
    ),
    "flux-2-pro": Offer(
        theirs="flux-2-pro",
        sizes=Sizes(low=256, high=2048, multiple=16, most_pixels=4 * MEGAPIXEL),
        price=Price(picture=0.015, megapixel=0.015, round_up=True),  # 3 cents the first megapixel, 1.5 each further
        image_input=ImageInput.INLINE,
        picture_price=Price(picture=0.015, megapixel=0.03, round_up=True),  # the input's megapixels count as well
    ),
}

LOST = "Task not found"
MODERATED = {
    "Request Moderated": "the provider's safety filter did not take the prompt or the picture",
    "Content Moderated": "the provider's safety filter held the finished picture back",
}


class BlackForestLabs(Vendor):
    """FLUX from its makers."""

    name: ClassVar[str] = "bfl"
    title: ClassVar[str] = "Black Forest Labs"
    base_url: ClassVar[str] = "https://api.bfl.ai"
    key_page: ClassVar[str] = "https://dashboard.bfl.ai"
    limits: ClassVar[Limits] = Limits(concurrency=24, per_minute=240)
    """24 active tasks are documented; no rate is, so it is what 24 tasks of six seconds come to."""
    polled: ClassVar[bool] = True
    trusted_hosts: ClassVar[tuple[str, ...]] = ("*.bfl.ai",)
    """The global address hands a task to a cluster, and only that cluster's host knows it."""

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what it draws."""
        theirs = self.access.models
        return {id: offer.model_copy(update={"theirs": theirs.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    def headers(self) -> dict[str, str]:
        """Return the key's header."""
        return {} if self.access.key is None else {"x-key": self.access.key}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Order one picture."""
        answer = await transport.submit(f"/v1/{shot.offer.theirs}", json=_order(shot))
        told = answer.json if isinstance(answer.json, dict) else {}
        id, url, cents = told.get("id"), told.get("polling_url"), told.get("cost")
        if not isinstance(url, str) or not url:
            if not isinstance(id, str) or not id:
                raise OutcomeUnknown(f"{self.title} took the order but named no task: {text_of(answer.body[:200])}")
            url = f"/v1/get_result?id={quote(id, safe='')}"  # as servers answered before there were clusters
        return Pending(ticket=json.dumps({"url": url, "cents": cents if isinstance(cents, int | float) else None}))

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Ask the polling URL, exactly as it was given."""
        kept = json.loads(ticket)
        answer = await transport.call("GET", kept["url"])
        told = answer.json
        if not isinstance(told, dict) or not isinstance(status := told.get("status"), str):
            raise ProviderBroken(f"{self.title}'s task has no status", provider=self.title)
        details = told.get("details") or ""
        if status == "Ready":
            return self._ready(told, kept["cents"])
        if status in MODERATED:
            raise Refused(f"{self.title}: {status}, {text_of(details)}", reason=_why(status, details))
        if status == "Error":
            raise ProviderDown(f"{self.title} failed to draw: {text_of(details)}", provider=self.title)
        if status == LOST:
            # Clusters may be a moment behind each other; the engine asks again before it believes this.
            raise LookupError(status)
        # "Pending"; a status that is not known yet is waited out as well, as the task is paid for.
        progress = told.get("progress")
        return Pending(progress=float(progress) if isinstance(progress, int | float) else None)

    async def check(self, transport: Transport) -> str:
        """Ask for the balance; raises ProviderClosed when nothing is left."""
        answer = await transport.call("GET", "/v1/credits")
        credits = answer.json.get("credits") if isinstance(answer.json, dict) else None
        if not isinstance(credits, int | float):
            raise self.closed("address", "It names no balance.")
        line = f"{credits:g} credits left (${credits / 100:.2f})"
        if credits <= 0:
            raise self.closed("credit", line)
        return line

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read a list of invalid fields; the rest is what its status says."""
        told = answer.json
        if not isinstance(told, dict):
            return None
        details = told.get("detail")
        if answer.status == 404 and details is not None:
            return faults.missing(self.title, text_of(details), submitting=answer.paid)
        if answer.status == 422 and isinstance(details, list):
            wrong = "; ".join(_field(entry) for entry in details)
            return RequestRejected(f"{self.title} rejects {text_of(wrong)}", provider=self.title)
        return None

    def _ready(self, told: dict[str, Any], cents: float | None) -> Done:
        result = told.get("result")
        url = result.get("sample") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(url, str):
            raise ProviderBroken(f"{self.title}'s finished task has no picture", provider=self.title)
        seed = result.get("seed")
        found = Found(url=url, seed=seed if isinstance(seed, int) else None)
        return Done(found=[found], microdollars=None if cents is None else microdollars(cents / 100))


def _order(shot: Shot) -> dict[str, Any]:
    request, model = shot.request, shot.request.model
    # PNG, as the picture is encoded once more for the member: losses do not add up.
    order: dict[str, Any] = {"prompt": request.prompt, "seed": shot.seeds[0], "output_format": "png"}
    if model == "flux-kontext-pro":
        order["aspect_ratio"] = kontext.exact_ratio(shot.size)
    else:
        order["width"], order["height"] = shot.size
    if model == "flux-dev":
        order["steps"] = request.steps
        if request.guidance is not None:
            order["guidance"] = request.guidance
    if shot.picture is not None:
        order["input_image"] = base64.b64encode(shot.picture).decode()
    return order


def _why(status: str, details: Any) -> str:
    reasons = details.get("Moderation Reasons") if isinstance(details, dict) else None
    named = ", ".join(str(reason) for reason in reasons) if isinstance(reasons, list) else ""
    return f"{MODERATED[status]} ({text_of(named)})" if named else MODERATED[status]


def _field(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    place = entry.get("loc")
    where = ".".join(str(part) for part in place[1:]) if isinstance(place, list) else ""
    return f"{where}: {entry.get('msg', '')}"
