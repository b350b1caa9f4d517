"""What goes into a drawing and what comes out of each stage of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image

from flux_core.errors import DrawingBroken
from flux_core.generation import GenerationRequest
from flux_core.gpu.decoding import Decoder
from flux_core.gpu.denoising import Audience
from flux_core.gpu.pipelines import FAMILIES, Start, Way
from flux_core.models import Mode, ModelSpec, Operation
from flux_core.providers.base import Progress

Outcome = list[Image.Image] | Exception
"""The pictures of a piece, or why there are none."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One request among those drawn side by side."""

    request: GenerationRequest
    input_image: Image.Image | None
    progress: Progress
    input_mask: Image.Image | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """Return what all pieces of a drawing have in common."""
        request = self.request
        size = (request.model, request.width, request.height, request.mode)
        return (*size, request.steps, request.guidance, request.strength, request.lora, self.input_image is None)

    @property
    def start(self) -> Start | None:
        """Return what the drawing starts from."""
        return None if self.input_image is None else Start(self.input_image, self.input_mask)

    def way(self, spec: ModelSpec) -> tuple[Operation, Way]:
        """Return what ``spec`` makes of what it is given, and how."""
        operation = spec.operation(picture=self.input_image is not None, mask=self.input_mask is not None)
        return operation, FAMILIES[spec.architecture].ways[operation]

    def finished(self, spec: ModelSpec, picture: Image.Image) -> Image.Image:
        """Return a picture that ``spec`` drew for it as it is handed out."""
        return self.way(spec)[1].finish(picture, self.start, self.request)


class Shot(NamedTuple):
    """One picture to draw: for which piece, from which seed."""

    piece: int
    seed: int


class Latent(NamedTuple):
    """One picture that is drawn and not decoded: latents (1, C, h, w) of which piece."""

    piece: int
    values: torch.Tensor


@dataclass(frozen=True, slots=True)
class Sketch:
    """A drawing whose steps are done, as far as anybody still wanted it."""

    spec: ModelSpec
    pieces: Sequence[Piece]
    audience: Audience
    latents: Sequence[Latent] = ()
    decoder: Decoder | None = None
    """Keeps the VAE alive, and nothing else of the model; None where there is nothing to decode."""
    ready: torch.cuda.Event | None = None
    """When the card has computed the latents; None where they are there."""
    beside: bool = False
    """Whether it may be decoded in another thread while the next drawing goes on."""
    mode: Mode = Mode.QUALITY
    """The mode it was drawn in."""


class Flawed(DrawingBroken):
    """Say that what was drawn is no picture, or looks like none: ``pictures`` is then all one colour."""

    def __init__(self, detail: str, pictures: list[Image.Image] | None = None) -> None:
        """Tell what is wrong; ``pictures``: what was drawn, where that can be shown."""
        super().__init__(detail)
        self.pictures = pictures
