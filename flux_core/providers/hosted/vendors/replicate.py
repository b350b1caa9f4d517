"""Replicate: predictions of official models, submitted and polled.

Wire format after replicate.com's HTTP reference, the models' schema pages, its Python client and cog-flux. The form of
``invalid_fields`` for a model's own fields is quoted by several projects only.
"""

from __future__ import annotations

import base64
import re
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
from flux_core.models import ASPECTS
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Limits, Outcome, Pending, Shot, Vendor, text_of
from flux_core.providers.hosted.vendors import kontext
from flux_core.providers.hosted.vendors.aspects import SIZES

INLINE_BYTES = 256_000
"""Longest data URI that Replicate recommends, in characters; a larger picture is uploaded first."""

WHOLES = {size: word for word, size in SIZES.items()}
QUARTERS = {(width // 2, height // 2): word for word, (width, height) in SIZES.items()}
"""Pixels → aspect at "1" and at "0.25" megapixels, after cog-flux."""

WORD_SIZES = Sizes(listed=(*WHOLES, *QUARTERS))

OFFERS: Mapping[str, Offer] = {
    # Prices per picture: replicate.com/pricing. What is marked was not found there.
    "flux-schnell": Offer(
        theirs="black-forest-labs/flux-schnell",
        sizes=WORD_SIZES,
        steps=Range(low=1, high=4),
        price=Price(picture=0.003),
    ),
    "flux-dev": Offer(
        theirs="black-forest-labs/flux-dev",
        sizes=WORD_SIZES,
        steps=Range(low=1, high=50),
        guidance=Range(low=0, high=10),
        price=Price(picture=0.025),
        image_input=ImageInput.UPLOAD,
        picture_sizes=Sizes(low=256, high=1440, multiple=32),  # the picture's own size, scaled down beyond 1440
    ),
    "flux-pro-1.1": Offer(
        theirs="black-forest-labs/flux-1.1-pro",
        sizes=Sizes(low=256, high=1440, multiple=32),
        price=Price(picture=0.04),
    ),
    "flux-kontext-pro": Offer(
        theirs="black-forest-labs/flux-kontext-pro",
        sizes=kontext.sizes_of(ASPECTS),
        price=Price(picture=0.04),  # as at Black Forest Labs; not confirmed here
        image_input=ImageInput.UPLOAD,
        picture_sizes=kontext.TRAINED,
    ),
    "flux-2-pro": Offer(
        theirs="black-forest-labs/flux-2-pro",
        sizes=Sizes(low=256, high=2048, multiple=32),
        price=Price(picture=0.015, megapixel=0.015, round_up=True),  # as at Black Forest Labs; not confirmed here
        image_input=ImageInput.UPLOAD,
        picture_price=Price(picture=0.015, megapixel=0.03, round_up=True),
    ),
}

# An error of a prediction is a sentence for people, sometimes with a code. E005 is what models that call Black Forest
# Labs answer with after moderation; that is from users' reports, not from a documented list.
MODERATED = re.compile(
    r"nsfw|e005\b|flagged|moderat|safety (filter|checker)|content policy|inappropriate", re.IGNORECASE
)
SEED = re.compile(r"[Uu]sing seed:? (\d+)")
PERCENT = re.compile(r"(\d{1,3})%\|")


class Replicate(Vendor):
    """FLUX's official models at Replicate."""

    name: ClassVar[str] = "replicate"
    title: ClassVar[str] = "Replicate"
    base_url: ClassVar[str] = "https://api.replicate.com"
    key_page: ClassVar[str] = "https://replicate.com/account/api-tokens"
    limits: ClassVar[Limits] = Limits(concurrency=60, per_minute=600)
    """600 predictions a minute are documented; that many of six seconds each are 60 at once."""
    polled: ClassVar[bool] = True

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what it draws."""
        theirs = self.access.models
        return {id: offer.model_copy(update={"theirs": theirs.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Order one picture, after uploading the one it starts from where that is large."""
        order = _order(shot)
        if shot.picture is not None:
            given = await self._given(shot.picture, transport)
            field = {"flux-dev": "image", "flux-kontext-pro": "input_image"}.get(shot.request.model, "input_images")
            order[field] = [given] if field == "input_images" else given
        answer = await transport.submit(f"/v1/models/{shot.offer.theirs}/predictions", json={"input": order})
        id = answer.json.get("id") if isinstance(answer.json, dict) else None
        if not isinstance(id, str) or not id:
            raise OutcomeUnknown(f"{self.title} took the order but named no prediction: {text_of(answer.body[:200])}")
        return Pending(ticket=id)

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Look at a prediction."""
        answer = await transport.call("GET", f"/v1/predictions/{quote(ticket, safe='')}")
        told = answer.json
        if not isinstance(told, dict) or not isinstance(status := told.get("status"), str):
            raise ProviderBroken(f"{self.title}'s prediction has no status", provider=self.title)
        logs = str(told.get("logs") or "")
        if status == "succeeded":
            return self._done(told, logs)
        if status == "failed":
            raise self._failure(text_of(told.get("error") or "no reason given"))
        if status in ("canceled", "aborted"):
            raise ProviderBroken(f"{self.title}'s prediction was {status} there", provider=self.title)
        # "starting" and "processing"; one that is not known yet is waited out as well, as the prediction is paid for.
        percents = PERCENT.findall(logs)
        return Pending(progress=min(int(percents[-1]), 100) / 100 if percents else None)

    async def cancel(self, ticket: str, transport: Transport) -> None:
        """Stop a prediction."""
        await transport.call("POST", f"/v1/predictions/{quote(ticket, safe='')}/cancel")

    async def check(self, transport: Transport) -> str:
        """Ask whose key it is."""
        answer = await transport.call("GET", "/v1/account")
        name = answer.json.get("username") if isinstance(answer.json, dict) else None
        if not isinstance(name, str):
            raise self.closed("address", "It names no account.")
        return f"account {text_of(name)}"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read which fields are invalid; the rest is what its status says."""
        told = answer.json
        if not isinstance(told, dict):
            return None
        if answer.status == 404 and told.get("detail"):
            return faults.missing(self.title, text_of(told["detail"]), submitting=answer.paid)
        if answer.status != 422:
            return None
        fields = told.get("invalid_fields")
        if isinstance(fields, list) and fields:
            wrong = "; ".join(_field(entry) for entry in fields)
        else:
            wrong = f"{told.get('title', '')}: {told.get('detail', '')}"
        if MODERATED.search(wrong):
            return Refused(f"{self.title}: {text_of(wrong)}", reason=CENSORED)
        return RequestRejected(f"{self.title} rejects {text_of(wrong)}", provider=self.title)

    async def _given(self, picture: bytes, transport: Transport) -> str:
        """Return the data URI of a small picture, or the URL of a large one after its upload."""
        inline = "data:image/png;base64," + base64.b64encode(picture).decode()
        if len(inline) <= INLINE_BYTES:
            return inline
        answer = await transport.call("POST", "/v1/files", files={"content": ("picture.png", picture, "image/png")})
        urls = answer.json.get("urls") if isinstance(answer.json, dict) else None
        url = urls.get("get") if isinstance(urls, dict) else None
        if not isinstance(url, str):
            raise ProviderBroken(f"{self.title} gave no URL for an upload", provider=self.title)
        return url

    def _done(self, told: dict[str, Any], logs: str) -> Done:
        output = told.get("output")
        urls = [output] if isinstance(output, str) else output if isinstance(output, list) else []
        if not urls and told.get("data_removed"):
            raise ProviderBroken(f"{self.title} has deleted the picture already", provider=self.title)
        seed = SEED.search(logs)
        found = [Found(url=url, seed=int(seed[1]) if seed else None) for url in urls if isinstance(url, str)]
        # Flagged pictures are left out of the list without a word.
        return Done(found=found or [Found(withheld=CENSORED)])

    def _failure(self, error: str) -> GenerationFailed:
        line = f"{self.title} failed to draw: {error}"
        if MODERATED.search(error):
            return Refused(line, reason=CENSORED)
        return ProviderDown(line, provider=self.title)


def _order(shot: Shot) -> dict[str, Any]:
    request, model, (width, height) = shot.request, shot.request.model, shot.size
    # PNG, as the picture is encoded once more for the member: losses do not add up.
    order: dict[str, Any] = {"prompt": request.prompt, "seed": shot.seeds[0], "output_format": "png"}
    if model in ("flux-schnell", "flux-dev"):
        # Not go_fast: with it a seed gives another picture the next time.
        order |= {"num_outputs": 1, "num_inference_steps": request.steps, "go_fast": False}
        if model == "flux-dev" and request.guidance is not None:
            order["guidance"] = request.guidance
        if shot.picture is not None:
            order["prompt_strength"] = request.strength
        else:
            aspect = WHOLES.get(shot.size) or QUARTERS[shot.size]
            order |= {"aspect_ratio": aspect, "megapixels": "1" if shot.size in WHOLES else "0.25"}
    elif model == "flux-kontext-pro":
        order["aspect_ratio"] = "match_input_image" if shot.picture is not None else kontext.word_of(shot.size)
    else:
        order |= {"aspect_ratio": "custom", "width": width, "height": height}
    return order


def _field(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    return f"{str(entry.get('field', '')).removeprefix('input.')}: {entry.get('description', '')}"
