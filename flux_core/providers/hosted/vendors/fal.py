"""fal.ai's queue: a request is submitted, its status URL is asked, its response URL has the result or the error.

Wire format after fal.ai/docs (inference API, errors), the models' pages and fal's Python and JavaScript clients. That a
moderated picture comes back black, and the text about an exhausted balance, are from users' reports.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Limits, Outcome, Pending, Shot, Vendor, text_of
from flux_core.providers.hosted.vendors import kontext

KONTEXT_WORDS = ("21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")


@dataclass(frozen=True, slots=True)
class _Format:
    """How one model is asked."""

    offer: Offer
    words: str = ""
    """What follows its name in the path when it draws from words."""
    picture: str = ""
    """What follows its name when it starts from a picture."""
    open: bool = False
    """Whether steps and guidance can be chosen, as with the models whose weights are published."""


LEAST_STEPS_FROM_PICTURE = 10
"""Of flux-dev, says its page; fewer are refused there."""

# Prices: the models' pages where fal has them in text (flux-2-pro, flux-dev from pictures); others' from third parties.
FORMATS: Mapping[str, _Format] = {
    "flux-schnell": _Format(
        Offer(
            theirs="fal-ai/flux/schnell",
            steps=Range(low=1, high=12),
            price=Price(megapixel=0.003, round_up=True),
        ),
        open=True,
    ),
    "flux-dev": _Format(
        Offer(
            theirs="fal-ai/flux/dev",
            steps=Range(low=1, high=50),
            guidance=Range(low=1, high=20),
            price=Price(megapixel=0.025, round_up=True),
            image_input=ImageInput.INLINE,
            picture_price=Price(megapixel=0.03, round_up=True),
        ),
        picture="/image-to-image",
        open=True,
    ),
    "flux-pro-1.1": _Format(
        Offer(
            theirs="fal-ai/flux-pro/v1.1",
            sizes=Sizes(low=256, high=1440, multiple=32),
            price=Price(megapixel=0.04, round_up=True),
        )
    ),
    "flux-kontext-pro": _Format(
        Offer(
            theirs="fal-ai/flux-pro/kontext",
            sizes=kontext.sizes_of(KONTEXT_WORDS),
            price=Price(picture=0.04),
            image_input=ImageInput.INLINE,
            picture_sizes=kontext.TRAINED,
        ),
        words="/text-to-image",  # not confirmed
    ),
    "flux-2-pro": _Format(
        Offer(
            theirs="fal-ai/flux-2-pro",
            sizes=Sizes(low=512, high=2048, multiple=16),  # not confirmed here
            price=Price(picture=0.015, megapixel=0.015, round_up=True),
            image_input=ImageInput.INLINE,
            picture_price=Price(picture=0.015, megapixel=0.03, round_up=True),
        ),
        picture="/edit",
    ),
}


class Fal(Vendor):
    """FLUX in fal.ai's queue."""

    name: ClassVar[str] = "fal"
    title: ClassVar[str] = "fal.ai"
    base_url: ClassVar[str] = "https://queue.fal.run"
    key_page: ClassVar[str] = "https://fal.ai/dashboard/keys"
    limits: ClassVar[Limits] = Limits(concurrency=2, per_minute=120)
    """Two at once is what a new account draws (up to 40 later). More would be taken, but wait in fal's own queue, where
    they cannot pass to another provider any more; no rate is documented."""
    polled: ClassVar[bool] = True
    trusted_hosts: ClassVar[tuple[str, ...]] = ("*.fal.run",)

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what it draws."""
        theirs = self.access.models
        return {
            id: format.offer.model_copy(update={"theirs": theirs.get(id, format.offer.theirs)})
            for id, format in FORMATS.items()
        }

    def headers(self) -> dict[str, str]:
        """Return the key's header; the scheme's name is Key."""
        return {} if self.access.key is None else {"Authorization": f"Key {self.access.key}"}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Put one picture into the queue."""
        format = FORMATS[shot.request.model]
        path = shot.offer.theirs + (format.words if shot.picture is None else format.picture)
        answer = await transport.submit("/" + path, json=_order(shot, format))
        told = answer.json if isinstance(answer.json, dict) else {}
        urls = {kind: told.get(f"{kind}_url") for kind in ("status", "response", "cancel")}
        if not all(isinstance(url, str) and url for url in urls.values()):
            id = told.get("request_id")
            if not isinstance(id, str) or not id:
                raise OutcomeUnknown(f"{self.title} took the order but named no request: {text_of(answer.body[:200])}")
            # Status, result and cancel are below owner and app; the rest of the model's name is left out.
            own = f"/{'/'.join(path.split('/')[:2])}/requests/{quote(id, safe='')}"
            urls = {"status": f"{own}/status", "response": own, "cancel": f"{own}/cancel"}
        return Pending(ticket=json.dumps(urls))

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Ask for the status and, once completed, for the result: only that tells whether it is one."""
        urls = json.loads(ticket)
        told = (await transport.call("GET", urls["status"])).json
        if not isinstance(told, dict) or not isinstance(status := told.get("status"), str):
            raise ProviderBroken(f"{self.title}'s request has no status", provider=self.title)
        if status != "COMPLETED":
            # IN_QUEUE and IN_PROGRESS; one that is not known yet is waited out as well, as the request is paid for.
            return Pending()
        kind = told.get("error_type")
        if isinstance(kind, str) and kind:
            line = f"{self.title} failed to draw ({kind}): {text_of(told.get('error', ''))}"
            if kind == "bad_request":
                raise RequestRejected(line, provider=self.title)
            raise ProviderDown(line, provider=self.title)
        try:
            result = (await transport.call("GET", urls["response"])).json
        except ProviderDown as down:
            if "status" not in down.facts:
                raise
            # In fal's own words, as the answer to a completed request: that is its end, not trouble on the way.
            raise ProviderBroken(str(down), provider=self.title) from down
        if not isinstance(result, dict) or not isinstance(images := result.get("images"), list):
            raise ProviderBroken(f"{self.title}'s result has no pictures", provider=self.title)
        found = _found(images, result)
        if not found:
            raise ProviderBroken(f"{self.title}'s result has no pictures", provider=self.title)
        return Done(found=found)

    async def cancel(self, ticket: str, transport: Transport) -> None:
        """Take a request out of the queue, or ask for its end."""
        await transport.call("PUT", json.loads(ticket)["cancel"])

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read errors of the model (a list) and an exhausted balance (a 403); the rest is what its status says."""
        told = answer.json
        details = told.get("detail") if isinstance(told, dict) else None
        if answer.status == 403 and isinstance(details, str):
            said = details.lower()
            if "balance" in said or "locked" in said or "top up" in said:
                return self.closed("credit", text_of(details))
        if answer.status in (400, 422) and isinstance(details, list):
            entries = [entry for entry in details if isinstance(entry, dict)]
            if any(entry.get("type") == "content_policy_violation" for entry in entries):
                return Refused(f"{self.title}: {text_of(_wrong(entries))}", reason=CENSORED)
            return RequestRejected(f"{self.title} rejects {text_of(_wrong(entries))}", provider=self.title)
        if answer.status == 404 and details is not None:
            return faults.missing(self.title, text_of(details), submitting=answer.paid)
        if answer.status >= 500 and isinstance(details, str | list) and not answer.paid:
            entries = [entry for entry in details if isinstance(entry, dict)]
            line = f"{self.title} answered {answer.status}: {text_of(_wrong(entries) if entries else details)}"
            return ProviderDown(line, provider=self.title, status=answer.status)
        return None


def _order(shot: Shot, format: _Format) -> dict[str, Any]:
    request, (width, height) = shot.request, shot.size
    # PNG, as the picture is encoded once more for the member: losses do not add up.
    order: dict[str, Any] = {"prompt": request.prompt, "seed": shot.seeds[0], "output_format": "png"}
    if request.model != "flux-2-pro":
        order["num_images"] = 1
    if format.open:
        steps = request.steps if shot.picture is None else max(request.steps, LEAST_STEPS_FROM_PICTURE)
        order |= {"num_inference_steps": steps, "enable_safety_checker": True}
        if request.guidance is not None:
            order["guidance_scale"] = request.guidance
    if shot.picture is not None:
        given = "data:image/png;base64," + base64.b64encode(shot.picture).decode()
        order |= {"image_urls": [given]} if request.model == "flux-2-pro" else {"image_url": given}
        if request.strength is not None:
            order["strength"] = request.strength
    if request.model == "flux-2-pro" or (shot.picture is None and request.model != "flux-kontext-pro"):
        order["image_size"] = {"width": width, "height": height}
    elif shot.picture is None:
        order["aspect_ratio"] = kontext.word_of(shot.size)
    return order


def _found(images: list[Any], result: dict[str, Any]) -> list[Found]:
    flags = result.get("has_nsfw_concepts")
    flagged = flags if isinstance(flags, list) else []
    seed = result.get("seed")
    found = []
    for index, image in enumerate(images):
        url = image.get("url") if isinstance(image, dict) else None
        if index < len(flagged) and flagged[index]:
            found.append(Found(withheld=CENSORED))  # the picture that comes with the flag is black
        elif isinstance(url, str):
            found.append(Found(url=url, seed=seed if isinstance(seed, int) else None))
    return found


def _wrong(entries: list[dict[str, Any]]) -> str:
    said = []
    for entry in entries:
        place = entry.get("loc")
        where = ".".join(str(part) for part in place[1:]) if isinstance(place, list) else ""
        said.append(f"{where}: {entry.get('msg', '')}")
    return "; ".join(said)
