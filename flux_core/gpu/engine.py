"""Draw requests with FLUX on one device."""

from __future__ import annotations

import gc
from typing import Any

import torch
from PIL import Image, ImageOps

from flux_core.errors import DrawingBroken, FluxError, OutOfMemory
from flux_core.generation import GenerationRequest
from flux_core.gpu.denoising import StepWatch
from flux_core.gpu.device import free_bytes, precision, weight_bytes
from flux_core.gpu.latents import unpack
from flux_core.gpu.loading import HEADROOM, LoadedModel, load
from flux_core.models import MEGAPIXEL, ModelSpec
from flux_core.providers.base import Progress

BATCH_PIXELS = {"cpu": MEGAPIXEL}
BATCH_PIXELS_ELSEWHERE = 4 * MEGAPIXEL
"""Most pixels drawn at once: larger batches gain nothing and their memory grows."""


class Engine:
    """The models of one device. Not thread-safe: one call at a time, all from one thread."""

    def __init__(self, device: torch.device, *, hub_token: str | None = None) -> None:
        """Take a device; nothing is loaded yet. ``hub_token`` opens gated repositories of the hub."""
        self.device = device
        self._hub_token = hub_token
        self._loaded: dict[str, LoadedModel] = {}

    @property
    def loaded(self) -> list[str]:
        """Return the ids of the models in memory, the longest unused first."""
        return list(self._loaded)

    def draw(
        self, spec: ModelSpec, request: GenerationRequest, input_image: Image.Image | None, progress: Progress
    ) -> list[Image.Image]:
        """Draw all pictures of ``request``: RGB, ``request.width`` × ``request.height`` pixels.

        The same request gives the same bytes on the same machine; picture i of a batch is the single picture of
        seed + i, give or take one level in 8 bits. Raises ModelUnavailable, OutOfMemory, DrawingBroken, or what
        ``progress.step`` raised.
        """
        try:
            model = self._model(spec)
            with torch.inference_mode():
                return self._draw(model, request, input_image, progress)
        except FluxError:
            raise
        except torch.OutOfMemoryError as error:
            # The traceback holds on to the very tensors that did not fit.
            raise OutOfMemory(f"{spec.id} at {request.width}×{request.height}: {_first_line(error)}") from None
        except Exception as error:
            raise DrawingBroken(f"{spec.id}: {type(error).__name__}: {_first_line(error)}") from error

    def unload(self) -> None:
        """Forget every model and give its memory back."""
        self._loaded.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _model(self, spec: ModelSpec) -> LoadedModel:
        model = self._loaded.pop(spec.id, None)
        if model is None or model.spec != spec:
            if self._loaded and not self._room_for(spec):
                self.unload()
            model = self._load(spec)
        self._loaded[spec.id] = model
        return model

    def _load(self, spec: ModelSpec) -> LoadedModel:
        try:
            return load(spec, self.device, self._hub_token)
        except torch.OutOfMemoryError:
            if not self._loaded:
                raise
        self.unload()
        return load(spec, self.device, self._hub_token)

    def _room_for(self, spec: ModelSpec) -> bool:
        wanted, free = weight_bytes(spec.source or "", precision(self.device)), free_bytes(self.device)
        return wanted is not None and free is not None and wanted * HEADROOM < free

    def _draw(
        self, model: LoadedModel, request: GenerationRequest, input_image: Image.Image | None, progress: Progress
    ) -> list[Image.Image]:
        if input_image is not None:
            input_image = ImageOps.fit(
                input_image.convert("RGB"), (request.width, request.height), Image.Resampling.LANCZOS
            )
        most = max(1, BATCH_PIXELS.get(self.device.type, BATCH_PIXELS_ELSEWHERE) // (request.width * request.height))
        seeds = list(request.seeds)
        while True:
            batches = [seeds[at : at + most] for at in range(0, len(seeds), most)]
            progress.step(0, request.steps_taken * len(batches))
            try:
                return [
                    picture
                    for n, batch in enumerate(batches)
                    for picture in self._draw_batch(model, request, input_image, batch, n, len(batches), progress)
                ]
            except torch.OutOfMemoryError:
                if most == 1:
                    raise
            most = max(1, min(most, len(seeds)) // 2)
            torch.cuda.empty_cache()

    def _draw_batch(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        input_image: Image.Image | None,
        seeds: list[int],
        number: int,
        batches: int,
        progress: Progress,
    ) -> list[Image.Image]:
        pipeline = model.text_to_image
        scale = pipeline.vae_scale_factor
        latent_size = (request.height // scale, request.width // scale)
        watch = StepWatch(progress, model.preview, latent_size=latent_size, batch=number, batches=batches)
        options: dict[str, Any] = {
            "prompt": request.prompt,
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.steps,
            "guidance_scale": 1.0 if request.guidance is None else request.guidance,
            "max_sequence_length": model.spec.max_sequence_length,
            "num_images_per_prompt": len(seeds),
            # Noise comes from the CPU, so that a seed means the same picture on every kind of device.
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "callback_on_step_end": watch,
            "output_type": "latent",
            "return_dict": False,
        }
        if input_image is not None:
            pipeline = model.image_to_image
            options |= {"image": [input_image] * len(seeds), "strength": request.strength}
        latents = unpack(pipeline(**options)[0], *latent_size)
        # One at a time: the decoder's memory does not grow with the batch, and a batch decodes as single runs do.
        return [self._decode(pipeline, latents[n : n + 1]) for n in range(len(seeds))]

    def _decode(self, pipeline: Any, latents: torch.Tensor) -> Image.Image:
        vae = pipeline.vae
        pixels = vae.decode(latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0), return_dict=False)[
            0
        ]
        if not torch.isfinite(pixels).all():
            raise DrawingBroken(f"{pipeline.__class__.__name__} drew numbers that are no colours.")
        picture: Image.Image = pipeline.image_processor.postprocess(pixels, output_type="pil")[0]
        return picture


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
