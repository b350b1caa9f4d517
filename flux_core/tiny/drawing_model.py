"""Draw with the shipped weights the way the worker does, for the evaluation and the sample sheet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxImg2ImgPipeline, FluxPipeline
from PIL import Image

from flux_core.tiny.definition import GUIDANCE, MAX_SEQUENCE_LENGTH, STEPS, WEIGHTS


class DrawingModel:
    """The shipped pipeline, in fp32 on the CPU."""

    def __init__(self, folder: Path = WEIGHTS) -> None:
        self.pipeline = FluxPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        self.pipeline.set_progress_bar_config(disable=True)
        self._img2img = FluxImg2ImgPipeline(**self.pipeline.components)
        self._img2img.set_progress_bar_config(disable=True)

    def draw(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        size: tuple[int, int] = (128, 128),
    ) -> list[Image.Image]:
        """Draw one picture a prompt at its native size."""
        return self._run(self.pipeline, prompts, seeds, steps, guidance, size, {})

    def redraw(
        self,
        images: Sequence[Image.Image],
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        strength: float,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
    ) -> list[Image.Image]:
        """Draw each picture anew towards its prompt; `strength` 0 keeps it, 1 starts from nothing."""
        options = {"image": list(images), "strength": strength}
        return self._run(self._img2img, prompts, seeds, steps, guidance, images[0].size, options)

    def _run(
        self,
        pipeline: Any,
        prompts: Sequence[str],
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        size: tuple[int, int],
        options: dict[str, Any],
    ) -> list[Image.Image]:
        images: list[Image.Image] = pipeline(
            prompt=list(prompts),
            width=size[0],
            height=size[1],
            num_inference_steps=steps,
            guidance_scale=guidance,
            max_sequence_length=MAX_SEQUENCE_LENGTH,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            **options,
        ).images
        return images
