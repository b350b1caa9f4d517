"""Runware: every request is an array of tasks, posted to one address.

Wire format: runware.ai/docs (image inference, errors, account management). Drawn synchronously: that a task can be
looked up by the UUID we gave it is documented for asynchronous ones only, so an unclear order stays unknown.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from flux_core.errors import GenerationFailed, ProviderBroken, ProviderBusy, ProviderDown, Refused, RequestRejected
from flux_core.offers import ImageInput, Offer, Price, Sizes
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import (
    CENSORED,
    Done,
    Found,
    Limits,
    Outcome,
    Shot,
    Vendor,
    microdollars,
    text_of,
)

SIZES = Sizes(low=256, high=2048, multiple=64)
"""As Runware's own AI SDK provider states them; newer pages allow finer steps for some models (not confirmed)."""
PRICE = Price(megapixel_step=0.00015)
"""About $0.0006 for schnell's four steps at one megapixel; the answer says what was really charged."""

OFFERS: Mapping[str, Offer] = {
    "flux-schnell": Offer(theirs="runware:100@1", sizes=SIZES, price=PRICE, image_input=ImageInput.INLINE),
    "flux-dev": Offer(theirs="runware:101@1", sizes=SIZES, price=PRICE, image_input=ImageInput.INLINE),
}

# Runware is still settling its error codes and says so; the few that are known are matched by their words.
BAD_KEY = re.compile(r"api.?key|unauthori[sz]ed|authenticat", re.IGNORECASE)
NO_CREDIT = re.compile(r"insufficient|credit|balance|billing|payment", re.IGNORECASE)
MODERATED = re.compile(
    r"providerContent|moderat|content.?polic|safety.?(system|filter)|flagged|explicit content|inappropriate",
    re.IGNORECASE,
)
BUSY = re.compile(r"rate.?limit|too.?many|concurren|throttl|overload|capacity", re.IGNORECASE)


class Runware(Vendor):
    """Runware's REST interface."""

    name = "runware"
    title = "Runware"
    base_url = "https://api.runware.ai"
    key_page = "https://my.runware.ai/keys"
    limits = Limits(concurrency=4, per_minute=120)
    polled = False
    submit_seconds = 120.0

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return both models, by the operator's names for them."""
        models = self.access.models
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture."""
        task = _task(shot)
        answer = await transport.submit("/v1", json=[task])
        for item in _listed(answer, "data"):
            if item.get("taskUUID") == shot.client_id and (found := _found(item, task["seed"])) is not None:
                return Done(found=[found], microdollars=microdollars(item.get("cost")))
        raise self.fault(answer) or ProviderBroken(f"{self.title} answered without a picture", provider=self.title)

    async def check(self, transport: Transport) -> str:
        """Ask for the account's details; that costs nothing."""
        task = {"taskType": "accountManagement", "taskUUID": str(uuid4()), "operation": "getDetails"}
        answer = await transport.call("POST", "/v1", json=[task])
        details = next(iter(_listed(answer, "data")), None)
        if details is None:
            raise self.fault(answer) or self.closed("address", "It tells nothing of the account.")
        balance = details.get("balance")
        return "the key is accepted" if balance is None else f"balance ${text_of(balance)}"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``errors``, a list of {code, message, parameter}, which comes with status 200 as well."""
        errors = _listed(answer, "errors")
        if not errors:
            return None
        error = errors[0]
        words = f"{error.get('code')} {error.get('message')}"
        detail = text_of(words)
        if BAD_KEY.search(words):
            return self.closed("key", detail)
        if NO_CREDIT.search(words):
            return self.closed("credit", detail)
        if MODERATED.search(words):
            return Refused(f"{self.title}: {detail}", reason=CENSORED)
        if BUSY.search(words) and answer.status < 500:
            return ProviderBusy(f"{self.title}: {detail}", provider=self.title)
        if answer.status >= 400:
            return None
        kind = RequestRejected if error.get("parameter") else ProviderDown
        return kind(f"{self.title}: {detail}", provider=self.title)


def _task(shot: Shot) -> dict[str, Any]:
    request = shot.request
    task: dict[str, Any] = {
        "taskType": "imageInference",
        "taskUUID": shot.client_id,
        "model": shot.offer.theirs,
        "positivePrompt": request.prompt,
        "width": shot.size[0],
        "height": shot.size[1],
        "steps": request.steps,
        # 1 is the least, say the vendor's SDK documents. 2³¹ − 1 stands for 0: no other picture of the job can have it.
        "seed": shot.seeds[0] or 2**31 - 1,
        "numberResults": 1,
        "outputType": "base64Data",
        "outputFormat": "PNG",
        "checkNSFW": True,
        "includeCost": True,
        "deliveryMethod": "sync",
    }
    if request.guidance is not None:
        task["CFGScale"] = request.guidance
    if shot.picture is not None:
        task["seedImage"] = f"data:image/png;base64,{b64encode(shot.picture).decode()}"
        task["strength"] = request.strength
    return task


def _found(item: Mapping[str, Any], asked: int) -> Found | None:
    told = item.get("seed")
    seed = told if isinstance(told, int) else asked
    # The flag comes with the picture itself: each community decides what becomes of it.
    flagged = item.get("NSFWContent") is True
    if isinstance(data := item.get("imageBase64Data"), str):
        return Found(url=f"data:image/png;base64,{data}", seed=seed, flagged=flagged)
    url = item.get("imageDataURI") or item.get("imageURL")
    if isinstance(url, str):
        return Found(url=url, seed=seed, flagged=flagged)
    return Found(seed=seed, withheld=CENSORED) if flagged else None


def _listed(answer: Answer, name: str) -> list[dict[str, Any]]:
    body = answer.json
    items = body.get(name) if isinstance(body, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
