"""What may be asked for: a member's loose options become one exact, immutable request."""

from __future__ import annotations

import math
import re
import secrets
import unicodedata
from collections.abc import Callable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from flux_core.catalogue import Catalogue
from flux_core.errors import (
    InvalidSize,
    MaskWithoutPicture,
    NotANumber,
    OutOfRange,
    PromptMissing,
    PromptTooLong,
    SizeContradiction,
    StrengthWithoutPicture,
    UnknownAspect,
    UnknownFormat,
    UnknownMode,
)
from flux_core.loras import Known, LoraUse, chosen
from flux_core.models import (
    ASPECTS,
    MAX_PIXELS,
    MAX_SIDE,
    MEGAPIXEL,
    MIN_SIDE,
    MULTIPLE,
    Bounds,
    Mode,
    ModelSpec,
    steps_taken,
)

MAX_PROMPT = 2000
"""Characters. T5 reads at most 512 tokens, about this much English."""

SEED = Bounds(0, 2**32 - 1, 0)
RATIO_TOLERANCE = 0.06
"""How far a size may lie off the aspect given with it, relative: rounding to 16 pixels moves small sides that much."""


class OutputFormat(StrEnum):
    """File formats a member can choose."""

    WEBP = "webp"
    PNG = "png"
    JPEG = "jpeg"


class InputPicture(BaseModel):
    """A vetted picture in the store that a drawing starts from."""

    model_config = ConfigDict(frozen=True)

    key: str
    width: int
    height: int


class RequestOptions(BaseModel):
    """What a member typed, before anything is decided for them. None means: not given."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    model: str | None = None
    aspect: str | None = None
    size: str | None = None
    """As typed: "1024x768"."""
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    count: int | None = None
    strength: float | None = None
    output_format: str | None = None
    provider: str | None = None
    """Who shall draw it: "local" or a hosted provider's name."""
    mode: str | None = None
    """A name of ``Mode``."""
    lora: str | None = None
    """As typed: "ink", or "ink:0.8" with its weight."""


class GenerationRequest(BaseModel):
    """One exact request: drawing it again gives the same pictures. Picture i is drawn with seed + i."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    model: str
    width: int
    """Drawn width in pixels, before the model's enlargement."""
    height: int
    steps: int
    guidance: float | None
    seed: int
    count: int
    input_picture: InputPicture | None = None
    input_mask: InputPicture | None = None
    """White where that picture is painted anew, black where it stays."""
    strength: float | None = None
    output_format: OutputFormat = OutputFormat.WEBP
    provider: str | None = None
    """Who shall draw it, where the member has said so; whether there is such a one is known when it is submitted."""
    mode: Mode = Mode.QUALITY
    """What the member wants; who cannot draw so draws in quality, and the job says which it was."""
    lora: LoraUse | None = None

    @property
    def seeds(self) -> range:
        """Return the seed of each picture."""
        return range(self.seed, self.seed + self.count)

    @property
    def steps_taken(self) -> int:
        """Return how many steps each picture takes: fewer than ``steps`` when it starts from another."""
        return steps_taken(self.steps, self.strength)

    @property
    def megapixel_steps(self) -> float:
        """Return the work in it: megapixels drawn × steps taken × pictures, the unit in which speed is measured."""
        return self.width * self.height / MEGAPIXEL * self.steps_taken * self.count

    @property
    def work(self) -> float:
        """Return the work in it where its mode is drawn: less than in quality, since that leaves some of it out."""
        return self.megapixel_steps * self.mode.work

    def price(self, catalogue: Catalogue) -> int:
        """Return the cost in thousandths of a credit; raises UnknownModel."""
        return catalogue[self.model].price(
            width=self.width,
            height=self.height,
            steps=self.steps,
            count=self.count,
            strength=self.strength,
            picture=self.input_picture is not None,
        )


def random_seed() -> int:
    """Draw a seed short enough to be read out loud."""
    return secrets.randbelow(2**31)


def resolve(
    options: RequestOptions,
    catalogue: Catalogue,
    *,
    picture: InputPicture | None = None,
    mask: InputPicture | None = None,
    loras: Known | None = None,
    draw_seed: Callable[[], int] = random_seed,
) -> GenerationRequest:
    """Turn ``options`` into an exact request, or raise the InvalidRequest that says what is wrong.

    ``loras``: those that may be asked for; None: those that ``catalogue`` lists.
    """
    prompt = _prompt(options.prompt)
    spec = catalogue[options.model] if options.model is not None else catalogue.default
    if mask is not None and picture is None:
        raise MaskWithoutPicture()
    spec.operation(picture=picture is not None, mask=mask is not None)
    width, height = _size(options, spec, picture)
    return GenerationRequest(
        prompt=prompt,
        model=spec.id,
        width=width,
        height=height,
        steps=int(_within("steps", options.steps, spec.steps)),
        guidance=_guidance(options.guidance, spec),
        seed=draw_seed() if options.seed is None else int(_within("seed", options.seed, SEED)),
        count=int(_within("count", options.count, spec.count)),
        input_picture=picture,
        input_mask=mask,
        strength=_strength(options.strength, spec, picture),
        output_format=_format(options.output_format),
        provider=None if options.provider is None else options.provider.strip().lower() or None,
        mode=mode_named(options.mode),
        lora=chosen(options.lora, catalogue.known_loras if loras is None else loras, spec.id),
    )


def mode_named(value: str | None) -> Mode:
    """Return the mode of that name, in any case; quality where none is given. Raises UnknownMode."""
    if value is None or not value.strip():
        return Mode.QUALITY
    try:
        return Mode(value.strip().lower())
    except ValueError:
        raise UnknownMode(value=value, known=[known.value for known in Mode]) from None


def _prompt(text: str) -> str:
    # Control characters and lone surrogates can be stored by no database and drawn by no model.
    prompt = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")).strip()
    if not any(unicodedata.category(c)[0] not in "CZ" for c in prompt):
        raise PromptMissing()
    if len(prompt) > MAX_PROMPT:
        raise PromptTooLong(length=len(prompt), limit=MAX_PROMPT)
    return prompt


def _within(field: str, value: float | None, bounds: Bounds) -> float:
    if value is None:
        return bounds.default
    if not math.isfinite(value):
        raise NotANumber(field=field, value=str(value))
    if value not in bounds:
        raise OutOfRange(field=field, value=value, low=bounds.low, high=bounds.high)
    return value


def _guidance(value: float | None, spec: ModelSpec) -> float | None:
    if spec.guidance is None:
        # A guidance for a model without one has no effect on the picture; a member who switches models keeps typing it.
        return None
    return float(_within("guidance", value, spec.guidance))


def _strength(value: float | None, spec: ModelSpec, picture: InputPicture | None) -> float | None:
    if picture is None:
        if value is not None:
            raise StrengthWithoutPicture()
        return None
    if spec.strength is None:
        # As with guidance: it has no effect, and no member should have to take it out of a command again.
        return None
    return float(_within("strength", value, spec.strength))


def _format(value: str | None) -> OutputFormat:
    if value is None:
        return OutputFormat.WEBP
    name = value.strip().lower()
    try:
        return OutputFormat("jpeg" if name == "jpg" else name)
    except ValueError:
        raise UnknownFormat(value=value, known=[known.value for known in OutputFormat]) from None


def _size(options: RequestOptions, spec: ModelSpec, picture: InputPicture | None) -> tuple[int, int]:
    if options.aspect is not None and options.aspect not in ASPECTS:
        raise UnknownAspect(value=options.aspect, known=list(ASPECTS))
    if options.size is not None:
        width, height = parse_size(options.size)
        if options.aspect is not None and abs(width / height / ASPECTS[options.aspect] - 1) > RATIO_TOLERANCE:
            raise SizeContradiction(size=f"{width}×{height}", aspect=options.aspect)
        return _allowed(width, height, spec)
    if options.aspect is not None:
        return spec.size_for_aspect(options.aspect)
    if picture is not None:
        return spec.size_for_ratio(picture.width / picture.height)
    return spec.size_for_aspect("1:1")


def _allowed(width: int, height: int, spec: ModelSpec) -> tuple[int, int]:
    shown = f"{width}×{height}"
    if spec.native_short_side is not None:
        # A small model draws at its own size only; a wish for pixels is a wish for a shape, and names no other size.
        drawn = spec.size_for_ratio(width / height)
        delivered = (drawn[0] * spec.enlarge, drawn[1] * spec.enlarge)
        if (width, height) not in (drawn, delivered):
            raise InvalidSize(value=shown, reason="fixed", limit=f"{delivered[0]}×{delivered[1]}")
        return drawn
    if width % MULTIPLE or height % MULTIPLE:
        raise InvalidSize(value=shown, reason="multiple", limit=MULTIPLE)
    if min(width, height) < MIN_SIDE:
        raise InvalidSize(value=shown, reason="small", limit=MIN_SIDE)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InvalidSize(value=shown, reason="large", limit=MAX_SIDE if max(width, height) > MAX_SIDE else MAX_PIXELS)
    return width, height


def parse_size(text: str) -> tuple[int, int]:
    """Read "1024x768" (also × and *, with spaces) as (width, height); raises InvalidSize."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×*]\s*(\d{1,5})\s*", text, re.IGNORECASE)
    if found is None or 0 in (width := int(found[1]), height := int(found[2])):
        raise InvalidSize(value=text[:40], reason="format", limit="1024x1024")
    return width, height
