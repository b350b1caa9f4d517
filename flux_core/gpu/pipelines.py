"""Which diffusers pipelines draw which models, and what a request becomes for each of them.

Everything that differs between the members of the family is in the table at the end: the class that reads the weights,
the class that draws each operation, and the options that a call of it takes beside those that all have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from diffusers import (
    DiffusionPipeline,
    Flux2KleinPipeline,
    FluxFillPipeline,
    FluxImg2ImgPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxPriorReduxPipeline,
)
from PIL import Image, ImageOps

from flux_core.generation import GenerationRequest
from flux_core.models import Architecture, ModelSpec, Operation


class Words(NamedTuple):
    """A prompt as the network reads it, each with a batch of one."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None
    """None for an architecture that has no summary of the whole prompt."""

    @property
    def bytes(self) -> int:
        """Return the memory that they take."""
        return self.embeds.nbytes + (0 if self.pooled is None else self.pooled.nbytes)


@dataclass(frozen=True, slots=True)
class Start:
    """What one picture starts from: RGB pictures as they were brought, of any size."""

    picture: Image.Image
    mask: Image.Image | None = None

    def cropped(self, request: GenerationRequest) -> Image.Image:
        """Return the picture, cropped to the size that is drawn."""
        return _cropped(self.picture.convert("RGB"), request)

    def cropped_mask(self, request: GenerationRequest) -> Image.Image:
        """Return the mask in grey, scaled to the picture that it belongs to and cropped with it.

        A picture that is varied was cropped already when it was first drawn: so is its mask, in the same way.
        """
        assert self.mask is not None
        scaled = ImageOps.fit(self.mask.convert("L"), self.picture.size, Image.Resampling.BILINEAR)
        return _cropped(scaled, request)


def _cropped(picture: Image.Image, request: GenerationRequest) -> Image.Image:
    return ImageOps.fit(picture, (request.width, request.height), Image.Resampling.LANCZOS)


Options = Callable[[ModelSpec, GenerationRequest, Sequence[Start]], dict[str, Any]]
"""(spec, request, the start of each picture of a batch) → options of the pipeline's call."""


def _nothing(spec: ModelSpec, request: GenerationRequest, starts: Sequence[Start]) -> dict[str, Any]:
    return {}


def _from_noise_on_picture(spec: ModelSpec, request: GenerationRequest, starts: Sequence[Start]) -> dict[str, Any]:
    return {"image": [start.cropped(request) for start in starts], "strength": request.strength}


def _kontext(spec: ModelSpec, request: GenerationRequest, starts: Sequence[Start]) -> dict[str, Any]:
    # Without an area the pipeline would draw a megapixel, whatever size is asked for. The picture to edit is read in
    # one of the sizes that the model was trained with, where it is not a small one.
    return {
        "image": [_readable(start.picture, spec) for start in starts],
        "max_area": request.width * request.height,
        "_auto_resize": spec.native_short_side is None,
    }


def _fill(spec: ModelSpec, request: GenerationRequest, starts: Sequence[Start]) -> dict[str, Any]:
    # One picture for each seed: given only one, the pipeline would let the first seed speak for all.
    return {
        "image": [start.cropped(request) for start in starts],
        "mask_image": starts[0].cropped_mask(request),
        "strength": 1.0,
    }


def _klein(spec: ModelSpec, request: GenerationRequest, starts: Sequence[Start]) -> dict[str, Any]:
    # Several pictures would be several things to look at for each of those drawn.
    return {"image": _readable(starts[0].picture, spec)}


def _readable(picture: Image.Image, spec: ModelSpec) -> Image.Image:
    """Return a picture in a size that the model reads: about a megapixel, no side extremely short."""
    size = spec.size_for_ratio(picture.width / picture.height)
    return ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)


def _as_drawn(picture: Image.Image, start: Start | None, request: GenerationRequest) -> Image.Image:
    return picture


def _outside_kept(picture: Image.Image, start: Start | None, request: GenerationRequest) -> Image.Image:
    """Put the brought picture back where its mask is black: the network only draws something like it there."""
    assert start is not None
    return Image.composite(picture, start.cropped(request), start.cropped_mask(request))


@dataclass(frozen=True, slots=True)
class Way:
    """How an operation is drawn."""

    pipeline: type[DiffusionPipeline]
    options: Options = _nothing
    finish: Callable[[Image.Image, Start | None, GenerationRequest], Image.Image] = _as_drawn
    """What is done with a drawn picture at last."""
    one_start: bool = False
    """Whether all pictures of a call start from the same one."""


@dataclass(frozen=True, slots=True)
class Family:
    """How an architecture is loaded, and what draws its operations."""

    loads: type[DiffusionPipeline]
    ways: Mapping[Operation, Way]


FAMILIES: Mapping[Architecture, Family] = {
    Architecture.FLUX: Family(
        FluxPipeline,
        {
            Operation.TEXT_TO_IMAGE: Way(FluxPipeline),
            Operation.IMAGE_TO_IMAGE: Way(FluxImg2ImgPipeline, _from_noise_on_picture),
        },
    ),
    Architecture.KONTEXT: Family(
        FluxKontextPipeline, {Operation.EDIT: Way(FluxKontextPipeline, _kontext, one_start=True)}
    ),
    Architecture.FILL: Family(
        FluxFillPipeline, {Operation.INPAINT: Way(FluxFillPipeline, _fill, _outside_kept, one_start=True)}
    ),
    # The picture is part of the words: `illustrated` puts it there.
    Architecture.REDUX: Family(FluxPriorReduxPipeline, {Operation.VARIATION: Way(FluxPipeline)}),
    Architecture.KLEIN: Family(
        Flux2KleinPipeline,
        {
            Operation.TEXT_TO_IMAGE: Way(Flux2KleinPipeline),
            Operation.EDIT: Way(Flux2KleinPipeline, _klein, one_start=True),
        },
    ),
}


def pipelines_of(architecture: Architecture, loaded: DiffusionPipeline) -> dict[Operation, DiffusionPipeline]:
    """Return what draws each operation with the modules of ``loaded``: further pipelines cost no memory."""
    found: dict[Operation, DiffusionPipeline] = {}
    for operation, way in FAMILIES[architecture].ways.items():
        if isinstance(loaded, way.pipeline):
            found[operation] = loaded
        else:
            # Built from the very same modules; `from_pipe` may cast them.
            found[operation] = way.pipeline(**loaded.components)
            found[operation].set_progress_bar_config(disable=True)
    return found


def encoded(pipeline: Any, prompt: str, max_sequence_length: int) -> Words:
    """Return ``prompt`` as the network of ``pipeline`` reads it, in ``max_sequence_length`` tokens."""
    found = pipeline.encode_prompt(prompt, max_sequence_length=max_sequence_length)
    # FLUX.1 answers (tokens, summary, positions), FLUX.2 (tokens, positions).
    return Words(found[0], found[1] if len(found) == 3 else None)


def illustrated(words: Words, prior: Any, picture: Image.Image, device: torch.device) -> Words:
    """Put what Redux' ``prior`` sees in ``picture`` behind the words, as its own pipeline does where it has them."""
    seen = prior.image_embedder(prior.encode_image(picture.convert("RGB"), device, 1)).image_embeds
    return Words(torch.cat([words.embeds, seen.to(words.embeds)], dim=1), words.pooled)


def words_as_options(words: Sequence[Words]) -> dict[str, Any]:
    """Return the options that give a pipeline's call its words, a row for each picture."""
    options: dict[str, Any] = {"prompt_embeds": torch.cat([one.embeds for one in words])}
    pooled = [one.pooled for one in words if one.pooled is not None]
    return options | ({"pooled_prompt_embeds": torch.cat(pooled)} if pooled else {})
