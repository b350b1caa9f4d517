"""What runs together: the bot and its workers on Discord, or on the sandbox that stands in for it."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from pydantic import SecretStr
from rich.console import Console

from flux_core.bootstrap import ALL, open_studio
from flux_core.errors import ConfigurationError
from flux_core.settings import Settings
from flux_core.worker.lifetime import obey_signals
from flux_core.worker.supervisor import Supervisor

LAST_PORT = 65535


async def run(settings: Settings) -> None:
    """Run the bot and its workers until a signal; raises ConfigurationError."""
    stop = asyncio.Event()
    obey_signals(stop)
    await _open(settings, _crew(settings, local_count(settings), hosted_names(settings)), stop)


async def bot(settings: Settings) -> None:
    """Run the bot alone until a signal; raises ConfigurationError."""
    stop = asyncio.Event()
    obey_signals(stop)
    await _open(settings, _crew(settings, 0), stop)


async def sandbox(settings: Settings, *, alone: bool = False) -> None:
    """Run the stand-in for Discord until a signal, with a bot and its workers unless ``alone``.

    Raises ConfigurationError for an address that cannot be taken.
    """
    from bot.sandbox.server import Sandbox

    stop = asyncio.Event()
    obey_signals(stop)
    stand_in = Sandbox()
    try:
        await stand_in.start(settings.sandbox_host, settings.sandbox_port)
    except ValueError as error:
        raise ConfigurationError(f"SANDBOX_HOST has to change. {error}") from error
    except OSError as error:
        raise ConfigurationError(
            f"The sandbox cannot listen on {settings.sandbox_host}:{settings.sandbox_port} ({error.strerror}). "
            "Set SANDBOX_PORT to another port, or to 0 for any free one."
        ) from error
    reached = {
        "discord_token": SecretStr(stand_in.token),
        "discord_api_base": stand_in.api_base,
        "discord_gateway": stand_in.gateway_url,
        "discord_cdn": stand_in.cdn_base,
    }
    screen = Console(stderr=True)
    try:
        if alone:
            screen.print(f"The sandbox is at {stand_in.base_url}. A bot reaches it with", highlight=False)
            for name, value in reached.items():
                shown = value.get_secret_value() if isinstance(value, SecretStr) else value
                screen.print(f"  {name.upper()}={shown}", highlight=False)
            await stop.wait()
        else:
            screen.print(f"Open [bold]{stand_in.base_url}[/] in a browser. Ctrl-C ends it.", highlight=False)
            joined = settings.model_copy(update=reached)
            await _open(joined, _crew(joined, local_count(settings), hosted_names(settings)), stop)
    finally:
        await stand_in.stop()


@asynccontextmanager
async def lent_workers(settings: Settings, *, local: bool, hosted: Sequence[str]) -> AsyncIterator[None]:
    """Keep workers of our own running meanwhile: one for this machine, one process for the ``hosted`` providers."""
    stop = asyncio.Event()
    # Those of a bot that runs beside us have the ports of the metrics.
    settings = settings.model_copy(update={"metrics_port": None})
    crew = asyncio.create_task(_crew(settings, 1 if local else 0, hosted).run(stop), name="crew")
    try:
        yield
    finally:
        stop.set()
        await crew


async def _open(settings: Settings, crew: Supervisor, stop: asyncio.Event) -> None:
    """Run the bot and the crew; when either ends, or on ``stop``, end both."""
    from bot.session import run_bot

    if settings.discord_token is None:
        raise ConfigurationError(
            "DISCORD_TOKEN is not set. Put DISCORD_TOKEN=… into the file .env, or try `flux-bot sandbox`."
        )
    token = settings.discord_token.get_secret_value()
    async with open_studio(settings) as studio:
        # Modules and schemas live as long as the process. Out of the collector's sight they no longer make a full
        # collection stop the event loop for a tenth of a second.
        gc.collect()
        gc.freeze()
        working = asyncio.create_task(crew.run(stop), name="crew")
        talking = asyncio.create_task(run_bot(settings, studio, token=token), name="bot")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        fitting = asyncio.create_task(studio.until_outgrown(), name="version")
        await asyncio.wait({talking, working, stopped, fitting}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        talking.cancel()
        await asyncio.wait({talking, working})
        if fitting.done():
            fitting.result()
        fitting.cancel()
        working.result()
        with suppress(asyncio.CancelledError):
            talking.result()


def local_count(settings: Settings) -> int:
    """Return how many workers of this machine run beside the bot; none where no model's weights are configured."""
    return settings.workers if any(spec.local for spec in settings.catalogue) else 0


def hosted_names(settings: Settings) -> list[str]:
    """Return the hosted providers that run beside the bot: all that are configured, in one process."""
    return [ALL] if settings.providers else []


def _crew(settings: Settings, count: int, hosted: Sequence[str] = ()) -> Supervisor:
    """Return the supervisor of ``count`` local workers, and of one more process for all ``hosted`` providers."""
    commands = worker_commands(settings, count, hosted)
    return Supervisor(lambda number: commands[number], len(commands))


def worker_commands(settings: Settings, count: int, hosted: Sequence[str]) -> list[list[str]]:
    """Return the command line of each worker process.

    A worker keeps its id over restarts: the jobs of the one that died are free as soon as the next one is up.
    """
    house = f"{platform.node()}-{os.getpid()}"
    command = [sys.executable, "-m", "bot", "worker", "--supervised"]
    command += ["--data-dir", str(settings.data_dir.resolve()), "--log-level", settings.log_level]
    commands = [[*command, "--id", f"{house}-{number}"] for number in range(count)]
    if hosted:
        commands.append([*command, "--id", f"{house}-hosted", "--providers", ",".join(hosted)])
    return [[*one, "--metrics-port", _port(settings, number)] for number, one in enumerate(commands, 1)]


def _port(settings: Settings, number: int) -> str:
    """Return where worker ``number`` (from 1) tells how it is doing: behind the bot, or on a free port as the bot."""
    port = settings.metrics_port
    if port is None or port + number > LAST_PORT:
        return ""
    return str(port and port + number)
