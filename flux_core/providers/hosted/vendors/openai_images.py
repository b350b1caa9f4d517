"""OpenAI's image route, as servers of one's own speak it: LocalAI, vLLM-Omni, SGLang Diffusion, and many a vendor.

Wire formats: the types of OpenAI's SDK (``openai`` 3.52.0), and the servers' sources (mudler/LocalAI, vllm-project/
vllm-omni, sgl-project/sglang). What the route lacks is sent besides, under the names that these servers have for it;
each passes over what it does not know. No seed comes back, and no price.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from math import isfinite
from typing import Any, ClassVar
from urllib.parse import urljoin, urlsplit

from flux_core.errors import ConfigurationError, GenerationFailed, ProviderBroken
from flux_core.offers import ImageInput, Offer, Price, Sizes
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import Access, Done, Found, Limits, Outcome, Shot, Vendor, text_of
from flux_core.providers.hosted.vendors.openai_shapes import complaint, fault_of, listed, picture

SIZES = Sizes(low=256, high=2048, multiple=16)
RESPONSE_FORMATS = ("b64_json", "url")
EDITS = ("none", "multipart", "json")


class OpenAiImages(Vendor):
    """A server with OpenAI's image route. It draws the models that the operator names, and no others."""

    name: ClassVar[str] = "openai_images"
    title: ClassVar[str] = "OpenAI-compatible server"
    base_url: ClassVar[str] = ""
    needs_key: ClassVar[bool] = False
    extra_settings: ClassVar[Mapping[str, str]] = {
        "response_format": "How pictures come: `b64_json` (default; the only one vLLM-Omni has) or `url`, which needs "
        "pictures that can be fetched without the key.",
        "edits": "How pictures to start from are sent: `none` (default), `multipart` (vLLM-Omni, SGLang) or `json` "
        "(LocalAI).",
        "price": "What one picture costs there, in US dollars, so that the daily cap holds for it; nothing by default.",
    }
    limits: ClassVar[Limits] = Limits(concurrency=1, per_minute=600)
    """One card draws one picture at a time."""
    polled: ClassVar[bool] = False
    submit_seconds: ClassVar[float] = 600.0

    def __init__(self, access: Access) -> None:
        """Reach a server; raises ConfigurationError for a setting that is none of its values."""
        super().__init__(access)
        self._setting("response_format", RESPONSE_FORMATS)
        self._setting("edits", EDITS)
        self._price = _price(access.extra.get("price", ""))

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return the operator's models."""
        image_input = None if self._setting("edits", EDITS) == "none" else ImageInput.INLINE
        return {
            id: Offer(theirs=theirs, sizes=SIZES, image_input=image_input, price=self._price)
            for id, theirs in self.access.models.items()
        }

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Draw one picture."""
        fields = self._fields(shot)
        edits = self._setting("edits", EDITS)
        if shot.picture is None:
            answer = await transport.submit(self._path("images/generations"), json=fields)
        elif edits == "multipart":
            answer = await transport.submit(
                self._path("images/edits"),
                files={"image": ("picture.png", shot.picture, "image/png")},
                data={name: str(value) for name, value in fields.items()},
            )
        else:
            data = b64encode(shot.picture).decode()
            # LocalAI draws over "file"; a model that edits by instruction (Kontext) looks at references.
            given = {"ref_images": [data]} if shot.request.strength is None else {"file": data}
            answer = await transport.submit(self._path("images/generations"), json=fields | given)
        found = [one for item in listed(answer.json, "data") if (one := picture(item)) is not None]
        if not found:
            raise self.fault(answer) or ProviderBroken(f"{self.title} answered without a picture", provider=self.title)
        return Done(found=[self._whole_url(found[0])])

    def _fields(self, shot: Shot) -> dict[str, Any]:
        request = shot.request
        prompt = request.prompt
        if self._setting("edits", EDITS) == "json":
            prompt = prompt.replace("|", ",")  # LocalAI takes what follows a bar for what shall not be seen
        fields: dict[str, Any] = {
            "model": shot.offer.theirs,
            "prompt": prompt,
            "n": 1,
            "size": f"{shot.size[0]}x{shot.size[1]}",
            "response_format": self._setting("response_format", RESPONSE_FORMATS),
            "seed": shot.seeds[0],
            "num_inference_steps": request.steps,
            "step": request.steps,
        }
        if request.guidance is not None:
            fields["guidance_scale"] = request.guidance
        if shot.picture is not None and request.strength is not None:
            fields["strength"] = request.strength
        return fields

    async def check(self, transport: Transport) -> str:
        """List the models; that costs nothing."""
        answer = await transport.call("GET", self._path("models"))
        names = [str(item.get("id")) for item in listed(answer.json, "data")]
        if not isinstance(answer.json, dict):
            raise self.closed("address", "It lists no models.")
        return text_of(f"has {', '.join(names)}") if names else "it answers, and lists no models"

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Read OpenAI's and LocalAI's ``error``, or FastAPI's ``detail`` (vLLM-Omni, SGLang)."""
        return fault_of(self.title, answer, complaint(answer))

    def _path(self, path: str) -> str:
        """Return ``path`` below /v1: some write that into the base URL, as OpenAI's SDK wants it, some do not."""
        return f"/{path}" if urlsplit(self.access.base_url).path.strip("/") else f"/v1/{path}"

    def _whole_url(self, found: Found) -> Found:
        """Complete a URL without a host, as SGLang's are."""
        if found.url is None or found.url.startswith("data:"):
            return found
        return Found(url=urljoin(f"{self.access.base_url}/", found.url))

    def _setting(self, name: str, values: tuple[str, ...]) -> str:
        value = self.access.extra.get(name, "").strip().lower() or values[0]
        if value not in values:
            raise ConfigurationError(f"OPENAI_IMAGES_{name.upper()} is {value!r}; write one of {', '.join(values)}.")
        return value


def _price(text: str) -> Price | None:
    """Read dollars a picture; nothing and 0 are both free."""
    try:
        dollars = float(text.strip() or 0)
    except ValueError:
        dollars = -1.0
    if not isfinite(dollars) or dollars < 0:
        raise ConfigurationError("OPENAI_IMAGES_PRICE must be US dollars such as 0.03.")
    return Price(picture=dollars) if dollars else None
