"""What a bench asks for: sizes, modes, numbers, and what a model is given to begin with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from flux_core.catalogue import Catalogue
from flux_core.generation import GenerationRequest, InputPicture, RequestOptions, resolve
from flux_core.gpu import fidelity
from flux_core.gpu.unwatched import Unwatched
from flux_core.models import Mode, ModelSpec, Operation

PROMPT = "a red circle on a blue background, number {}"
"""Another one each time, so that no words are known already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    sizes: Sequence[str] = ()
    """Aspects or sizes as a member types them; empty: those that the model usually draws."""
    modes: Sequence[Mode] = tuple(Mode)
    runs: int = 3
    batch: int = 4
    steps: int | None = None
    """None: as many as the model usually takes."""
    minutes: float = 30
    """After which nothing more is begun, and a drawing is given up at its next step."""
    prompts: int = len(fidelity.PROMPTS)
    """Pictures that are compared with quality."""

    def sizes_for(self, spec: ModelSpec) -> Sequence[str]:
        """Return what is drawn where no size is named."""
        return self.sizes or (("1:1", "16:9") if spec.native_short_side is not None else ("512x512", "1024x1024"))

    def only_first(self, spec: ModelSpec) -> Plan:
        """Return the plan with its first size alone."""
        return replace(self, sizes=self.sizes_for(spec)[:1])


@dataclass
class Clock(Unwatched):
    """Notes when the steps of a drawing end."""

    ends: list[float] = field(default_factory=list)

    def step(self, done: int, total: int) -> None:
        if done:
            self.ends.append(time.perf_counter())


def asked(spec: ModelSpec, catalogue: Catalogue, size: str, mode: Mode, pictures: int, plan: Plan) -> GenerationRequest:
    """Return what a member would have to ask for; raises the InvalidRequest that such a member would get."""
    exact = "x" in size.lower()
    options = RequestOptions(
        prompt=PROMPT,
        model=spec.id,
        size=size if exact else None,
        aspect=None if exact else size,
        count=pictures,
        seed=0,
        steps=plan.steps,
        mode=mode.value,
    )
    brought = InputPicture(key="", width=1024, height=1024)
    picture, mask = (None if one is None else brought for one in given(spec))
    return resolve(options, catalogue, picture=picture, mask=mask)


def given(spec: ModelSpec) -> tuple[Image.Image | None, Image.Image | None]:
    """Return the picture and the mask for a model that draws nothing from words alone."""
    if Operation.TEXT_TO_IMAGE in spec.operations:
        return None, None
    ramp = Image.linear_gradient("L").resize((1024, 1024))
    picture = Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180)))
    half = Image.new("L", (1024, 1024))
    half.paste(255, (0, 0, 512, 1024))
    return picture, half.convert("RGB") if Operation.INPAINT in spec.operations else None
