"""A model as data: what it can do, within which bounds and sizes, at what price and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor, log, sqrt
from typing import TYPE_CHECKING

from flux_core.errors import OperationUnavailable

if TYPE_CHECKING:
    pass

MULTIPLE = 16
"""Sides are multiples of this: the VAE shrinks 8 times and FLUX packs 2 × 2 latents into one token."""

MAX_PIXELS = 2 * 1024 * 1024
MIN_SIDE = 256
MAX_SIDE = 2048
MEGAPIXEL = 1024 * 1024
CREDIT = 1000
"""Prices and balances are whole thousandths of a credit; one credit is one 1-megapixel flux-schnell picture."""

ASPECTS: Mapping[str, float] = {
    text: int(text.split(":")[0]) / int(text.split(":")[1])
    for text in ("1:1", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4", "4:5", "5:4", "21:9", "9:21")
}


class Operation(StrEnum):
    """What a model can be asked to do."""

    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_IMAGE = "image-to-image"
    """Starts from a picture under noise; ``strength`` says how much."""
    EDIT = "edit"
    """Changes in a picture what the words say."""
    VARIATION = "variation"
    """Draws something like a picture, which it only looks at."""
    INPAINT = "inpaint"
    """Paints anew what a mask shows white, inside of a picture or around it."""


WITH_PICTURE = (Operation.IMAGE_TO_IMAGE, Operation.EDIT, Operation.VARIATION)
"""What can be made of words and a picture; a model does one of them."""


class Architecture(StrEnum):
    """How a model is built: which pipelines draw it (``flux_core.gpu.pipelines``)."""

    FLUX = "flux"
    KONTEXT = "kontext"
    FILL = "fill"
    REDUX = "redux"
    KLEIN = "klein"


class Mode(StrEnum):
    """How much exactness a member gives for speed, on a card of our own."""

    QUALITY = "quality"
    """As the model's makers draw it: nothing is left out."""
    FAST = "fast"
    """The network computes in 8 bits, where the card can."""
    TURBO = "turbo"
    """As fast, and steps that would change little are taken from the one before."""

    @property
    def work(self) -> float:
        """Return the work of a drawing in this mode, relative to quality: what estimates reckon with.

        The parts are those of the aims for FLUX.1 [dev] on one card (3.4, 2.2 and 1.6 s a picture). Where a card's own
        are others, its measured speed makes up for the mix of modes that it is asked for.
        """
        return {Mode.QUALITY: 1.0, Mode.FAST: 0.65, Mode.TURBO: 0.47}[self]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A closed range and the value taken when none is given."""

    low: float
    high: float
    default: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model of the family, as a member may ask for it."""

    id: str
    title: str
    summary: str
    """What a member reads when choosing, at most 100 characters (a Discord limit)."""
    licence: str
    commercial: bool
    """Whether its licence lets the model be used commercially. Pictures are another matter: FLUX.1 [dev]'s licence
    claims no rights in what was drawn."""
    steps: Bounds
    guidance: Bounds | None
    """None for a model distilled to work without guidance."""
    strength: Bounds | None = Bounds(0.05, 1.0, 0.6)
    """None for a model that edits a picture by instruction: the prompt says what shall change, no number does."""
    count: Bounds = Bounds(1, 4, 4)
    operations: frozenset[Operation] = frozenset({Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE})
    architecture: Architecture = Architecture.FLUX
    native_short_side: int | None = None
    """Short side in pixels that a small model always draws at; None: free sizes of about one megapixel."""
    enlarge: int = 1
    """How many times each side grows after drawing, as part of the model's definition."""
    max_sequence_length: int = 512
    """T5 tokens; the padding is attended, so this belongs to the model."""
    millicredits_per_megapixel_step: int = 250
    """Schnell's four steps at one megapixel make one credit."""
    picture_work: float = 1.0
    """How many times the work of a step grows when the network reads a picture beside the one it draws."""
    step_cache: float | None = 0.12
    """In mode turbo, how much the first block may change from one step to the next for the others to be left out.

    0.12 is what the method's authors take for FLUX.1 [dev] in 8 bits (ParaAttention, "Fastest FLUX Inference"); in 16,
    theirs is 0.08, and 0.12 the quickest that they show. None: the model has no such mode."""
    weights: bool = True
    """Whether its weights are published; otherwise only hosted providers draw it."""
    source: str | None = None
    """Hub id or folder of the weights in diffusers' layout; None where only hosted providers draw it."""
    drawn_by: str | None = None
    """The model whose weights draw for this one, which only tells them what to draw."""
    base: ModelSpec | None = None
    """That model, where it is configured."""
    lends_to: str | None = None
    """Where the model is, as ``source``, that draws with these weights, where one is configured: its own few are in
    memory as well."""

    @property
    def local(self) -> bool:
        """Whether the operator has said where its weights are, so that our own cards can draw it."""
        return self.source is not None

    @property
    def starts_from_pictures(self) -> bool:
        """Whether it makes something of a picture."""
        return any(operation in self.operations for operation in (*WITH_PICTURE, Operation.INPAINT))

    @property
    def setting(self) -> str:
        """Return the name of the setting that says where its weights are."""
        return _SETTINGS.get(self.id, f"{self.id.replace('-', '_').upper()}_PATH")

    def operation(self, *, picture: bool, mask: bool = False) -> Operation:
        """Return what it does when it is given words, and perhaps a picture and a mask; raises OperationUnavailable."""
        wanted: tuple[Operation, ...] = (Operation.TEXT_TO_IMAGE,)
        if picture:
            wanted = (Operation.INPAINT,) if mask else WITH_PICTURE
        for operation in wanted:
            if operation in self.operations:
                return operation
        raise OperationUnavailable(
            model=self.id, operation=wanted[0].value, does=sorted(one.value for one in self.operations)
        )

    def size_for_ratio(self, ratio: float) -> tuple[int, int]:
        """Return (width, height) in pixels, drawn before enlarging, that comes nearest to ``ratio`` = width / height.

        Ratios beyond 21:9 are drawn as 21:9 (or 9:21), the widest the family is trained for.
        """
        ratio = min(max(ratio, ASPECTS["9:21"]), ASPECTS["21:9"])
        if self.native_short_side is not None:
            short = self.native_short_side
            return (_round(short * ratio), short) if ratio >= 1 else (short, _round(short / ratio))
        return _within_a_megapixel(ratio)

    def size_for_aspect(self, aspect: str) -> tuple[int, int]:
        """Return (width, height) in pixels for one of ``ASPECTS``."""
        return self.size_for_ratio(ASPECTS[aspect])

    def price(
        self,
        *,
        width: int,
        height: int,
        steps: int,
        count: int,
        strength: float | None = None,
        picture: bool = False,
    ) -> int:
        """Return the cost in thousandths of a credit of ``count`` pictures drawn at ``width`` × ``height``.

        Delivered pixels count, enlarging included. An image-to-image job pays for the steps it takes, one with a
        ``picture`` that the network reads for the work of that.
        """
        megapixels = width * height * self.enlarge**2 / MEGAPIXEL
        work = megapixels * steps_taken(steps, strength) * (self.picture_work if picture else 1.0)
        return count * max(1, ceil(work * self.millicredits_per_megapixel_step))


def _within_a_megapixel(ratio: float) -> tuple[int, int]:
    """Return the size of at most one megapixel that comes nearest to it and to ``ratio``.

    Not a pixel more: many a hosted provider charges for every megapixel that was begun.
    """
    ideal = sqrt(MEGAPIXEL * ratio), sqrt(MEGAPIXEL / ratio)
    widths, heights = ([floor(side / MULTIPLE) * MULTIPLE, ceil(side / MULTIPLE) * MULTIPLE] for side in ideal)
    sizes = [(width, height) for width in widths for height in heights if width * height <= MEGAPIXEL]
    return min(sizes, key=lambda size: log(MEGAPIXEL / (size[0] * size[1])) + 2 * abs(log(size[0] / size[1] / ratio)))


def _round(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)


_SETTINGS = {
    "flux-krea-dev": "FLUX_KREA_PATH",
    "flux-kontext-dev": "FLUX_KONTEXT_PATH",
    "flux-fill-dev": "FLUX_FILL_PATH",
    "flux-redux-dev": "FLUX_REDUX_PATH",
    "flux-klein-4b": "FLUX_KLEIN_PATH",
}
"""Model → its setting, where the id alone does not say it."""


def steps_taken(steps: int, strength: float | None) -> int:
    """Return how many of ``steps`` a drawing takes: all from noise, about steps × strength from a picture.

    The arithmetic, rounding errors included, is that of diffusers' ``FluxImg2ImgPipeline.get_timesteps``.
    """
    if strength is None:
        return steps
    return steps - int(max(steps - min(steps * strength, steps), 0))
