"""AI Horde: volunteers' cards, paid in kudos instead of money.

Wire format: the server's source (Haidra-Org/AI-Horde, API v2). It lives by what people share: who has no kudos waits
longer, larger pictures may then need kudos up front, and what is drawn without an account is shared publicly. That its
FLUX workers start from pictures is not confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar
from urllib.parse import quote

from PIL import Image

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.family import FLUX_SCHNELL
from flux_core.models import MEGAPIXEL
from flux_core.offers import ImageInput, Offer, Sizes
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Limits, Outcome, Pending, Shot, Vendor, text_of

ANONYMOUS = "0000000000"
MODELS: Mapping[str, str] = {FLUX_SCHNELL.id: "Flux.1-Schnell fp8 (Compact)"}
MULTIPLE = 64
LARGEST_SIDE = 3072
SOURCE_QUALITY = 95

REFUSALS = frozenset({"CorruptPrompt", "Profanity"})
"""What the Horde calls its refusals of a prompt (``rc``; its list of return codes)."""
NO_KUDOS = frozenset({"SharedKeyEmpty", "SharedKeyInsufficientKudos"})
TOO_MUCH = frozenset({"KudosUpfront"})
"""Asked for more than this account may have without kudos, at the present load: another request may well be taken."""
BAD_KEY = frozenset({"InvalidAPIKey", "SharedKeyExpired", "AnonForbidden", "UserNotFound"})
NOT_NOW = frozenset({"NoValidWorkers", "MaintenanceMode", "TimeoutIP", "Locked"})
"""Passes, but in minutes rather than seconds: no use in asking again at once."""


class AiHorde(Vendor):
    """The Horde's image requests. Without a key it draws anonymously, as whoever comes last."""

    name = "aihorde"
    title = "AI Horde"
    base_url = "https://aihorde.net/api/v2"
    needs_key = False
    key_page = "https://aihorde.net/register"
    extra_settings: ClassVar[Mapping[str, str]] = {
        "contact": "Where the Horde's people reach you when this bot causes trouble: a link or an address."
    }
    # One request a picture: of several in one request it does not say which seed belongs to which until they are done.
    # Submits are limited to 90 a minute and 2 a second for each address.
    limits = Limits(concurrency=4, per_minute=60)
    polled = True
    poll_every = (1.0, 5.0)

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what volunteers draw, by the operator's names for it; other models only if the operator names them.

        Without an account at most one megapixel: more needs kudos up front.
        """
        sizes = Sizes(
            low=MULTIPLE,
            high=LARGEST_SIDE,
            multiple=MULTIPLE,
            most_pixels=MEGAPIXEL if self._anonymous else None,
        )
        return {
            id: Offer(theirs=theirs, sizes=sizes, image_input=ImageInput.INLINE)
            for id, theirs in {**MODELS, **self.access.models}.items()
        }

    def headers(self) -> dict[str, str]:
        """Return the key, or that of everybody, and who asks: name, version and contact."""
        contact = "".join(c for c in self.access.extra.get("contact", "") if c.isascii() and c.isprintable())
        agent = f"flux-bot:{_version()}:{contact.strip() or 'unknown'}"
        return {"apikey": self.access.key or ANONYMOUS, "Client-Agent": agent}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Ask for one picture."""
        request = shot.request
        width, height = shot.size
        params: dict[str, Any] = {
            "n": 1,
            "width": width,
            "height": height,
            "steps": request.steps,
            # FLUX is distilled: Horde's workers read the guidance of such a model from here (not confirmed for dev).
            "cfg_scale": 1.0 if request.guidance is None else request.guidance,
            "sampler_name": "k_euler",
            "karras": False,
            "seed": str(shot.seeds[0]),
        }
        order: dict[str, Any] = {
            # Three of these signs begin what shall not be seen, and would cut the prompt off.
            "prompt": re.sub("#{3,}", "##", request.prompt),
            "params": params,
            "models": [shot.offer.theirs],
            "nsfw": False,
            "censor_nsfw": True,
            # Otherwise words that it dislikes are replaced, and the member gets another picture than was asked for.
            "replacement_filter": False,
            "shared": False,
            "r2": True,
            "trusted_workers": False,
            "slow_workers": True,
        }
        if shot.picture is not None:
            order["source_image"] = await asyncio.to_thread(_webp, shot.picture)
            order["source_processing"] = "img2img"
            params["denoising_strength"] = 1.0 if request.strength is None else request.strength
        answer = await transport.submit("/generate/async", json=order)
        match answer.json:
            case {"id": str(ticket)} if ticket:
                return Pending(ticket=ticket)
            case _:
                raise OutcomeUnknown(f"{self.title} took a request without saying under which id")

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Ask how it stands; once it is done, ask for the picture, which may be asked for ten times a minute only."""
        told = await self._ask(f"/generate/check/{quote(ticket, safe='')}", transport)
        if told.get("faulted") is True:
            raise ProviderBroken(f"{self.title}: the volunteers' cards failed at it", provider=self.title)
        if told.get("done") is True:
            status = await self._ask(f"/generate/status/{quote(ticket, safe='')}", transport)
            return Done(found=self._found(status.get("generations")))
        if told.get("is_possible") is False:
            # It would wait for ten minutes, and may still be drawn meanwhile: for kudos, and for nobody.
            with contextlib.suppress(GenerationFailed):
                await self.cancel(ticket, transport)
            raise ProviderBroken(f"{self.title}: no volunteer's card takes this request now", provider=self.title)
        drawing = isinstance(processing := told.get("processing"), int) and processing > 0
        return Pending(ticket=ticket, progress=0.0 if drawing else None)

    async def cancel(self, ticket: str, transport: Transport) -> None:
        """Take the request back."""
        await transport.call("DELETE", f"/generate/status/{quote(ticket, safe='')}")

    async def check(self, transport: Transport) -> str:
        """Ask whose key it is, and how many kudos there are."""
        match (await transport.call("GET", "/find_user")).json:
            case {"username": str(name)} as user:
                kudos = user.get("kudos")
                return f"{text_of(name)}" + (f", {kudos:,.0f} kudos" if isinstance(kudos, int | float) else "")
            case _:
                raise self.closed("address", "It did not say whose key this is.")

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read ``{"message", "rc"}``; ``rc`` is one of the return codes that the Horde publishes."""
        body = answer.json
        if not isinstance(body, dict):
            return None
        rc, message = str(body.get("rc") or ""), text_of(body.get("message") or "")
        line = f"{self.title}: {rc}: {message}" if rc else f"{self.title}: {message}"
        if rc in REFUSALS:
            return Refused(line, reason=CENSORED)
        if rc in NO_KUDOS:
            return self.closed("credit", message)
        if rc in BAD_KEY:
            return self.closed("key", message)
        if rc in NOT_NOW or answer.status == 423:
            return ProviderDown(line, provider=self.title)
        if rc == "TooManyPrompts":
            return ProviderBusy(line, provider=self.title)
        if rc == "RequestNotFound":
            return faults.missing(self.title, message, submitting=answer.paid)
        if rc == "RequestExpired" or (answer.status == 410 and not answer.paid):
            return ProviderBroken(f"{self.title}: nobody drew it in time: {message}", provider=self.title)
        if rc in TOO_MUCH or (answer.status in (400, 403) and rc):
            return RequestRejected(line, provider=self.title)
        return faults.by_status(self.title, answer.status, message, submitting=answer.paid)

    @property
    def _anonymous(self) -> bool:
        return self.access.key in (None, ANONYMOUS)

    async def _ask(self, path: str, transport: Transport) -> dict[str, Any]:
        told = (await transport.call("GET", path)).json
        if not isinstance(told, dict):
            raise ProviderDown(f"{self.title} answered a question for a request with no JSON", provider=self.title)
        return told

    def _found(self, generations: Any) -> list[Found]:
        told = generations if isinstance(generations, list) else []
        found = [each for one in told if isinstance(one, dict) and (each := _picture(one)) is not None]
        if not found:
            raise ProviderBroken(f"{self.title} ended a request without a picture", provider=self.title)
        return found


def _picture(generation: Mapping[str, Any]) -> Found | None:
    told = str(generation.get("seed") or "")
    seed = int(told) if told.isascii() and told.isdigit() else None
    image = generation.get("img")
    if generation.get("censored") is True or generation.get("state") in ("censored", "csam"):
        # What comes instead is a picture that says so.
        return Found(seed=seed, withheld=CENSORED)
    if not isinstance(image, str) or not image:
        return None
    return Found(seed=seed, url=image if image.startswith(("http", "data:")) else f"data:image/webp;base64,{image}")


def _webp(picture: bytes) -> str:
    """Return a PNG as base64 of a WebP, the only format that the Horde documents. Busy: called in a thread."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
        image.save(file, "WEBP", quality=SOURCE_QUALITY, method=2)
    return b64encode(file.getvalue()).decode()


@cache  # reading what is installed takes a millisecond, and every request says it
def _version() -> str:
    try:
        return version("flux-bot")
    except PackageNotFoundError:
        return "0"
