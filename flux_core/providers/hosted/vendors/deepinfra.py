"""DeepInfra: a model's own inference route answers with data URIs.

Wire format: deepinfra.com (the API pages of FLUX-1-schnell and FLUX-1-dev). That a picture to start from can be given
is not documented for FLUX.1, though a strength is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from flux_core.errors import GenerationFailed, ProviderBroken
from flux_core.offers import Offer, Price, Range, Sizes
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Limits, Outcome, Shot, Vendor, microdollars
from flux_core.providers.hosted.vendors.openai_shapes import complaint, fault_of, in_line, whole

SIZES = Sizes(low=384, high=1024, multiple=64)
"""Sides that every version of the page lists; newer ones may take more (not confirmed)."""
OFFERS: Mapping[str, Offer] = {
    "flux-schnell": Offer(
        theirs="black-forest-labs/FLUX-1-schnell",
        sizes=SIZES,
        steps=Range(low=1, high=50),
        price=Price(megapixel_step=0.0005),
    ),
    "flux-dev": Offer(
        theirs="black-forest-labs/FLUX-1-dev",
        sizes=SIZES,
        steps=Range(low=1, high=50),
        guidance=Range(low=1, high=20),
        price=Price(megapixel_step=0.009 / 25),
    ),
}


class DeepInfra(Vendor):
    """DeepInfra's inference API."""

    name: ClassVar[str] = "deepinfra"
    title: ClassVar[str] = "DeepInfra"
    base_url: ClassVar[str] = "https://api.deepinfra.com"
    key_page: ClassVar[str] = "https://deepinfra.com/dash/api_keys"
    limits: ClassVar[Limits] = Limits(concurrency=16, per_minute=240)
    """200 requests at once are allowed for each model, say its users; far fewer keep a small studio's bill in sight."""
    polled: ClassVar[bool] = False
    submit_seconds: ClassVar[float] = 180.0

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return both models, by the operator's names for them."""
        models = self.access.models
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture."""
        request = shot.request
        body: dict[str, Any] = {
            "prompt": request.prompt,
            "num_images": 1,
            "num_inference_steps": request.steps,
            "width": shot.size[0],
            "height": shot.size[1],
            "seed": shot.seeds[0],
        }
        if request.guidance is not None:
            body["guidance_scale"] = request.guidance
        answer = await transport.submit(f"/v1/inference/{shot.offer.theirs}", json=body)
        told = answer.json
        if not isinstance(told, dict):
            raise self._broken("answered with no JSON")
        status = told.get("inference_status")
        # The page's own example says 0.0 beside "status": "unknown".
        cost = status.get("cost") if isinstance(status, dict) else None
        return Done(found=[self._found(told, answer)], microdollars=microdollars(cost))

    def _found(self, told: Mapping[str, Any], answer: Answer) -> Found:
        seed = whole(told.get("seed"))
        flags, images = told.get("nsfw_content_detected"), told.get("images")
        if isinstance(flags, list) and flags and flags[0] is True:
            return Found(seed=seed, withheld=CENSORED)
        image = images[0] if isinstance(images, list) and images else None
        if not isinstance(image, str) or not image:
            raise self.fault(answer) or self._broken("answered without a picture")
        return Found(url=image if image.startswith("http") else in_line(image), seed=seed)

    async def check(self, transport: Transport) -> str:
        """Ask for the account; its balance is negative while there is money to spend (so its users found)."""
        answer = await transport.call("GET", "/v1/me", params={"checklist": "true"})
        told = answer.json
        if not isinstance(told, dict):
            raise self.closed("address", "It tells nothing of the account.")
        checklist = told.get("checklist")
        owed = checklist.get("stripe_balance") if isinstance(checklist, dict) else None
        return f"balance ${-owed:.2f}" if isinstance(owed, int | float) else "the key is accepted"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``detail``, with ``error`` in it or plain, or OpenAI's ``error``."""
        return fault_of(self.title, answer, complaint(answer))

    def _broken(self, what: str) -> ProviderBroken:
        return ProviderBroken(f"{self.title} {what}", provider=self.title)
