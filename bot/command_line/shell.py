"""Draw from the shell: the same queue, worker and store as everybody, with a progress bar."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bot.command_line import house
from bot.layouts import remarks
from bot.words import prompt_flags
from bot.words.phrasing import title_of
from flux_core.bootstrap import configured_vendors, open_studio
from flux_core.errors import ConfigurationError, FluxError, from_code
from flux_core.generation import GenerationRequest, InputPicture, RequestOptions, resolve
from flux_core.images.intake import check_mask, vet
from flux_core.jobs import SHELL_ACCOUNT, Job, JobState, Origin, Picture
from flux_core.models import Mode
from flux_core.router import LOCAL
from flux_core.service import Studio, Submission, WorkerInfo
from flux_core.settings import Settings
from flux_core.skills import draws, skill_for

FORMATS = {".webp": "webp", ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
POLL_SECONDS = 5.0


async def imagine(
    settings: Settings, options: RequestOptions, *, output: Path, image: Path | None, mask: Path | None = None
) -> None:
    """Draw ``options`` and write the pictures to ``output``; starts a worker when none is running.

    Raises MemberError for options that cannot be drawn, the job's GenerationFailed when it fails, and
    ConfigurationError when what draws is not installed.
    """
    output_format = FORMATS.get(output.suffix.lower())
    if output_format is None:
        raise ConfigurationError(f"{output} needs one of these endings: {', '.join(FORMATS)}.")
    if not output.parent.is_dir():
        raise ConfigurationError(f"There is no folder {output.parent}.")
    options = prompt_flags.combine(prompt_flags.parse(options.prompt), options)
    options = options.model_copy(update={"output_format": output_format, "count": options.count or 1})
    async with open_studio(settings) as studio:
        picture = await _input(settings, studio, image)
        size = None if picture is None else (picture.width, picture.height)
        masked = await _input(settings, studio, mask, mask_of=size)
        loras = None if options.lora is None else await studio.loras()
        request = resolve(options, studio.catalogue, picture=picture, mask=masked, loras=loras)
        local, hosted = await needed(settings, studio, request)
        if local and find_spec("torch") is None:
            raise ConfigurationError(
                f"To draw {request.model} here, torch is needed, which is not installed. In flux-bot's folder: "
                "pip install -c constraints.txt '.[worker]'"
            )
        job = await studio.submit(Submission(account=SHELL_ACCOUNT, request=request, origin=Origin.SHELL))
        try:
            async with house.lent_workers(settings, local=local, hosted=hosted):
                job = await _watched(studio, job)
        except asyncio.CancelledError:
            await _cancel(studio, job)
            raise
        if job.state is not JobState.SUCCEEDED:
            raise _why(job)
        drawn = await studio.pictures(job.id)
        for one, path in zip(drawn, _paths(output, len(drawn)), strict=True):
            await asyncio.to_thread(path.write_bytes, await studio.picture_bytes(_key(one)))
            Console().print(f"{path}  {_facts(job, one)}", highlight=False)
        for note in remarks.notes(job, quote=str):
            Console(stderr=True).print(note, highlight=False, markup=False)


async def _input(
    settings: Settings,
    studio: Studio,
    image: Path | None,
    mask_of: tuple[int, int] | None = None,
) -> InputPicture | None:
    if image is None:
        return None
    data = await asyncio.to_thread(image.read_bytes)
    vetted = await asyncio.to_thread(
        vet, data, max_bytes=settings.max_upload_bytes, max_pixels=settings.max_upload_pixels
    )
    if mask_of is not None:
        await asyncio.to_thread(check_mask, vetted, mask_of)
    return await studio.store_input(vetted)


async def _watched(studio: Studio, job: Job) -> Job:
    """Show the job's progress until it ended."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Waiting for a worker", total=None)
        version = None
        while not job.state.ended:
            version = await studio.changed(version, POLL_SECONDS)
            job = await studio.job(job.id)
            await _show(studio, job, bar, task)
        bar.update(task, description=job.state.value.capitalize(), total=1, completed=1)
    return job


async def needed(settings: Settings, studio: Studio, request: GenerationRequest) -> tuple[bool, list[str]]:
    """Return whether ``request`` needs a worker of this machine, and which hosted providers; neither if others draw."""

    def may(provider: str) -> bool:
        return request.provider in (None, provider)

    def could(worker: WorkerInfo) -> bool:
        if worker.hosted:
            return may(worker.provider) and request.model in worker.offers
        return may(LOCAL) and draws(worker.offers, skill_for(request))

    if any(could(worker) and worker.closed is None for worker in await studio.venues()):
        return False, []
    hosted = [
        name for name, vendor in configured_vendors(settings).items() if may(name) and request.model in vendor.offers
    ]
    # Where torch is not installed, this machine cannot draw.
    able = studio.catalogue[request.model].local and (not hosted or find_spec("torch") is not None)
    return able and may(LOCAL), hosted


async def _show(studio: Studio, job: Job, bar: Progress, task: TaskID) -> None:
    if job.state is JobState.RUNNING and job.steps_total:
        bar.update(
            task,
            description=_progress(job),
            completed=job.steps_done,
            total=job.steps_total,
        )
    elif job.state is JobState.RUNNING:
        bar.update(task, description=_progress(job))
    elif not job.state.ended:
        place = await studio.place(job.id)
        if place.position > 1:
            bar.update(task, description=f"Waiting, {place.position - 1} before this one")


def _progress(job: Job) -> str:
    if job.provider is not None and remarks.is_hosted(job.provider):
        return f"Drawing at {title_of(job.provider)}"
    return f"Step {job.steps_done} of {job.steps_total}" if job.steps_total else "Loading the model"


async def _cancel(studio: Studio, job: Job) -> None:
    try:
        await studio.cancel(job.id, by=SHELL_ACCOUNT.user_id, moderator=True)
    except FluxError:
        # It ended in the same moment: nothing is left to stop.
        return


def _why(job: Job) -> FluxError:
    if job.state is JobState.CANCELLED:
        return FluxError("The job was cancelled.")
    return from_code(job.error_code or "generation_failed", job.error_facts or {})


def _paths(output: Path, count: int) -> list[Path]:
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]


def _key(picture: Picture) -> str:
    if picture.key is None:
        raise FluxError("The picture was deleted before it could be written.")
    return picture.key


def _facts(job: Job, picture: Picture) -> str:
    request, by = job.request, remarks.drawn_by(job)
    facts = [request.model, f"{picture.width}×{picture.height}"]
    if remarks.has_steps(request.model):
        facts.append(f"{request.steps} steps")
    if (mode := remarks.mode_of(job)) is not Mode.QUALITY:
        facts.append(mode.value)
    facts.append(f"seed {picture.seed}")
    return " · ".join(facts if by is None else [*facts, by])
