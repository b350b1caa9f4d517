"""Fireworks AI: FLUX.1 answered at once, FLUX.1 Kontext [pro] by polling.

Wire format: docs.fireworks.ai (text to image, Kontext, get_result, inference error codes). An aspect is all that can be
asked for: eleven by name, and any between 21:9 and 9:21 from Kontext. The pages name no pixels; that it draws those of
other hosts of these models is not confirmed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from flux_core.errors import GenerationFailed, OutcomeUnknown, ProviderBroken, ProviderDown, Refused
from flux_core.family import FLUX_KONTEXT
from flux_core.offers import ImageInput, Offer, Price
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Limits, Outcome, Pending, Shot, Vendor, text_of
from flux_core.providers.hosted.vendors import kontext
from flux_core.providers.hosted.vendors.aspects import aspect_of, sizes_of
from flux_core.providers.hosted.vendors.openai_shapes import NO_MODEL

KONTEXT = FLUX_KONTEXT.id

# Dollars a step and a picture as on the price page; not confirmed. A step costs the same in every aspect: each is a
# started megapixel.
OFFERS: Mapping[str, Offer] = {
    "flux-schnell": Offer(
        theirs="flux-1-schnell-fp8", sizes=sizes_of(), price=Price(megapixel_step=0.00035, round_up=True)
    ),
    "flux-dev": Offer(theirs="flux-1-dev-fp8", sizes=sizes_of(), price=Price(megapixel_step=0.0005, round_up=True)),
    KONTEXT: Offer(
        theirs="flux-kontext-pro",
        sizes=kontext.TRAINED,  # documented: every aspect between 21:9 and 9:21
        price=Price(picture=0.04),
        image_input=ImageInput.INLINE,
    ),
}


class Fireworks(Vendor):
    """Fireworks' image workflows."""

    name = "fireworks"
    title = "Fireworks"
    base_url = "https://api.fireworks.ai/inference/v1"
    key_page = "https://app.fireworks.ai/settings/users/api-keys"
    limits = Limits(concurrency=4, per_minute=60)
    polled = True
    submit_seconds = 120.0
    """Kontext only is polled; the others are drawn while the submit is answered."""

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return the models, by the operator's names for them."""
        models = self.access.models
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture, or order it where the model is Kontext."""
        if shot.request.model == KONTEXT:
            return await self._order(shot, transport)
        body: dict[str, Any] = {
            "prompt": shot.request.prompt,
            "aspect_ratio": aspect_of(shot.size),
            "num_inference_steps": shot.request.steps,
            # 0 lets Fireworks choose; its answer tells what it chose.
            "seed": shot.seeds[0],
        }
        if shot.request.guidance is not None:
            body["guidance_scale"] = shot.request.guidance
        path = f"{_workflow(shot.offer.theirs)}/text_to_image"
        answer = await transport.submit(path, json=body, headers={"Accept": "application/json"})
        return Done(found=[self._found(answer)])

    def _found(self, answer: Answer) -> Found:
        told = answer.json
        if not isinstance(told, dict):
            # The newest page names picture types only under Accept: a picture instead of JSON is as welcome.
            if not answer.headers.get("content-type", "").startswith("image/"):
                raise self._broken("answered with no picture")
            if answer.headers.get("finish-reason") == "CONTENT_FILTERED":
                return Found(withheld=CENSORED)
            return Found(data=answer.body, seed=_whole(answer.headers.get("seed")))
        seed = _whole(told.get("seed"))
        if told.get("finishReason") == "CONTENT_FILTERED":
            return Found(seed=seed, withheld=CENSORED)
        images = told.get("base64")
        image = images[0] if isinstance(images, list) and images else images
        if not isinstance(image, str) or not image:
            raise self._broken("answered with no picture")
        return Found(url=image if image.startswith("data:") else f"data:image/png;base64,{image}", seed=seed)

    async def _order(self, shot: Shot, transport: Transport) -> Outcome:
        body: dict[str, Any] = {
            "prompt": shot.request.prompt,
            "aspect_ratio": kontext.exact_ratio(shot.size),
            "seed": shot.seeds[0],
            "output_format": "png",
        }
        if shot.picture is not None:
            body["input_image"] = b64encode(shot.picture).decode()
        answer = await transport.submit(_workflow(shot.offer.theirs), json=body)
        told = answer.json
        # "request_id" in the vendor's AI SDK provider; "id" as everywhere else in this format.
        id = (told.get("request_id") or told.get("id")) if isinstance(told, dict) else None
        if not isinstance(id, str):
            raise OutcomeUnknown(f"{self.title} took the order without telling its id")
        return Pending(ticket=f"{shot.offer.theirs} {id}")

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Ask for Kontext's result; the statuses are those of Black Forest Labs."""
        model, id = ticket.split(" ", 1)
        answer = await transport.call("POST", f"{_workflow(model)}/get_result", json={"id": id})
        told = answer.json
        if not isinstance(told, dict):
            raise self._broken("answered with no status")
        status, result = told.get("status"), told.get("result")
        if status == "Ready":
            if not isinstance(result, dict) or not isinstance(sample := result.get("sample"), str):
                raise self._broken("finished without a picture")
            return Done(found=[Found(url=sample, seed=_whole(result.get("seed")))])
        if status in ("Request Moderated", "Content Moderated"):
            raise Refused(f"{self.title}: {status}", reason=_reason(told))
        if status in ("Error", "Failed"):
            raise ProviderDown(f"{self.title}: {text_of(told.get('details') or status)}", provider=self.title)
        if status == "Task not found":
            raise LookupError(ticket)  # clients have seen it right after an order, too: it is believed when repeated
        progress = told.get("progress")
        return Pending(progress=float(progress) if isinstance(progress, int | float) else None)

    async def check(self, transport: Transport) -> str:
        """List the models, as in OpenAI's interface; that costs nothing."""
        answer = await transport.call("GET", "/models")
        told = answer.json
        if not isinstance(told, dict) or not isinstance(told.get("data"), list):
            raise self.closed("address", "It lists no models.")
        return "the key is accepted"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Know 412, the account is suspended or has a trouble of its own, and a 404 that is about the model."""
        detail = _detail(answer)
        if answer.status == 404 and NO_MODEL.search(detail):
            return faults.missing(self.title, detail, submitting=answer.paid)
        return self.closed("credit", detail) if answer.status == 412 else None

    def _broken(self, what: str) -> ProviderBroken:
        return ProviderBroken(f"{self.title} {what}", provider=self.title)


def _workflow(model: str) -> str:
    return f"/workflows/accounts/fireworks/models/{model}"


def _whole(value: Any) -> int | None:
    return int(value) if str(value).isdecimal() else None


def _reason(told: Mapping[str, Any]) -> str:
    details = told.get("details")
    reasons = details.get("Moderation Reasons") if isinstance(details, dict) else None
    return text_of(", ".join(map(str, reasons))) if isinstance(reasons, list) and reasons else CENSORED


def _detail(answer: Answer) -> str:
    told = answer.json
    if not isinstance(told, dict):
        return ""
    error = told.get("error") or told.get("detail") or told.get("message") or ""
    return text_of(error.get("message", error) if isinstance(error, dict) else error)
