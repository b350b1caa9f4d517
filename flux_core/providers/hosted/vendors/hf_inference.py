"""Hugging Face Inference Providers: one router in front of many services, each with a wire format of its own.

Wire format: huggingface_hub (``inference/_providers``) and huggingface.co/docs/inference-providers. The Hub tells which
service draws which model under which name; the names below are its answers for FLUX.1 as far as they are known, and
``HF_INFERENCE_MODELS`` overrides them. All services answer while they draw.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flux_core.errors import ConfigurationError, GenerationFailed, OutcomeUnknown, ProviderBroken, Refused
from flux_core.family import FLUX_DEV, FLUX_SCHNELL
from flux_core.offers import ImageInput, Offer, Price, Range
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import CENSORED, Access, Done, Found, Limits, Outcome, Shot, Vendor, text_of
from flux_core.providers.hosted.vendors.aspects import aspect_of, sizes_of

HUB = "https://huggingface.co"
MODERATION = ("content_policy", "nsfw", "safety", "moderat", "inappropriate")
"""Parts of words with which the services behind the router refuse content, in lower case."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service behind the router."""

    dev: Offer | None
    schnell: Offer
    path: str
    """Below the router; ``{model}`` stands for the service's name of the model."""
    body: Callable[[Shot], dict[str, Any]]
    found: Callable[[Answer], list[Found] | None]
    """Reads the pictures of an answer; None when there are none."""
    headers: Mapping[str, str] | None = None


class HfInference(Vendor):
    """Hugging Face's router, with the service that the operator chose."""

    name = "hf_inference"
    title = "Hugging Face"
    base_url = "https://router.huggingface.co"
    key_page = "https://huggingface.co/settings/tokens"
    extra_settings: ClassVar[Mapping[str, str]] = {
        "provider": "Who draws behind the router: hf-inference (default), together, nscale, fal-ai or replicate.",
        "picture_model": "With hf-inference: a model of the Hub's task image-to-image that starts flux-dev's pictures "
        "from others; without it, flux-dev is drawn from words only.",
        "hub": f"Address of the Hub, where the key is checked; {HUB} by default.",
    }
    limits = Limits(concurrency=4, per_minute=60)
    polled = False
    trusted_hosts = ("huggingface.co",)
    submit_seconds = 180.0

    def __init__(self, access: Access) -> None:
        """Raise ConfigurationError for a service that is not known here."""
        super().__init__(access)
        chosen = access.extra.get("provider", "hf-inference").strip().lower()
        if chosen not in SERVICES:
            known = ", ".join(SERVICES)
            raise ConfigurationError(f"HF_INFERENCE_PROVIDER is {chosen[:40]!r}; flux-bot knows {known}.")
        self._service = SERVICES[chosen]
        self._picture_model = access.extra.get("picture_model") if chosen == "hf-inference" else None

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what the chosen service draws, by the operator's names for it."""
        service = self._service
        offers = {FLUX_SCHNELL.id: service.schnell}
        if service.dev is not None:
            image_input = ImageInput.INLINE if self._picture_model else None
            offers[FLUX_DEV.id] = service.dev.model_copy(update={"image_input": image_input})
        models = self.access.models
        return {id: offer.model_copy(update={"theirs": models.get(id, offer.theirs)}) for id, offer in offers.items()}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture."""
        service = self._service
        if shot.picture is None:
            path, body = service.path.format(model=shot.offer.theirs), service.body(shot)
        else:
            path, body = service.path.format(model=self._picture_model), _hf_picture_body(shot)
        answer = await transport.submit(path, json=body, headers=service.headers)
        found = service.found(answer)
        if found is None:
            raise self.fault(answer) or ProviderBroken(f"{self.title} answered without a picture", provider=self.title)
        return Done(found=found)

    async def check(self, transport: Transport) -> str:
        """Ask the Hub whose key this is; that costs nothing."""
        hub = self.access.extra.get("hub", HUB).rstrip("/")
        answer = await transport.call("GET", f"{hub}/api/whoami-v2")
        who = answer.json
        if not isinstance(who, dict) or not isinstance(who.get("name"), str):
            raise self.closed("address", "The Hub did not say whose key this is.")
        return f"signed in as {text_of(who['name'])}" + (" (PRO)" if who.get("isPro") is True else "")

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read an error in the words of the router, or in those of the service behind it.

        The router's own mean what they mean everywhere: 401, 402 (the month's credits are used up), and 503 while a
        model is being loaded, which takes longer than anybody should wait in line for.
        """
        detail, kind = _words(answer)
        if answer.status in (400, 422) and any(part in f"{kind} {detail}".lower() for part in MODERATION):
            return Refused(f"{self.title}: {detail}", reason=CENSORED)
        return None


def _words(answer: Answer) -> tuple[str, str]:
    """Return an error's message and kind: {"error": text or {message, type, code}} or fal's {"detail": […]}."""
    told = answer.json
    if not isinstance(told, dict):
        return "", ""
    error = told.get("error") or told.get("detail") or told.get("message") or ""
    if isinstance(error, list) and error:
        error = error[0]
    if not isinstance(error, dict):
        return text_of(error), ""
    return text_of(error.get("message") or error.get("msg") or ""), text_of(error.get("code") or error.get("type"))


def _hf_body(shot: Shot) -> dict[str, Any]:
    width, height = shot.size
    return {"inputs": shot.request.prompt, "parameters": {"width": width, "height": height, **_drawing(shot)}}


def _hf_picture_body(shot: Shot) -> dict[str, Any]:
    assert shot.picture is not None
    width, height = shot.size
    parameters = {
        "prompt": shot.request.prompt,
        "target_size": {"width": width, "height": height},
        # Not among the documented parameters; sent rather than left out, so that a model without it says so.
        "strength": shot.request.strength,
        **_drawing(shot),
    }
    return {"inputs": b64encode(shot.picture).decode(), "parameters": parameters}


def _drawing(shot: Shot) -> dict[str, Any]:
    told: dict[str, Any] = {"num_inference_steps": shot.request.steps, "seed": shot.seeds[0]}
    if shot.request.guidance is not None:
        told["guidance_scale"] = shot.request.guidance
    return told


def _hf_found(answer: Answer) -> list[Found] | None:
    # Some bytes that are no text: whether they are a picture is found out by decoding them.
    is_text = answer.headers.get("content-type", "").startswith(("text/html", "application/json"))
    return None if is_text or not answer.body else [Found(data=answer.body)]


def _together_body(shot: Shot) -> dict[str, Any]:
    width, height = shot.size
    told = _drawing(shot)
    told["steps"] = told.pop("num_inference_steps")
    return {
        "model": shot.offer.theirs,
        "prompt": shot.request.prompt,
        "response_format": "base64",
        "width": width,
        "height": height,
        **told,
    }


def _nscale_body(shot: Shot) -> dict[str, Any]:
    # The Hub's client takes steps and guidance away before it asks nscale, and passes on the seed.
    return {
        "model": shot.offer.theirs,
        "prompt": shot.request.prompt,
        "response_format": "b64_json",
        "size": f"{shot.size[0]}x{shot.size[1]}",
        "seed": shot.seeds[0],
    }


def _b64_found(answer: Answer) -> list[Found] | None:
    told = answer.json
    items = told.get("data") if isinstance(told, dict) else None
    item = items[0] if isinstance(items, list) and items else None
    image = item.get("b64_json") if isinstance(item, dict) else None
    return [Found(url=f"data:image/png;base64,{image}")] if isinstance(image, str) and image else None


def _fal_body(shot: Shot) -> dict[str, Any]:
    width, height = shot.size
    return {"prompt": shot.request.prompt, "image_size": {"width": width, "height": height}, **_drawing(shot)}


def _fal_found(answer: Answer) -> list[Found] | None:
    told = answer.json
    images = told.get("images") if isinstance(told, dict) else None
    image = images[0] if isinstance(images, list) and images else None
    if not isinstance(image, dict) or not isinstance(url := image.get("url"), str):
        return None
    seed = told["seed"] if isinstance(told.get("seed"), int) else None
    if told.get("has_nsfw_concepts") == [True]:
        return [Found(seed=seed, withheld=CENSORED)]
    return [Found(url=url, seed=seed)]


def _replicate_body(shot: Shot) -> dict[str, Any]:
    told: dict[str, Any] = {
        "prompt": shot.request.prompt,
        "aspect_ratio": aspect_of(shot.size),
        "num_inference_steps": shot.request.steps,
        "seed": shot.seeds[0],
        "output_format": "png",
    }
    if shot.request.guidance is not None:
        told["guidance"] = shot.request.guidance
    return {"input": told}


def _replicate_found(answer: Answer) -> list[Found] | None:
    told = answer.json
    if not isinstance(told, dict):
        return None
    status, output = told.get("status"), told.get("output")
    if status in ("starting", "processing") or (status not in ("failed", "canceled", "aborted") and output is None):
        # It was not done within the minute that Replicate waits, and the router has no documented way to ask again.
        raise OutcomeUnknown("Hugging Face: Replicate was still drawing when its minute was over")
    if status == "failed" and "nsfw" in text_of(told.get("error")).lower():
        return [Found(withheld=CENSORED)]
    url = output[0] if isinstance(output, list) and output else output
    return [Found(url=url)] if isinstance(url, str) else None


# The router adds nothing to a service's price. hf-inference is paid by the second; $0.0012 is the example that the
# Hub's page of prices gives for FLUX.1 [dev]. The other prices are those of the services, nscale's is not confirmed.
SERVICES: Mapping[str, Service] = {
    "hf-inference": Service(
        dev=Offer(theirs="black-forest-labs/FLUX.1-dev", price=Price(picture=0.0012)),
        schnell=Offer(theirs="black-forest-labs/FLUX.1-schnell", price=Price(picture=0.0012)),
        path="/hf-inference/models/{model}",
        body=_hf_body,
        found=_hf_found,
    ),
    "together": Service(
        dev=Offer(theirs="black-forest-labs/FLUX.1-dev", price=Price(megapixel=0.025)),
        schnell=Offer(theirs="black-forest-labs/FLUX.1-schnell", price=Price(megapixel=0.0027)),
        path="/together/v1/images/generations",
        body=_together_body,
        found=_b64_found,
    ),
    "nscale": Service(
        dev=None,
        schnell=Offer(theirs="black-forest-labs/FLUX.1-schnell", price=Price(megapixel=0.003)),
        path="/nscale/v1/images/generations",
        body=_nscale_body,
        found=_b64_found,
    ),
    "fal-ai": Service(
        dev=Offer(
            theirs="fal-ai/flux/dev",
            steps=Range(low=1, high=50),
            guidance=Range(low=1, high=20),
            price=Price(megapixel=0.025, round_up=True),
        ),
        schnell=Offer(
            theirs="fal-ai/flux/schnell", steps=Range(low=1, high=12), price=Price(megapixel=0.003, round_up=True)
        ),
        path="/fal-ai/{model}",
        body=_fal_body,
        found=_fal_found,
    ),
    "replicate": Service(
        dev=Offer(
            theirs="black-forest-labs/flux-dev",
            sizes=sizes_of(),
            steps=Range(low=1, high=50),
            guidance=Range(low=0, high=10),
            price=Price(picture=0.025),
        ),
        schnell=Offer(
            theirs="black-forest-labs/flux-schnell",
            sizes=sizes_of(),
            steps=Range(low=1, high=4),
            price=Price(picture=0.003),
        ),
        path="/replicate/v1/models/{model}/predictions",
        body=_replicate_body,
        found=_replicate_found,
        headers={"Prefer": "wait"},
    ),
}
