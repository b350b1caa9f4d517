"""How far the pictures of the quicker modes are from those of quality: so that no broken picture is called fast."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10

import numpy
import torch
from PIL import Image
from torch.nn import functional

from flux_core.catalogue import Catalogue
from flux_core.generation import RequestOptions, resolve
from flux_core.gpu.engine import Engine
from flux_core.gpu.unwatched import Unwatched
from flux_core.models import Mode, ModelSpec

PROMPTS = (
    "a red circle",
    "a blue square on a yellow background",
    "a green star above a purple triangle",
    "two orange circles on a black background",
)
"""What flux-tiny can draw; any model can."""
SEED = 11
EMULATED = "cpu-fp8"
"""The profile that shows, without a card, what 8 bits do."""

WINDOW, DEVIATION = 11, 1.5
STEADY = (0.01**2, 0.03**2)
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, finest first. These and the window are those of Wang, Simoncelli and Bovik, "Multi-scale structural
similarity for image quality assessment", 2003."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near drawings are to those of quality: the mean and the worst of them."""

    psnr: float
    """Decibels; infinite where nothing differs."""
    worst_psnr: float
    similarity: float
    """Multi-scale structural similarity, 1 where nothing differs: nearer to what people see than decibels are."""
    worst_similarity: float


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two pictures of one size, in decibels."""
    error = float((_numbers(one) - _numbers(other)).square().mean())
    return -10 * log10(error) if error > 0 else inf


def similarity(one: Image.Image, other: Image.Image) -> float:
    """Return the multi-scale structural similarity of two pictures of one size, at least 11 pixels a side.

    With as many of the five scales as the size has room for.
    """
    first, second = _numbers(one), _numbers(other)
    scales = min(len(WEIGHTS), 1 + int(numpy.log2(min(one.size) / WINDOW)))
    weights = torch.tensor(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    told = torch.ones(())
    for scale, weight in enumerate(weights):
        light, structure = _compared(first, second)
        last = scale == scales - 1
        told = told * (structure * light if last else structure).mean().clamp(min=0) ** weight
        first, second = functional.avg_pool2d(first, 2), functional.avg_pool2d(second, 2)
    return float(told)


def compare(exact: Sequence[Image.Image], pictures: Sequence[Image.Image]) -> Fidelity:
    """Return how near ``pictures`` are to the ``exact`` ones of the same requests."""
    pairs = list(zip(exact, pictures, strict=True))
    decibels, alike = [psnr(*pair) for pair in pairs], [similarity(*pair) for pair in pairs]
    return Fidelity(sum(decibels) / len(pairs), min(decibels), sum(alike) / len(pairs), min(alike))


def errors(
    spec: ModelSpec,
    device: torch.device,
    *,
    modes: Collection[Mode] = (Mode.FAST, Mode.TURBO),
    prompts: Sequence[str] = PROMPTS,
    engine: Callable[..., Engine] = Engine,
) -> Mapping[Mode, Fidelity]:
    """Draw ``prompts`` with the model ``spec`` and return how near the quicker ``modes`` are to quality.

    Without a card, fast is emulated: the same rounding, and no speed. A mode that the device does not have is left out.
    """
    usual = engine(device)
    exact = _drawn(usual, spec, Mode.QUALITY, prompts)
    told: dict[Mode, Fidelity] = {}
    for mode in modes:
        able = usual
        if mode is Mode.FAST and device.type == "cpu":
            able = engine(device, profile=EMULATED)
        if able.profiles.standing(spec, mode).mode is mode:
            told[mode] = compare(exact, _drawn(able, spec, mode, prompts))
    return told


def _drawn(engine: Engine, spec: ModelSpec, mode: Mode, prompts: Sequence[str]) -> list[Image.Image]:
    catalogue = Catalogue({spec.id: spec.source or ""})
    pictures = []
    for number, prompt in enumerate(prompts):
        options = RequestOptions(prompt=prompt, seed=SEED + number, count=1, mode=mode.value)
        pictures += engine.draw(spec, resolve(options, catalogue), None, Unwatched())
    return pictures


def _numbers(picture: Image.Image) -> torch.Tensor:
    """Return a picture as (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(numpy.asarray(picture.convert("RGB"), dtype=numpy.float32) / 255).permute(2, 0, 1)[None]


def _compared(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how alike pictures (1, 3, H, W) are in light, and in contrast and structure, around every pixel."""
    steps = torch.arange(WINDOW) - WINDOW // 2
    bell = torch.exp(-(steps**2) / (2 * DEVIATION**2))
    window = torch.outer(bell, bell)
    window = (window / window.sum()).expand(3, 1, WINDOW, WINDOW)

    def around(values: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(values, window, groups=3)

    a, b = around(one), around(other)
    spread = around(one * one) - a * a + around(other * other) - b * b
    joint = around(one * other) - a * b
    light = (2 * a * b + STEADY[0]) / (a * a + b * b + STEADY[0])
    return light, (2 * joint + STEADY[1]) / (spread + STEADY[1])
