"""``flux-bot models``: which weights are configured and there, how large they are, and fetching them beforehand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from flux_core import downloads
from flux_core.errors import ConfigurationError, ModelUnavailable
from flux_core.family import FAMILY
from flux_core.loras import Lora
from flux_core.models import ModelSpec
from flux_core.settings import Settings

GIB = 1 << 30


def show(settings: Settings, console: Console) -> None:
    """Print every model whose weights are published: where they are, whether they are there, and their licence."""
    table = Table()
    for title in ("Model", "Weights", "Downloaded", "Licence"):
        table.add_column(title, overflow="fold")
    for spec in (one for one in FAMILY if one.weights):
        source = _source(settings, spec)
        table.add_row(spec.id, source or f"not offered: set {spec.setting}", _state(source), spec.licence)
    console.print(table)
    if settings.loras:
        loras = Table()
        for title in ("LoRA", "File", "For"):
            loras.add_column(title, overflow="fold")
        for lora in settings.loras.values():
            loras.add_row(lora.name, lora.source, lora.model or "any model")
        console.print(loras)


def download(settings: Settings, model: str, console: Console) -> Path:
    """Fetch what is missing of the weights of a model, or of a LoRA by its name, check all of it, and return the place.

    Raises ConfigurationError for a model without a place of its own, and ModelUnavailable with what to do.
    """
    token = settings.hf_token.get_secret_value() if settings.hf_token is not None else None
    if (lora := settings.loras.get(model)) is not None:
        return _lora(lora, token, console)
    spec = next((one for one in FAMILY if one.id == model and one.weights), None)
    if spec is None:
        known = ", ".join([*(one.id for one in FAMILY if one.weights), *settings.loras])
        raise ConfigurationError(f"There are no weights of {model!r}. flux-bot knows those of {known}.")
    source = _source(settings, spec)
    if not source:
        raise ConfigurationError(f"{spec.setting} is not set: it names a folder or a repository of the hub.")
    return downloads.folder_of(replace(spec, source=source), token, partial(_fetch, console=console))


def _lora(lora: Lora, token: str | None, console: Console) -> Path:
    place = Path(lora.source).expanduser()
    if place.exists():
        return place
    if (on_hub := downloads.place_on_hub(lora.source)) is None:
        raise ModelUnavailable(f"{lora.name}: there is no {lora.source}; check LORAS.")
    repository, file = on_hub
    try:
        return _fetch(repository, token=token, parts=downloads.LORA if file is None else (file,), console=console)
    except Exception as error:
        # The hub's client has errors of its own for each of its troubles.
        raise ModelUnavailable(downloads.advice(error, lora.name, repository, "LORAS")) from error


def _fetch(source: str, *, token: str | None, console: Console, parts: tuple[str, ...] = downloads.PARTS) -> Path:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(source, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        # Where nobody watches a bar, the log has a line for each tenth.
        return downloads.fetch(
            source, token=token, parts=parts, check_all=True, tell=tell if console.is_terminal else None
        )


def _source(settings: Settings, spec: ModelSpec) -> str:
    path: str = getattr(settings, spec.setting.lower())
    return path


def _state(source: str) -> str:
    if not source:
        return ""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return f"folder, {_gib(_size(folder))}"
    if not downloads.HUB_ID.fullmatch(source):
        return "there is no such folder"
    known = downloads.in_cache(source)
    if known is None:
        return "not yet"
    return _gib(_size(known)) if downloads.is_whole(source) else f"{_gib(_size(known))}, not whole yet"


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("**/*") if file.is_file())


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / (1 << 20):.0f} MiB"
