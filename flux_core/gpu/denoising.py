"""Follow a drawing step by step: count, show, and stop it when nobody wants the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from PIL import Image

from flux_core.errors import Cancelled
from flux_core.gpu.latents import unpack
from flux_core.gpu.previews import LatentPreview, predicted
from flux_core.providers.base import Progress


class Audience:
    """Those for whom pictures are drawn in one go: each hears of every step, and may leave while others stay."""

    def __init__(self, progresses: Sequence[Progress]) -> None:
        """Begin with everybody there."""
        self._progresses = progresses
        self.left: dict[int, Exception] = {}
        """Why who is gone: place in ``progresses`` → what was raised."""

    def step(self, done: int, total: int) -> None:
        """Tell of a step; raises what the first to leave raised, once nobody is there any more."""
        for place, progress in enumerate(self._progresses):
            if place in self.left:
                continue
            try:
                progress.step(done, total)
            except Exception as error:
                self.leave(place, error)

    def look(self) -> None:
        """Let those go who do not want the rest any more, between steps as well; raises as ``step`` does."""
        for place in range(len(self._progresses)):
            if not self.wants(place) and len(self.left) == len(self._progresses):
                raise next(iter(self.left.values()))

    def wants(self, place: int) -> bool:
        """Say whether the one at ``place`` is still there, and still wants the drawing."""
        if place not in self.left and self._progresses[place].cancelled:
            self.left[place] = Cancelled("Nobody wants the drawing any more.")
        return place not in self.left

    def leave(self, place: int, error: Exception) -> None:
        """Go on without the one at ``place``; raises as ``step`` does."""
        self.left[place] = error
        if len(self.left) == len(self._progresses):
            raise next(iter(self.left.values()))

    def preview(self, place: int, show: Callable[[], Image.Image]) -> None:
        """Offer a preview to the one at ``place``."""
        if place not in self.left:
            self._progresses[place].preview(show)


class StepWatch:
    """A pipeline's ``callback_on_step_end`` for one batch among several of the same drawing.

    What ``audience.step`` raises goes through the pipeline, which stays usable. (Its ``_interrupt`` flag would decode
    what is there and return it as if it were finished.)
    """

    def __init__(
        self,
        audience: Audience,
        preview: LatentPreview,
        *,
        latent_size: tuple[int, int],
        unpack: Callable[[torch.Tensor, int, int], torch.Tensor] = unpack,
        rows: Mapping[int, slice],
        batch: int,
        batches: int,
        on_step: Callable[[], None],
    ) -> None:
        """Watch batch number ``batch`` of ``batches``; ``latent_size`` is (height, width) of the latents,
        which ``unpack`` makes of tokens.

        ``rows``: which pictures of the batch belong to whom in the audience. ``on_step`` is called after each step,
        before anybody hears of it.
        """
        self._audience = audience
        self._preview = preview
        self._latent_size = latent_size
        self._unpack = unpack
        self._rows = rows
        self._batch = batch
        self._batches = batches
        self._on_step = on_step
        self._before: torch.Tensor | None = None
        self._behind: torch.cuda.Event | None = None

    def __call__(self, pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """Take note of one finished step."""
        latents: torch.Tensor = tensors["latents"]
        self._keep_pace(latents.device)
        self._on_step()
        total = pipeline.num_timesteps
        self._audience.step(self._batch * total + index + 1, self._batches * total)
        before, self._before = self._before, latents
        if before is not None:
            at = pipeline.scheduler.step_index
            noise = pipeline.scheduler.sigmas

            @cache
            def x0() -> torch.Tensor:
                heading = predicted(before, latents, float(noise[at - 1]), float(noise[at]))
                return self._unpack(heading, *self._latent_size)

            for place, rows in self._rows.items():
                self._audience.preview(place, lambda rows=rows: self._preview.show(x0()[rows]))  # type: ignore[misc]
        return tensors

    def _keep_pace(self, device: torch.device) -> None:
        """Let the card be at most one step behind: work queued ahead could be neither reported nor cancelled."""
        if device.type != "cuda":
            return
        if self._behind is not None:
            self._behind.synchronize()
        self._behind = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._behind.record(torch.cuda.current_stream(device))
