"""What a provider can do with a model: operations, sizes, bounds and price, as data that fits into a database row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import ceil, log
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from flux_core.catalogue import Catalogue
from flux_core.generation import RATIO_TOLERANCE, GenerationRequest
from flux_core.models import MAX_SIDE, MEGAPIXEL, MULTIPLE, Mode, ModelSpec, Operation

MICRO = 1_000_000
"""Money is whole millionths of a US dollar."""


class Price(BaseModel):
    """US dollars of one picture: a fixed part, one by size, and one by size and steps."""

    model_config = ConfigDict(frozen=True)

    picture: float = 0.0
    megapixel: float = 0.0
    megapixel_step: float = 0.0
    round_up: bool = False
    """Whether a started megapixel counts as a whole one."""

    def of(self, width: int, height: int, steps: int) -> int:
        """Return millionths of a dollar for a picture of ``width`` × ``height`` pixels in ``steps`` steps."""
        megapixels = width * height / MEGAPIXEL
        if self.round_up:
            megapixels = ceil(megapixels)
        return ceil((self.picture + self.megapixel * megapixels + self.megapixel_step * megapixels * steps) * MICRO)


class Sizes(BaseModel):
    """The sizes in pixels that a provider draws: a list of (width, height), or every size within bounds."""

    model_config = ConfigDict(frozen=True)

    listed: tuple[tuple[int, int], ...] = ()
    low: int = 256
    high: int = 2048
    multiple: int = 16
    most_pixels: int | None = None

    def nearest(self, width: int, height: int) -> tuple[int, int] | None:
        """Return the size nearest to ``width`` × ``height``, or None where that would be another aspect.

        A size that may be drawn as it is comes back unchanged. Otherwise area and ratio decide together, the ratio
        with more weight: twice the area is as far off as a third more width.
        """
        candidates: Sequence[tuple[int, int]] = self.listed or self._within(width, height)
        ratio = width / height
        fitting = [size for size in candidates if abs(size[0] / size[1] / ratio - 1) <= RATIO_TOLERANCE]

        def distance(size: tuple[int, int]) -> float:
            return abs(log(size[0] * size[1] / (width * height))) + 2.5 * abs(log(size[0] / size[1] / ratio))

        return min(fitting, key=distance, default=None)

    def _within(self, width: int, height: int) -> list[tuple[int, int]]:
        scale = max(1.0, self.low / min(width, height))
        scale = min(scale, self.high / max(width, height))
        if self.most_pixels is not None:
            scale = min(scale, (self.most_pixels / (width * height)) ** 0.5)
        sides = []
        for side in (width * scale, height * scale):
            down = int(side // self.multiple * self.multiple)
            sides.append([s for s in (down, down + self.multiple) if self.low <= s <= self.high])
        return [(w, h) for w in sides[0] for h in sides[1] if self.most_pixels is None or w * h <= self.most_pixels]


class ImageInput(StrEnum):
    """How a provider takes a picture to start from."""

    INLINE = "inline"
    """Inside the request: base64 or a data URI."""
    UPLOAD = "upload"
    """Sent to the provider's own store first."""
    LINK = "link"
    """As a URL the provider fetches: needs a picture store that signs URLs, a bucket."""


class Range(BaseModel):
    """A closed range of numbers."""

    model_config = ConfigDict(frozen=True)

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Offer(BaseModel):
    """What one provider does with one model."""

    model_config = ConfigDict(frozen=True)

    theirs: str
    """The provider's own name of the model."""
    sizes: Sizes = Sizes()
    steps: Range | None = None
    """None: any, or it has no steps to choose."""
    guidance: Range | None = None
    price: Price | None = None
    """None: nothing is paid."""
    image_input: ImageInput | None = None
    """None: it draws from words only."""
    masks: bool = False
    """Whether it paints anew what a mask shows."""
    loras: tuple[str, ...] = ()
    """Names of those it has for this model."""
    picture_sizes: Sizes | None = None
    """Sizes when it starts from a picture, where they are others: many vendors then follow the picture."""
    picture_price: Price | None = None
    """Price when it starts from a picture, where it is another."""
    prompt_limit: int | None = None
    """Characters."""
    modes: tuple[Mode, ...] = (Mode.QUALITY,)
    """Those it draws in; what is asked for in another is drawn in quality."""
    leaner: str | None = None
    """The profile in which our own card holds it since it ran out of memory; None: as planned."""

    @field_validator("modes", mode="before")
    @classmethod
    def _leave_newer_modes_aside(cls, said: Any) -> Any:
        # A worker of a newer version may have some that nobody can ask for here.
        return [mode for mode in said if mode in set(Mode)] if isinstance(said, list) else said

    def drawn_in(self, mode: Mode) -> Mode:
        """Return the mode in which it draws what is asked for in ``mode``."""
        if mode in self.modes:
            return mode
        return self.modes[0] if self.modes else Mode.QUALITY

    def effort(self, mode: Mode) -> float:
        """Return the work of what is asked for in ``mode``, as it is drawn here, relative to that in quality.

        So what is asked for in quality is the same work everywhere: a card that has only fewer bits for it is a
        slower or faster one, which its measured speed says.
        """
        return self.drawn_in(mode).work / self.drawn_in(Mode.QUALITY).work

    def objection(self, request: GenerationRequest, *, links: bool, variation: bool = False) -> str | None:
        """Say why it cannot draw ``request``, in a few words for people; None when it can.

        ``links``: whether our picture store can sign URLs. A ``variation`` may leave its picture aside.
        """
        if request.input_picture is not None and not variation and not self.starts_from_pictures(links=links):
            return "from words only"
        if request.input_mask is not None and not self.masks:
            return "no masks"
        if request.lora is not None and request.lora.name not in self.loras:
            return "not this LoRA" if self.loras else "no LoRAs"
        if self.prompt_limit is not None and len(request.prompt) > self.prompt_limit:
            return f"prompts of at most {self.prompt_limit} characters"
        if self.size(request) is None:
            return f"not {request.width}×{request.height}"
        if self.steps is not None and request.steps not in self.steps:
            return f"{self.steps.low:g} to {self.steps.high:g} steps"
        if self.guidance is not None and request.guidance is not None and request.guidance not in self.guidance:
            return f"guidance {self.guidance.low:g} to {self.guidance.high:g}"
        return None

    def starts_from_pictures(self, *, links: bool) -> bool:
        """Say whether a picture to start from can reach it."""
        return self.image_input is not None and (links or self.image_input is not ImageInput.LINK)

    def size(self, request: GenerationRequest) -> tuple[int, int] | None:
        """Return the width and height it is asked for, nearest to those of ``request``; None: only another aspect."""
        sizes = self.picture_sizes if self.picture_sizes is not None and self._uses_picture(request) else self.sizes
        return sizes.nearest(request.width, request.height)

    def cost(self, request: GenerationRequest) -> int:
        """Return what all pictures of ``request`` will cost, in millionths of a dollar."""
        size = self.size(request) or (request.width, request.height)
        price = self.price_of(request)
        return 0 if price is None else request.count * price.of(*size, request.steps_taken)

    def price_of(self, request: GenerationRequest) -> Price | None:
        """Return what counts for ``request``: drawn from words, or from a picture."""
        return self.picture_price if self.picture_price is not None and self._uses_picture(request) else self.price

    def _uses_picture(self, request: GenerationRequest) -> bool:
        return request.input_picture is not None and self.image_input is not None


def own_offers(
    catalogue: Catalogue, modes: Callable[[ModelSpec], tuple[Mode, ...]] = lambda spec: (Mode.QUALITY,)
) -> Mapping[str, Offer]:
    """Return what the weights in ``catalogue`` let our own cards draw: whatever a request may ask for, for nothing.

    ``modes`` says in which a card draws a model.
    """
    anything = Sizes(low=MULTIPLE, high=MAX_SIDE, multiple=MULTIPLE)
    return {
        spec.id: Offer(
            theirs=spec.source,
            sizes=anything,
            image_input=ImageInput.INLINE if spec.starts_from_pictures else None,
            masks=Operation.INPAINT in spec.operations,
            loras=tuple(lora.name for lora in catalogue.loras.values() if lora.fits(spec.id)),
            modes=modes(spec),
        )
        for spec in catalogue
        if spec.source is not None
    }
