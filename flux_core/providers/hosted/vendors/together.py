"""Together AI: OpenAI's route with fields of its own, pictures as base64.

Wire format: docs.together.ai (image generation: parameters, reference images, errors), the vendor's OpenAPI document
and its SDK (``together`` 3.1.1). No seed comes back. A refusal is status 422, the vendor says; its body is not
documented, nor whether 422 says other things too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from flux_core.errors import GenerationFailed, ProviderBroken, Refused, RequestRejected
from flux_core.generation import RATIO_TOLERANCE
from flux_core.models import ASPECTS, MEGAPIXEL
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Limits, Outcome, Shot, Vendor
from flux_core.providers.hosted.vendors import kontext
from flux_core.providers.hosted.vendors.openai_shapes import MODERATED, complaint, fault_of, listed, picture

SIZES = Sizes(low=256, high=1440, multiple=16)
"""Multiples of 8 are documented, bounds are not; these are the models' makers' own."""
PRO_SIZES = Sizes(low=256, high=1440, multiple=32)
"""Of the model that its makers draw themselves: their multiple counts, too."""
STEPS = Range(low=1, high=50)
# Prices are those of third parties and of the models' makers (not confirmed); an answer tells none.
OFFERS: Mapping[str, Offer] = {
    "flux-schnell": Offer(
        theirs="black-forest-labs/FLUX.1-schnell", sizes=SIZES, steps=STEPS, price=Price(megapixel_step=0.0027 / 4)
    ),
    "flux-pro-1.1": Offer(theirs="black-forest-labs/FLUX.1.1-pro", sizes=PRO_SIZES, price=Price(megapixel=0.04)),
    "flux-kontext-pro": Offer(
        theirs="black-forest-labs/FLUX.1-kontext-pro",
        sizes=kontext.sizes_of(ASPECTS),
        price=Price(megapixel=0.04),
        image_input=ImageInput.LINK,
    ),
    "flux-2-pro": Offer(
        theirs="black-forest-labs/FLUX.2-pro",
        sizes=Sizes(low=256, high=2048, multiple=16, most_pixels=4 * MEGAPIXEL),
        price=Price(megapixel=0.03, round_up=True),
        image_input=ImageInput.LINK,
    ),
}
ON_DEMAND: Mapping[str, Offer] = {
    "flux-dev": Offer(
        theirs="black-forest-labs/FLUX.1-dev",
        sizes=SIZES,
        steps=STEPS,
        guidance=Range(low=1, high=20),
        price=Price(megapixel_step=0.025 / 28),
    ),
}
"""No longer among the models that everybody may call: drawn where the operator names an endpoint for it."""
NAMES_ASPECT = frozenset({"flux-schnell", "flux-kontext-pro"})
"""Take their size from ``aspect_ratio``, says the newer documentation; older pages and the SDK give width and height.
Both are sent, and they say the same."""
HAS_STEPS = frozenset({"flux-schnell", "flux-dev"})

WRONG_FIELD = re.compile(
    r"must be|should be|expected|required|validation|out of range|(in|not a )valid (value|type|number|integer|string)|"
    r"greater than|less than|multiple of|extra (fields|inputs)|unrecogni[sz]ed",
    re.IGNORECASE,
)
WRONG_KEY = re.compile(r"key|token|auth|permission|forbidden", re.IGNORECASE)


class Together(Vendor):
    """Together AI's image route."""

    name: ClassVar[str] = "together"
    title: ClassVar[str] = "Together AI"
    base_url: ClassVar[str] = "https://api.together.ai"
    key_page: ClassVar[str] = "https://api.together.ai/settings/api-keys"
    limits: ClassVar[Limits] = Limits(concurrency=4, per_minute=60)
    """Its limits move with the load and the account; the header of a 429 tells more."""
    polled: ClassVar[bool] = False
    submit_seconds: ClassVar[float] = 180.0

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return the models, by the operator's names for them."""
        models = self.access.models
        table = {**OFFERS, **{id: offer for id, offer in ON_DEMAND.items() if id in models}}
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in table.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture."""
        request = shot.request
        body: dict[str, Any] = {
            "model": shot.offer.theirs,
            "prompt": request.prompt,
            "width": shot.size[0],
            "height": shot.size[1],
            "n": 1,
            "seed": shot.seeds[0],
            "response_format": "base64",
            "output_format": "png",
        }
        if request.model in NAMES_ASPECT and (word := _aspect(shot.size)) is not None:
            body["aspect_ratio"] = word
        if request.model in HAS_STEPS:
            body["steps"] = request.steps
        if request.guidance is not None:
            body["guidance_scale"] = request.guidance
        if shot.picture is not None:
            if shot.link is None:
                raise RequestRejected(f"{self.title} takes pictures as links only", provider=self.title)
            link = await shot.link()
            body |= {"image_url": link} if request.model == "flux-kontext-pro" else {"reference_images": [link]}
        answer = await transport.submit("/v1/images/generations", json=body)
        found = [one for item in listed(answer.json, "data") if (one := picture(item)) is not None]
        if not found:
            raise self.fault(answer) or ProviderBroken(f"{self.title} answered without a picture", provider=self.title)
        return Done(found=found[:1])

    async def check(self, transport: Transport) -> str:
        """List the models; that costs nothing."""
        answer = await transport.call("GET", "/v1/models")
        models = answer.json if isinstance(answer.json, list) else listed(answer.json, "data")
        if not models:
            raise self.closed("address", "It lists no models.")
        return f"the key is accepted; {len(models)} models"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``error``. A 422 is a refusal, unless its words are about a field of the request."""
        said = complaint(answer)
        line = f"{self.title} answered {answer.status}: {said.text}"
        if answer.status == 422 and answer.json is not None:
            about_field = said.field not in (None, "prompt") or WRONG_FIELD.search(said.text) is not None
            if about_field and not MODERATED.search(said.text):
                return RequestRejected(line, provider=self.title)
            return Refused(line, reason=CENSORED)
        found = fault_of(self.title, answer, said)
        if answer.status == 403 and said.text and not isinstance(found, Refused) and not WRONG_KEY.search(said.text):
            # The vendor's list of codes gives 403 to requests that are too long, and 402 to an empty account.
            return RequestRejected(line, provider=self.title)
        return found


def _aspect(size: tuple[int, int]) -> str | None:
    ratio = size[0] / size[1]
    word = min(ASPECTS, key=lambda word: abs(ASPECTS[word] / ratio - 1))
    return word if abs(ASPECTS[word] / ratio - 1) <= RATIO_TOLERANCE else None
