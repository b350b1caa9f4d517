"""Draw flat colours by a script: for tests and load benches, without torch and without a GPU."""

from __future__ import annotations

import asyncio
import colorsys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image, ImageOps

from flux_core.catalogue import Catalogue
from flux_core.errors import GenerationFailed
from flux_core.generation import GenerationRequest
from flux_core.models import Mode
from flux_core.offers import Offer, own_offers
from flux_core.providers.base import Drawing, Drawn, DrawTask, Progress
from flux_core.router import LOCAL

GOLDEN_RATIO = 0.618033988749895
"""Neighbouring seeds get hues far apart."""


class ScriptedProvider:
    """A provider whose pictures, delays and failures are known beforehand."""

    name = LOCAL
    """It stands in for our own cards."""
    device = "script"
    hosted = False
    closed: str | None = None

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        step_seconds: float = 0.0,
        script: Iterable[GenerationFailed | None] = (),
        concurrency: int = 1,
        further: float = 1.0,
    ) -> None:
        """Offer the catalogue's models, taking ``step_seconds`` a step.

        ``script`` has one entry for each coming job: None draws, an error is raised after half of the steps. When it is
        used up, everything is drawn. ``further``: what each further job drawn together with the first one adds to a
        step, in parts of it.
        """
        self._catalogue = catalogue
        self._step_seconds = step_seconds
        self._script = deque(script)
        self._further = further
        self.concurrency = concurrency
        self.tasks: list[DrawTask] = []
        """Every task that was begun, in order."""
        self.together: list[int] = []
        """How many of them each drawing had."""

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return every model of the catalogue that has weights; none are ever read."""
        return own_offers(self._catalogue, lambda spec: tuple(Mode))

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        """Draw flat pictures in the colours of their seeds, or fail as the script says."""
        (outcome,) = await self.draw_together([task], [progress])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def draw_together(
        self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]
    ) -> Sequence[Drawing | Exception]:
        """Draw several tasks step by step, each with its own entry of the script."""
        self.tasks.extend(tasks)
        self.together.append(len(tasks))
        failures = [self._script.popleft() if self._script else None for _ in tasks]
        total = tasks[0].request.steps
        ended: dict[int, Exception] = {}
        for step in range(total + 1):
            if step:
                await asyncio.sleep(self._step_seconds * (1 + self._further * (len(tasks) - 1)))
            for place, (task, progress, failure) in enumerate(zip(tasks, progresses, failures, strict=True)):
                if place in ended:
                    continue
                try:
                    self._step(task, progress, failure, step, total)
                except Exception as error:
                    ended[place] = error
            if len(ended) == len(tasks):
                break
        return [ended.get(place) or self._drawing(task) for place, task in enumerate(tasks)]

    def _step(
        self, task: DrawTask, progress: Progress, failure: GenerationFailed | None, step: int, total: int
    ) -> None:
        if failure is not None and step > total // 2:
            raise failure
        progress.step(step, total)
        if step:
            progress.preview(lambda: self._picture(task, task.request.seed))

    def _drawing(self, task: DrawTask) -> Drawing:
        pictures = tuple(Drawn(image=self._picture(task, seed), seed=seed) for seed in task.request.seeds)
        return Drawing(pictures=pictures, mode=task.request.mode)

    async def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _picture(self, task: DrawTask, seed: int) -> Image.Image:
        request = task.request
        enlarge = self._catalogue[request.model].enlarge
        flat = Image.new("RGB", (request.width * enlarge, request.height * enlarge), colour_of(seed))
        if task.input_image is None:
            return flat
        return Image.blend(ImageOps.fit(task.input_image, flat.size), flat, strength_of(request))


def colour_of(seed: int) -> tuple[int, int, int]:
    """Return the RGB colour that stands for ``seed``."""
    red, green, blue = colorsys.hsv_to_rgb(seed * GOLDEN_RATIO % 1, 0.7, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def strength_of(request: GenerationRequest) -> float:
    """Return how much of the input picture is drawn over, 0 to 1."""
    return 1.0 if request.strength is None else request.strength
