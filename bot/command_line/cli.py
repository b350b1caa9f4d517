"""The flux-bot command.

Each command imports what it needs: a worker runs without discord.py, and the bot without torch.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from flux_core.database.connecting import connect
from flux_core.errors import ConfigurationError, FluxError, ModelUnavailable, StorageUnavailable
from flux_core.logs import configure_logging, mask
from flux_core.settings import Settings, load_settings

log = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="flux-bot, the image studio of a Discord community.",
)
database = typer.Typer(no_args_is_help=True, help="Look after the database.")
app.add_typer(database, name="db")
weights = typer.Typer(no_args_is_help=True, help="Look after the weights of models.")
app.add_typer(weights, name="models")

HALVES = {"discord": "bot", "aiohttp": "bot"} | dict.fromkeys(
    ("torch", "diffusers", "transformers", "huggingface_hub", "tqdm"), "worker"
)
"""Library → the extra of flux-bot that brings it."""

DataDir = Annotated[
    Path | None, typer.Option(help="Folder for the database and the pictures; by default the setting DATA_DIR.")
]


def main() -> None:
    """Run the command line; an operator's mistake ends with one sentence and status 2, not with a traceback."""
    try:
        app()
    except ModuleNotFoundError as error:
        half = HALVES.get(error.name or "")
        if half is None:
            raise
        Console(stderr=True).print(
            f"This command needs {error.name}, which is not installed. In flux-bot's folder: "
            f"pip install -c constraints.txt '.[{half}]'",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        sys.exit(2)
    except ConfigurationError as error:
        _say_why(str(error))
        sys.exit(2)
    except StorageUnavailable as error:
        # Whoever gives a command looks after the storage: what members read would leave them with nothing to go by.
        _say_why(f"{str(error).rstrip('.')}. `flux-bot doctor` says what to look at.")
        sys.exit(1)
    except FluxError as error:
        from bot.words.wording import sentence

        Console(stderr=True).print(sentence(error), highlight=False, markup=False)
        sys.exit(1)


@app.command()
def run(data_dir: DataDir = None) -> None:
    """Run everything on this machine: the bot and its workers. Without DISCORD_TOKEN: the sandbox."""
    from bot.command_line import house

    settings = _settings(data_dir)
    if settings.discord_token is None:
        Console(stderr=True).print(
            "DISCORD_TOKEN is not set, so this opens the sandbox: a local stand-in for Discord.\n"
            "To join a real server, put DISCORD_TOKEN=… into the file .env (README, “Your own server”).",
            highlight=False,
        )
        _start(settings, house.sandbox(settings))
    else:
        _start(settings, house.run(settings))


@app.command()
def bot(data_dir: DataDir = None) -> None:
    """Run the Discord side alone; workers on this or other machines draw."""
    from bot.command_line import house

    settings = _settings(data_dir)
    _start(settings, house.bot(settings))


@app.command()
def worker(
    id: Annotated[str | None, typer.Option(help="Name under which it is known; kept over its restarts.")] = None,
    supervised: Annotated[
        bool, typer.Option("--supervised", hidden=True, help="End when standard input is closed.")
    ] = False,
    data_dir: DataDir = None,
    log_level: Annotated[str | None, typer.Option(help="Least severity that is logged, over LOG_LEVEL.")] = None,
    metrics_port: Annotated[str | None, typer.Option(help="Port of its metrics, over METRICS_PORT.")] = None,
    providers: Annotated[
        str | None,
        typer.Option(help="Have hosted providers draw instead of this machine: names with commas between, or all."),
    ] = None,
) -> None:
    """Run one worker; start as many as there are cards, and one for hosted providers."""
    from flux_core.worker.process import run_hosted, run_worker

    given = {"log_level": log_level, "metrics_port": metrics_port}
    settings = _settings(data_dir, **{name: value for name, value in given.items() if value is not None})
    if providers is None:
        _start(settings, run_worker(settings, worker_id=id, supervised=supervised))
    else:
        _start(settings, run_hosted(settings, providers.split(","), worker_id=id, supervised=supervised))


@app.command()
def sandbox(
    port: Annotated[int | None, typer.Option(help="Port of the page; 0 takes a free one.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Only the stand-in for Discord, without bot and worker.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Open a local stand-in for Discord with a web page to type in; no account needed."""
    from bot.command_line import house

    settings = _settings(data_dir, **({} if port is None else {"sandbox_port": port}))
    _start(settings, house.sandbox(settings, alone=alone))


@app.command()
def imagine(
    prompt: Annotated[
        str, typer.Argument(help='What to draw; flags as in Discord work here too: "a red circle --ar 16:9".')
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write; several pictures get -1, -2 …")] = Path(
        "flux-bot.webp"
    ),
    model: Annotated[str | None, typer.Option(help="Such as flux-tiny, flux-schnell or flux-dev.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Who draws: local, or a hosted provider such as eachlabs.")
    ] = None,
    aspect: Annotated[str | None, typer.Option(help="Such as 16:9.")] = None,
    size: Annotated[str | None, typer.Option(help="Such as 1024x768.")] = None,
    steps: Annotated[int | None, typer.Option(help="Drawing steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely the prompt is followed.")] = None,
    mode: Annotated[str | None, typer.Option(help="quality, fast or turbo.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same picture.")] = None,
    count: Annotated[int | None, typer.Option("-n", "--count", help="Pictures; 1 if not given.")] = None,
    image: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A picture to start from.")] = None,
    mask: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="White where that picture is painted anew.")
    ] = None,
    strength: Annotated[float | None, typer.Option(help="How far to go from that picture, up to 1.")] = None,
    lora: Annotated[str | None, typer.Option(help="A LoRA from LORAS, with its weight if you like: ink:0.8.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Draw from the shell, through the same queue as everybody."""
    from bot.command_line import shell
    from flux_core.generation import RequestOptions

    settings = _settings(data_dir, log_level="warning")
    options = RequestOptions(
        prompt=prompt,
        model=model,
        aspect=aspect,
        size=size,
        steps=steps,
        guidance=guidance,
        mode=mode,
        seed=seed,
        count=count,
        strength=strength,
        lora=lora,
        provider=provider,
    )
    _start(settings, shell.imagine(settings, options, output=output, image=image, mask=mask))


@app.command()
def bench(
    model: Annotated[str | None, typer.Option(help="Which model; by default the studio's.")] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Aspects or sizes with commas between, such as 512x512,16:9.")
    ] = None,
    modes: Annotated[str | None, typer.Option(help="Some of quality,fast,turbo; by default all.")] = None,
    steps: Annotated[int | None, typer.Option(help="Drawing steps, where not the model's usual ones.")] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Fill the real shapes with random numbers; nothing is downloaded.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One size, measured once: a first impression.")] = False,
    minutes: Annotated[float, typer.Option(help="After how many to stop with what is known.", min=0.1)] = 30,
    json: Annotated[Path | None, typer.Option(help="File for the figures.", dir_okay=False)] = None,
    device: Annotated[str | None, typer.Option(help="Torch device, over DEVICE.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Measure how fast this machine draws: by mode and size, in batches, from cold, and against its floor."""
    from flux_core.gpu.quiet import silence

    silence()  # before the libraries are imported that would say something
    from flux_core.gpu.bench.command import run as measure

    settings = _settings(data_dir, log_level="warning", **({} if device is None else {"device": device}))
    measure(
        settings,
        Console(width=None if Console().is_terminal else 160),
        model=model,
        sizes=sizes,
        modes=modes,
        steps=steps,
        random_weights=random_weights,
        quick=quick,
        minutes=minutes,
        file=json,
    )


@app.command()
def providers(data_dir: DataDir = None) -> None:
    """List the hosted providers: which are configured, what the others need, models, prices, health."""
    from bot.command_line.provider_list import show

    asyncio.run(show(_settings(data_dir), Console()))


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Check token, database, picture store, models, providers and workers, and say what to do."""
    from bot.command_line.doctor import examine

    healthy = asyncio.run(examine(_settings(data_dir), Console()))
    raise typer.Exit(0 if healthy else 1)


@weights.command("list")
def list_models(data_dir: DataDir = None) -> None:
    """List the models that this machine could draw: configured or not, downloaded or not, size and licence."""
    from bot.command_line.weights import show

    show(_settings(data_dir), Console())


@weights.command()
def download(
    model: Annotated[
        str, typer.Argument(help="Such as flux-schnell, or a LoRA of LORAS; the settings name the places.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Fetch a model's weights before anybody waits for them, and check all that is there."""
    from bot.command_line.weights import download as fetch

    settings = _settings(data_dir)
    configure_logging(settings)
    try:
        folder = fetch(settings, model, Console(stderr=True))
    except ModelUnavailable as error:
        Console(stderr=True).print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    Console().print(f"{model} is complete: {folder}", highlight=False, markup=False, soft_wrap=True)


@database.command()
def upgrade(data_dir: DataDir = None) -> None:
    """Bring the database to this version's schema (every command does so on start as well)."""
    from flux_core.bootstrap import open_database

    async def go() -> None:
        async with open_database(settings):
            Console().print("The database is up to date.")

    settings = _settings(data_dir)
    _start(settings, go())


@database.command()
def check(data_dir: DataDir = None) -> None:
    """Prove that ledger, counters and jobs agree, and say what to do where they do not; changes nothing."""
    from flux_core.bootstrap import open_database
    from flux_core.database.bookkeeping import discrepancies

    async def go() -> None:
        async with open_database(settings) as books:
            found = await books.read(discrepancies)
        console = Console(highlight=False, markup=False, soft_wrap=True)
        for one in found:
            console.print(f"{one}.\n  {one.advice}")
        if found:
            console.print("Please keep a copy of the database as it is now: it helps to find out what happened.")
            raise typer.Exit(1)
        console.print("Ledger, counters and jobs agree.")

    settings = _settings(data_dir)
    _start(settings, go())


@database.command()
def copy(
    url: Annotated[
        str,
        typer.Argument(
            help="Where to, such as postgresql://flux@db/flux: an empty database. A password that is not in it is "
            "taken from PGPASSWORD or ~/.pgpass."
        ),
    ],
    data_dir: DataDir = None,
) -> None:
    """Copy everything in the database to an empty one, and prove that it is all there; stop bot and workers first."""
    from flux_core.bootstrap import open_database
    from flux_core.database.copying import copy_house

    async def go() -> None:
        async with open_database(settings) as source:
            target = await connect(url, pool=1)
            try:
                copied = await copy_house(source, target, silent_since=time.time() - settings.lease_seconds)
            finally:
                await target.close()
        console = Console(highlight=False, markup=False, soft_wrap=True)
        for name, rows in copied.items():
            console.print(f"{rows:>10,} {name}")
        console.print("All of it was copied and compared. Set DATABASE_URL to the new one, then start bot and workers.")

    settings = _settings(data_dir)
    _start(settings, go())


def _say_why(reason: str) -> None:
    # Not wrapped: it is read in logs of containers as well.
    said = f"[bold red]flux-bot cannot run.[/] {escape(mask(reason))}"
    Console(stderr=True).print(said, highlight=False, soft_wrap=True)


def _settings(data_dir: Path | None, **changes: Any) -> Settings:
    return load_settings(**changes, **({} if data_dir is None else {"data_dir": data_dir}))


def _start(settings: Settings, work: Coroutine[Any, Any, None]) -> None:
    configure_logging(settings)
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        # Ctrl-C that came before the work listened for it: it has been cancelled and awaited by now.
        raise SystemExit(130) from None
    except (FluxError, ModuleNotFoundError, typer.Exit):
        raise
    except Exception:
        # Through the log, so that it is masked and in the form that whoever collects logs expects.
        log.critical("flux-bot ends, through something that nobody foresaw", exc_info=True)
        raise SystemExit(1) from None
