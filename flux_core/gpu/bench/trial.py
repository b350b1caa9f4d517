"""Measure drawing on this machine: through the very provider that a worker uses, warmed up, the median of several."""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import torch

from flux_core.catalogue import Catalogue
from flux_core.downloads import comes_from_hub
from flux_core.errors import ConfigurationError, ModelUnavailable
from flux_core.generation import GenerationRequest
from flux_core.gpu import fidelity
from flux_core.gpu.bench import work
from flux_core.gpu.bench.plan import PROMPT, Clock, Plan, asked, given
from flux_core.gpu.bench.report import RANDOM_WEIGHTS, Bench, Drawn, Error, Failed
from flux_core.gpu.descent import Descent
from flux_core.gpu.device import choose_device, facts_of, free_bytes
from flux_core.gpu.engine import Engine
from flux_core.gpu.fitting import number_type
from flux_core.gpu.loading import RANDOM
from flux_core.gpu.profile import Profile, Weights
from flux_core.gpu.shapes import SHAPES, Part, build, parameters
from flux_core.gpu.shortage import first_line
from flux_core.models import Mode, Operation
from flux_core.providers.base import DrawTask
from flux_core.providers.local import LocalProvider

NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}


class Trial:
    """One model on one device."""

    def __init__(
        self,
        catalogue: Catalogue,
        model: str,
        *,
        device: str,
        threads: int,
        hub_token: str | None,
        profile: str = "auto",
    ) -> None:
        """Choose both; raises UnknownModel, or ConfigurationError for what this machine cannot do.

        ``profile``: GPU_PROFILE, as a worker here would have it.
        """
        self.spec = catalogue[model]
        if self.spec.source is None:
            raise ConfigurationError(f"{model} is drawn by hosted providers alone; {self.spec.setting} names weights.")
        self.device = choose_device(device)
        self._catalogue = catalogue
        self._numbers = count(1)
        self._hub_token = hub_token
        self._threads = threads
        self._named = profile
        self._profiles = Descent(facts_of(self.device), profile)
        self._provider: LocalProvider | None = None
        if self.spec.source == RANDOM:
            self._check_memory()

    def _check_memory(self) -> None:
        wanted = sum(parameters(self.spec.id).values()) * (4 if self.device.type == "cpu" else 2)
        free = free_bytes(torch.device("cpu")) if self.device.type == "cpu" else None
        if free is not None and free < wanted:
            raise ConfigurationError(
                f"{self.spec.id} takes {wanted / 2**30:.0f} GiB of memory here, and {free / 2**30:.0f} GiB are free."
            )

    def check(self, plan: Plan) -> None:
        """Raise the InvalidRequest that says which of its sizes or steps nobody could ask for."""
        for size in plan.sizes_for(self.spec):
            self._asked(size, Mode.QUALITY, plan.batch, plan)

    def profile(self, mode: Mode = Mode.QUALITY) -> Profile:
        """Return how the model is held for ``mode``, and once it was measured: was held in the end."""
        return self._profiles.standing(self.spec, mode)

    async def run(
        self,
        plan: Plan,
        tell: Callable[[str], None] = lambda text: None,
        keep: Callable[[Bench], None] = lambda found: None,
    ) -> Bench:
        """Measure all of ``plan``; ``tell`` what is being measured, and give ``keep`` what is known after each figure.

        What fails is noted, and the next figure is taken. Raises ModelUnavailable; and where nothing was drawn, what
        the first failure was, or a ConfigurationError where that was the time.
        """
        provider = self._provider = LocalProvider(
            self._catalogue,
            device=str(self.device),
            threads=self._threads,
            hub_token=self._hub_token,
            profile=self._named,
        )
        self._profiles = provider.profiles
        offered = provider.offers[self.spec.id].modes
        self._found = self._described(provider, [mode for mode in plan.modes if mode not in offered])
        try:
            if comes_from_hub(self.spec):
                tell("nothing yet: the weights are fetched")
                await provider.fetch(self._asked(plan.sizes_for(self.spec)[0], Mode.QUALITY, 1, plan))
            first = await self._rounds(plan, [mode for mode in plan.modes if mode in offered], tell, keep)
        finally:
            await provider.close()
        if first is not None and not self._found.drawings:
            if isinstance(first, TimeoutError):
                raise ConfigurationError(f"Nothing was drawn in {plan.minutes:g} minutes; --minutes allows more.")
            raise first
        if not isinstance(first, TimeoutError):
            tell("error against quality")
            try:
                self._note(keep, errors=await asyncio.to_thread(self._errors, plan))
            except Exception as error:
                self._note(keep, failed=(*self._found.failed, Failed(what="error against quality", why=_said(error))))
        return self._note(keep, complete=True)

    def _described(self, provider: LocalProvider, left_out: Sequence[Mode]) -> Bench:
        return Bench(
            device=provider.device,
            model=self.spec.id,
            weights=RANDOM_WEIGHTS if self.spec.source == RANDOM else "real",
            profile=self.profile().name,
            why=self.profile().why,
            versions={name: version(name) for name in ("torch", "diffusers")},
            threads=self._threads or torch.get_num_threads(),
            command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            rates={},
            left_out=tuple(mode.value for mode in left_out),
        )

    def _note(self, keep: Callable[[Bench], None], **known: object) -> Bench:
        profile = self.profile()
        self._found = self._found.model_copy(update={"profile": profile.name, "why": profile.why, **known})
        keep(self._found)
        return self._found

    async def _rounds(
        self, plan: Plan, modes: Sequence[Mode], tell: Callable[[str], None], keep: Callable[[Bench], None]
    ) -> Exception | None:
        """Take one figure after the other; return what went wrong first, a TimeoutError where the time was over."""
        sizes, troubles = plan.sizes_for(self.spec), list[Exception]()
        usual = self._asked(sizes[0], Mode.QUALITY, 1, plan)

        async def cold() -> None:
            self._note(keep, cold_seconds=(await self._timed(usual))[0])

        async def rates() -> None:
            self._note(keep, rates=await asyncio.to_thread(self._rates))

        async def drawn(mode: Mode, size: str) -> None:
            found = await self._drawn(size, mode, plan, self._found.rates)
            self._note(keep, drawings=(*self._found.drawings, found))

        async def gap() -> None:
            self._note(keep, gap_seconds=await self._gap(usual))

        rounds: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("loading, and the first picture", cold),
            ("matrix rate", rates),
            *((f"{mode} at {size}", partial(drawn, mode, size)) for mode in modes for size in sizes),
            ("two queued jobs", gap),
        ]
        until = asyncio.get_running_loop().time() + 60 * plan.minutes
        for what, measure in rounds:
            tell(what)
            try:
                async with asyncio.timeout_at(until):
                    await measure()
            except ModelUnavailable:
                raise
            except Exception as error:
                over = isinstance(error, TimeoutError)
                troubles.append(error)
                why = f"the {plan.minutes:g} minutes are over" if over else _said(error)
                self._note(keep, failed=(*self._found.failed, Failed(what=what, why=why)))
        return next((error for error in troubles if isinstance(error, TimeoutError)), next(iter(troubles), None))

    # One after another

    async def _drawn(self, size: str, mode: Mode, plan: Plan, rates: dict[str, float]) -> Drawn:
        request = self._asked(size, mode, 1, plan)
        several = self._asked(size, mode, plan.batch, plan)
        await self._timed(request)
        self._forget_peak()
        seconds = [(await self._timed(request))[0] for _ in range(plan.runs)]
        await self._timed(several)
        together = [(await self._timed(several))[0] for _ in range(plan.runs)]
        operations = self._operations(request)
        rate = "fp8" if self.profile(mode).transformer is Weights.FP8 and "fp8" in rates else self._numbers_name
        return Drawn(
            mode=mode.value,
            width=request.width,
            height=request.height,
            steps=request.steps,
            seconds=statistics.median(seconds),
            slowest=max(seconds),
            runs=plan.runs,
            batch=plan.batch,
            batch_seconds=statistics.median(together),
            peak_bytes=self._peak(),
            operations=operations,
            floor=operations / rates[rate] if rate in rates else None,
            rate=rate,
        )

    async def _timed(self, request: GenerationRequest) -> tuple[float, Clock]:
        clock = Clock()
        task = self._task(request)
        began = time.perf_counter()
        assert self._provider is not None
        await self._provider.draw(task, clock)
        return time.perf_counter() - began, clock

    async def _gap(self, request: GenerationRequest, pairs: int = 3) -> float:
        """Return the median of the time between two queued jobs that goes to no step."""
        return statistics.median([await self._gap_once(request) for _ in range(pairs)])

    async def _gap_once(self, request: GenerationRequest) -> float:
        assert self._provider is not None
        turn, first, second, waiting = asyncio.Event(), Clock(), Clock(), self._task(request)
        drawing = asyncio.create_task(self._provider.draw(replace(self._task(request), let_next=turn.set), first))
        drawing.add_done_callback(lambda _: turn.set())  # also where it fails
        # As in a worker: the words of the next are read while the first is drawn, and it begins when it may.
        await self._provider.prepare(waiting)
        await turn.wait()
        await asyncio.gather(drawing, self._provider.draw(waiting, second))
        before, after = first.ends, second.ends
        steps = [late - early for ends in (before, after) for early, late in pairwise(ends)]
        return max(0.0, after[0] - before[-1] - (statistics.median(steps) if steps else 0.0))

    def _task(self, request: GenerationRequest) -> DrawTask:
        number = next(self._numbers)
        picture, mask = given(self.spec)
        return DrawTask(
            job_id=f"bench-{number}",
            request=request.model_copy(update={"prompt": PROMPT.format(number), "seed": number}),
            input_image=picture,
            input_mask=mask,
        )

    def _asked(self, size: str, mode: Mode, pictures: int, plan: Plan) -> GenerationRequest:
        return asked(self.spec, self._catalogue, size, mode, pictures, plan)

    # What the device does

    @property
    def _numbers_name(self) -> str:
        return NAMES[number_type(self.profile())]

    def _rates(self) -> dict[str, float]:
        rates = {self._numbers_name: work.matrix_rate(self.device, number_type(self.profile()))}
        fp8 = work.fp8_rate(self.device)
        return rates if fp8 is None else rates | {"fp8": fp8}

    def _operations(self, request: GenerationRequest) -> int:
        spec = self.spec
        operation = spec.operation(picture=request.input_picture is not None, mask=request.input_mask is not None)
        read = spec.size_for_ratio(1.0)
        picture, words = work.tokens(request.width, request.height, spec.max_sequence_length, operation, read)
        step = work.operations_per_step(
            spec.architecture,
            self._config(),
            picture_tokens=picture,
            word_tokens=words,
        )
        return step * request.steps_taken

    def _config(self) -> dict[str, Any]:
        """Return what the transformer's config.json says."""
        drawing = self.spec.base or self.spec
        if drawing.source == RANDOM:
            return dict(build(Part.TRANSFORMER, drawing.id).config)
        kind = work.transformer_of(drawing.architecture)
        folder = Path(drawing.source or "").expanduser()
        source = str(folder) if folder.is_dir() else drawing.source
        config: dict[str, Any] = kind.load_config(source, subfolder="transformer", token=self._hub_token)
        return config

    def _forget_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def _errors(self, plan: Plan) -> dict[str, Error]:
        quick = [mode for mode in (Mode.FAST, Mode.TURBO) if mode in plan.modes]
        if not quick or self.spec.source == RANDOM or Operation.TEXT_TO_IMAGE not in self.spec.operations:
            return {}
        found = fidelity.errors(
            self.spec,
            self.device,
            modes=quick,
            prompts=fidelity.PROMPTS[: plan.prompts],
            engine=partial(Engine, hub_token=self._hub_token, profile=self._named),
        )
        return {
            mode.value: Error(
                psnr=one.psnr,
                worst_psnr=one.worst_psnr,
                similarity=one.similarity,
                worst_similarity=one.worst_similarity,
                emulated=mode is Mode.FAST and self.device.type == "cpu",
            )
            for mode, one in found.items()
        }


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def at_random(model: str) -> Catalogue:
    """Return a catalogue with ``model`` in its real shapes and nothing else; raises ConfigurationError for others."""
    if model not in SHAPES:
        raise ConfigurationError(f"Random weights are made for {' and '.join(SHAPES)}, not for {model}.")
    return Catalogue({model: RANDOM})
