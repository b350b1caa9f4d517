"""AI/ML API: one route for models of many makers, answered in three shapes.

Wire format: the vendor's documents and OpenAPI files (github.com/aimlapi/api-docs) and its older page of flux/dev. The
newest files know one shape of answer; the examples beside them, and the older page, show two more. All are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

from flux_core.errors import GenerationFailed, ProviderBroken, ProviderDown, RequestRejected
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Limits, Outcome, Shot, Vendor
from flux_core.providers.hosted.vendors import kontext
from flux_core.providers.hosted.vendors.openai_shapes import complaint, fault_of, in_line, listed, picture, whole

PROMPT_LIMIT = 4000
STEPS = Range(low=1, high=50)
GUIDANCE = Range(low=1, high=20)
KONTEXT_ASPECTS = ("21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")

# The vendor publishes no prices with its documents: these are fal.ai's, whose parameters and answers it passes on,
# and a third (not confirmed). Pictures come as links only: whether a data URI is taken for a URI is not documented.
OFFERS: Mapping[str, Offer] = {
    "flux-dev": Offer(
        theirs="flux/dev",
        sizes=Sizes(low=512, high=1536, multiple=32),
        steps=STEPS,
        guidance=GUIDANCE,
        price=Price(megapixel=0.033),
        image_input=ImageInput.LINK,
        prompt_limit=PROMPT_LIMIT,
    ),
    "flux-schnell": Offer(
        theirs="flux/schnell",
        sizes=Sizes(low=64, high=1536, multiple=32),
        steps=Range(low=1, high=12),
        price=Price(megapixel=0.004),
        prompt_limit=PROMPT_LIMIT,
    ),
    "flux-pro-1.1": Offer(
        theirs="flux-pro/v1.1",
        sizes=Sizes(low=256, high=1440, multiple=32),
        price=Price(megapixel=0.053, round_up=True),
        prompt_limit=PROMPT_LIMIT,
    ),
    "flux-kontext-pro": Offer(
        theirs="flux/kontext-pro",
        sizes=kontext.sizes_of(KONTEXT_ASPECTS),
        price=Price(picture=0.053),
        image_input=ImageInput.LINK,
        prompt_limit=PROMPT_LIMIT,
    ),
    "flux-2-pro": Offer(
        theirs="blackforestlabs/flux-2-pro",
        sizes=Sizes(low=512, high=2048, multiple=32),
        price=Price(megapixel=0.04, round_up=True),
        image_input=ImageInput.LINK,
        picture_price=Price(megapixel=0.08, round_up=True),  # the picture's own megapixels count as well
        prompt_limit=PROMPT_LIMIT,
    ),
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How one model is asked."""

    from_words: str = ""
    """What follows its name when it draws from words."""
    from_picture: str = ""
    """The same when it starts from a picture."""
    named_aspect: bool = False
    """Whether it takes an aspect's name, not a size."""
    follows_picture: bool = False
    """Whether a drawing from a picture has that one's size and takes none."""
    steps: bool = False
    formats: bool = False
    """Whether a file format can be chosen."""
    pictures: str = "image_url"
    """The field for pictures; one that ends in "s" takes a list."""


MANNERS: Mapping[str, Manner] = {
    "flux-dev": Manner(from_picture="/image-to-image", follows_picture=True, steps=True),
    "flux-schnell": Manner(steps=True),
    "flux-pro-1.1": Manner(formats=True),
    "flux-kontext-pro": Manner("/text-to-image", "/image-to-image", named_aspect=True, formats=True),
    "flux-2-pro": Manner(from_picture="-edit", formats=True, pictures="image_urls"),
}
TIMED_OUT = re.compile(r"generation timed? ?out", re.IGNORECASE)


class AimlApi(Vendor):
    """AI/ML API's image route."""

    name: ClassVar[str] = "aimlapi"
    title: ClassVar[str] = "AI/ML API"
    base_url: ClassVar[str] = "https://api.aimlapi.com"
    key_page: ClassVar[str] = "https://aimlapi.com/app/keys"
    limits: ClassVar[Limits] = Limits(concurrency=4, per_minute=60)
    """It publishes none."""
    polled: ClassVar[bool] = False
    submit_seconds: ClassVar[float] = 240.0

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return the models, by the operator's names for them: the stem, where words and pictures have one each."""
        models = self.access.models
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture."""
        body = await self._body(shot)
        answer = await transport.submit("/v1/images/generations", json=body)
        found = _found(answer.json, body["seed"])
        if not found:
            raise self.fault(answer) or ProviderBroken(f"{self.title} answered without a picture", provider=self.title)
        return Done(found=found[:1])

    async def _body(self, shot: Shot) -> dict[str, Any]:
        request, manner = shot.request, MANNERS[shot.request.model]
        suffix = manner.from_words if shot.picture is None else manner.from_picture
        body: dict[str, Any] = {
            "model": shot.offer.theirs + suffix,
            "prompt": request.prompt,
            # 1 is the least. 2³¹ − 1 stands for 0: no other picture of the same job can have it.
            "seed": shot.seeds[0] or 2**31 - 1,
        }
        if manner.named_aspect:
            body["aspect_ratio"] = kontext.word_of(shot.size)
        elif shot.picture is None or not manner.follows_picture:
            body["image_size"] = {"width": shot.size[0], "height": shot.size[1]}
        if manner.steps:
            body |= {"num_inference_steps": request.steps, "enable_safety_checker": True}
        if manner.formats:
            body["output_format"] = "png"
        if request.guidance is not None:
            body["guidance_scale"] = request.guidance
        if shot.picture is not None:
            if shot.link is None:
                raise RequestRejected(f"{self.title} takes pictures as links only", provider=self.title)
            link = await shot.link()
            body[manner.pictures] = [link] if manner.pictures.endswith("s") else link
            if request.strength is not None:
                body["strength"] = request.strength
        return body

    async def check(self, transport: Transport) -> str:
        """Ask for the balance."""
        answer = await transport.call("GET", "/v2/billing")
        balance = answer.json.get("current_balance") if isinstance(answer.json, dict) else None
        if not isinstance(balance, int | float):
            raise self.closed("address", "It tells no balance.")
        return f"balance ${balance:.2f}"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``message``. An empty account is status 403 here, as a wrong key may be.

        504 is the vendor's own word when a drawing took too long, and it charges nothing for what failed (its page of
        the account's ledger); a 504 in other words may be anybody's.
        """
        said = complaint(answer)
        if answer.status == 504 and TIMED_OUT.search(said.text):
            return ProviderDown(f"{self.title}: {said.text}", provider=self.title)
        return fault_of(self.title, answer, said)


def _found(body: Any, asked: int) -> list[Found]:
    """Read pictures from "images", "data" or "output.choices", in this order; ``asked`` is the seed that was sent."""
    if not isinstance(body, dict):
        return []
    flags = body.get("has_nsfw_concepts")
    flags = flags if isinstance(flags, list) else []
    told = whole(body.get("seed"))
    seed = asked if told is None else told
    items = [*listed(body, "images"), *listed(body, "data")]
    pictures = [picture(item, seed) for item in items]
    for choice in listed(body.get("output"), "choices"):
        data = choice.get("image_base64")
        pictures.append(Found(url=in_line(data), seed=seed) if isinstance(data, str) and data else None)
    found: list[Found] = []
    for one, flag in zip_longest(pictures, flags):
        if flag is True:
            found.append(Found(seed=seed, withheld=CENSORED))
        elif one is not None:
            found.append(one)
    return found
