"""Cloudflare Workers AI: FLUX.1 [schnell], one size, answered with base64.

Wire format: developers.cloudflare.com/workers-ai, the model's page and the page of errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from flux_core.errors import ConfigurationError, GenerationFailed, ProviderBroken, Refused, RequestRejected
from flux_core.offers import Offer, Price, Range, Sizes
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Access, Done, Found, Limits, Outcome, Shot, Vendor, text_of

OFFERS: Mapping[str, Offer] = {
    "flux-schnell": Offer(
        theirs="@cf/black-forest-labs/flux-1-schnell",
        # The model takes no size; that it draws 1024 × 1024 is what its users see, the page does not say so.
        sizes=Sizes(listed=((1024, 1024),)),
        steps=Range(low=1, high=8),
        # $0.000053 for each of four tiles of 512 × 512, $0.00011 for each step.
        price=Price(picture=4 * 0.000053, megapixel_step=0.00011),
        prompt_limit=2048,
    )
}

BAD_KEY = frozenset({6003, 6111, 9109, 10000})
"""Cloudflare's API codes for a token that is malformed, invalid or lacks the permission; they come with 400, too."""
BAD_ADDRESS = frozenset({7000, 7003})
"""The API's codes for a path it does not know, which is what a wrong account id makes of ours."""
NEURONS_SPENT = 3036
"""The day's free allocation is used up. It comes with 429, like "out of capacity" (3040), which passes by itself."""


class Cloudflare(Vendor):
    """Workers AI over Cloudflare's REST API."""

    name = "cloudflare"
    title = "Cloudflare Workers AI"
    base_url = "https://api.cloudflare.com/client/v4"
    key_page = "https://dash.cloudflare.com/profile/api-tokens"
    extra_settings: ClassVar[Mapping[str, str]] = {
        "account_id": "Id of the Cloudflare account that pays: 32 letters and digits. Required."
    }
    required_settings = ("account_id",)
    limits = Limits(concurrency=8, per_minute=720)
    polled = False

    def __init__(self, access: Access) -> None:
        """Raise ConfigurationError where the account's id is missing or is none."""
        super().__init__(access)
        if not re.fullmatch(r"[\w-]+", access.extra.get("account_id", "")):
            raise ConfigurationError("CLOUDFLARE_ACCOUNT_ID must be the id of your Cloudflare account.")

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return the one model, by the operator's name for it."""
        models = self.access.models
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in OFFERS.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture."""
        body = {"prompt": shot.request.prompt, "steps": shot.request.steps, "seed": shot.seeds[0]}
        path = f"/accounts/{self.access.extra['account_id']}/ai/run/{shot.offer.theirs}"
        answer = await transport.submit(path, json=body)
        result = _member(answer, "result")
        image = result.get("image") if isinstance(result, dict) else None
        if not isinstance(image, str) or not image:
            raise self.fault(answer) or ProviderBroken(f"{self.title} answered without a picture", provider=self.title)
        return Done(found=[Found(url=f"data:image/jpeg;base64,{image}")])

    async def check(self, transport: Transport) -> str:
        """Verify the token; that costs nothing."""
        answer = await transport.call("GET", "/user/tokens/verify")
        if answer.json is None:
            raise self.closed("address", "It answered with no JSON.")
        result = _member(answer, "result")
        status = result.get("status") if isinstance(result, dict) else None
        if status != "active":
            raise self.fault(answer) or self.closed("key", f"The token is {text_of(status)}.")
        return "the token is active"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``errors``, a list of {code, message}."""
        errors = _member(answer, "errors")
        found = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
        if not found:
            return None
        codes = {error.get("code") for error in found}
        detail = text_of("; ".join(f"{error.get('code')} {error.get('message')}" for error in found))
        if codes & BAD_KEY:
            return self.closed("key", detail)
        if codes & BAD_ADDRESS:
            return self.closed("address", f"{detail}. Check CLOUDFLARE_ACCOUNT_ID, too.")
        if NEURONS_SPENT in codes:
            return self.closed("credit", detail)
        # Code 3030 with these words, seen by users of the model; the page of errors does not list it.
        if "nsfw" in detail.lower():
            return Refused(f"{self.title}: {detail}", reason=CENSORED)
        return RequestRejected(f"{self.title}: {detail}", provider=self.title) if answer.status < 400 else None


def _member(answer: Answer, name: str) -> Any:
    body = answer.json
    return body.get(name) if isinstance(body, dict) else None
