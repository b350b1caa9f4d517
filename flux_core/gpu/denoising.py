"""Follow a drawing step by step: count, show, and stop it when nobody wants the rest."""

from __future__ import annotations

from typing import Any

import torch

from flux_core.gpu.latents import unpack
from flux_core.gpu.previews import LatentPreview, predicted
from flux_core.providers.base import Progress


class StepWatch:
    """A pipeline's ``callback_on_step_end`` for one batch among several of the same request.

    What ``progress.step`` raises goes through the pipeline, which stays usable. (Its ``_interrupt`` flag would decode
    what is there and return it as if it were finished.)
    """

    def __init__(
        self, progress: Progress, preview: LatentPreview, *, latent_size: tuple[int, int], batch: int, batches: int
    ) -> None:
        """Watch batch number ``batch`` of ``batches``; ``latent_size`` is (height, width) of the latents."""
        self._progress = progress
        self._preview = preview
        self._latent_size = latent_size
        self._batch = batch
        self._batches = batches
        self._before: torch.Tensor | None = None
        self._behind: torch.cuda.Event | None = None

    def __call__(self, pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """Take note of one finished step."""
        latents: torch.Tensor = tensors["latents"]
        self._keep_pace(latents.device)
        total = pipeline.num_timesteps
        self._progress.step(self._batch * total + index + 1, self._batches * total)
        before, self._before = self._before, latents
        if before is not None:
            at = pipeline.scheduler.step_index
            noise = pipeline.scheduler.sigmas

            def show() -> Any:
                x0 = predicted(before, latents, float(noise[at - 1]), float(noise[at]))
                return self._preview.show(unpack(x0, *self._latent_size))

            self._progress.preview(show)
        return tensors

    def _keep_pace(self, device: torch.device) -> None:
        """Let the card be at most one step behind: work queued ahead could be neither reported nor cancelled."""
        if device.type != "cuda":
            return
        if self._behind is not None:
            self._behind.synchronize()
        self._behind = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._behind.record(torch.cuda.current_stream(device))
