"""The format of OctoAI's image generation, which servers of one's own may go on speaking.

Wire format: OctoAI's Python SDK (``octoai`` 1.11.0, image_gen) and the vendor's document of FLUX.1 [schnell]. OctoAI
itself was closed on 31 October 2024, say projects that used it; so there is no public address, and no call that checks
an account.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, ClassVar

from flux_core.errors import GenerationFailed, ProviderBroken
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Limits, Outcome, Shot, Vendor
from flux_core.providers.hosted.vendors.openai_shapes import complaint, fault_of, in_line, listed, whole

# The SDK's list of resolutions for FLUX. The vendor's document speaks of one megapixel, which 512×512 contradicts.
SIZES = Sizes(
    listed=(
        (512, 512),
        (576, 1024),
        (640, 1536),
        (768, 1024),
        (768, 1344),
        (832, 1216),
        (896, 1152),
        (1024, 576),
        (1024, 768),
        (1024, 1024),
        (1152, 896),
        (1216, 832),
        (1344, 768),
        (1536, 640),
    )
)
PRICE = Price(megapixel_step=0.0005)
"""OctoAI's last: $0.002 for schnell's four steps at one megapixel. Dev's is not known; the same is taken for a step."""
GUIDANCE = Range(low=0.01, high=50)
OFFERS: Mapping[str, Offer] = {
    "flux-schnell": Offer(
        theirs="flux-schnell",
        sizes=SIZES,
        steps=Range(low=1, high=200),
        guidance=GUIDANCE,
        price=PRICE,
        prompt_limit=10_000,
    ),
    "flux-dev": Offer(
        theirs="flux-dev",
        sizes=SIZES,
        steps=Range(low=1, high=200),
        guidance=GUIDANCE,
        price=PRICE,
        image_input=ImageInput.INLINE,
        prompt_limit=10_000,
    ),
}
LAST_SEED = 2**32 - 1


class OctoAi(Vendor):
    """A server that speaks OctoAI's format."""

    name: ClassVar[str] = "octoai"
    title: ClassVar[str] = "OctoAI"
    base_url: ClassVar[str] = ""
    needs_key: ClassVar[bool] = False
    limits: ClassVar[Limits] = Limits(concurrency=4, per_minute=60)
    """60 a minute was OctoAI's limit for paying customers."""
    polled: ClassVar[bool] = False
    submit_seconds: ClassVar[float] = 300.0
    pictures_per_shot: ClassVar[int] = 16

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return both models. Only who asks for a key can ask for money."""
        models, free = self.access.models, self.access.key is None
        return {
            id: offer.model_copy(
                update={"theirs": models.get(id, offer.theirs), "price": None if free else offer.price}
            )
            for id, offer in OFFERS.items()
        }

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw all pictures of a shot in one request, each with its own seed."""
        request = shot.request
        seeds = [allowed_seed(seed) for seed in shot.seeds]
        body: dict[str, Any] = {
            "prompt": request.prompt,
            "width": shot.size[0],
            "height": shot.size[1],
            "steps": request.steps,
            "num_images": len(seeds),
            "seed": seeds,
            "image_encoding": "png",
        }
        if request.guidance is not None:
            body["cfg_scale"] = request.guidance
        if shot.picture is not None:
            body["init_image"] = b64encode(shot.picture).decode()
            body["strength"] = request.strength
        answer = await transport.submit(
            f"/generate/{shot.offer.theirs}", json=body, headers={"Accept": "application/json"}
        )
        images = listed(answer.json, "images")
        found = [_found(image, seed) for image, seed in zip(images, seeds, strict=False)]
        if not found:
            raise self.fault(answer) or ProviderBroken(f"{self.title} answered without pictures", provider=self.title)
        return Done(found=found)

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read FastAPI's ``detail``."""
        return fault_of(self.title, answer, complaint(answer))


def allowed_seed(seed: int) -> int:
    """Return a seed from 1 to 2³² − 1, all that the format takes: 0 becomes the last one, and 2³² goes on at 1.

    The pictures of one request keep seeds of their own, and a member reads the one that was really used.
    """
    return (seed - 1) % LAST_SEED + 1


def _found(image: Mapping[str, Any], asked: int) -> Found:
    told = whole(image.get("seed"))
    seed = asked if told is None else told
    data = image.get("image_b64")
    if image.get("removed_for_safety") or not isinstance(data, str) or not data:
        return Found(seed=seed, withheld=CENSORED)
    return Found(url=in_line(data), seed=seed)
