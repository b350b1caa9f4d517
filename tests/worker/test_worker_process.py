"""A worker as a real process: signals, sudden death, and the end of its supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flux_core.images.encoding import read_provenance
from flux_core.jobs import JobState
from flux_core.providers.scripted import ScriptedProvider
from flux_core.settings import Settings
from flux_core.worker.process import Post, _work
from tests.metrics.asking import ask, value, values
from tests.worker.conftest import CATALOGUE, Floor

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port that is free a moment before somebody takes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def environment(tmp_path: Path, database_url: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "PICTURE_STORE": str(tmp_path / "pictures"),
        "FLUX_TINY_PATH": "scripted",
        "LEASE_SECONDS": "1",
    }


@pytest.fixture
def started(tmp_path: Path, database_url: str):  # type: ignore[no-untyped-def]
    """Start a scripted worker process in an empty folder; it is killed at the end, if it still runs."""

    @asynccontextmanager
    async def start(step_seconds: float, *flags: str) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.worker.scripted_worker",
            str(step_seconds),
            *flags,
            cwd=tmp_path,
            env=environment(tmp_path, database_url),
            stdin=PIPE if "supervised" in flags else DEVNULL,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return start


async def ends(process: Process) -> int:
    return await asyncio.wait_for(process.wait(), 20)


async def test_it_draws_and_ends_in_order_when_told(floor: Floor, started) -> None:  # type: ignore[no-untyped-def]
    job = await floor.submit()
    async with started(0.01) as process:
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
        assert (await floor.studio.place((await floor.submit(model="flux-schnell")).id)).workers == 0
        process.send_signal(signal.SIGTERM)
        assert await ends(process) == 0


async def test_told_to_end_while_its_libraries_are_read_it_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ScriptedProvider(CATALOGUE)
    closed = asyncio.Event()
    monkeypatch.setattr(provider, "close", lambda: asyncio.to_thread(closed.set))
    away = Settings(database_url="postgresql://flux@127.0.0.1:1/flux", data_dir=tmp_path, _env_file=None)
    stop = asyncio.Event()
    stop.set()
    await _work(away, [Post("late", provider)], stop)  # it does not even look for the database
    assert closed.is_set()


@pytest.mark.parametrize("setting", ["true", "false"])
async def test_the_operator_says_whether_files_tell_their_prompt(
    floor: Floor,
    tmp_path: Path,
    started,  # type: ignore[no-untyped-def]
    setting: str,
) -> None:
    (tmp_path / ".env").write_text(f"PROMPT_IN_PICTURES={setting}\n")
    job = await floor.submit(count=1)
    async with started(0.0):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    (picture,) = await floor.studio.pictures(job.id)
    assert picture.key is not None
    text = read_provenance(await floor.store.get(picture.key))
    assert text is not None
    assert "Seed: 7" in text
    assert (job.request.prompt in text) is (setting == "true")


async def test_it_tells_how_it_is_doing(floor: Floor, tmp_path: Path, started) -> None:  # type: ignore[no-untyped-def]
    port = free_port()
    (tmp_path / ".env").write_text(f"METRICS_PORT={port}\n")
    job = await floor.submit(count=2)
    async with started(0.0) as process:
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
        assert (await ask(port, "/healthz")).status == 200
        ready = await ask(port, "/readyz")
        assert (ready.status, ready.text) == (200, "database: ok\ndrawing: ok\n")
        found = await values(port)
        assert value(found, "flux_pictures_total", model="flux-tiny", provider="local") == 2
        process.send_signal(signal.SIGTERM)
        assert await ends(process) == 0
    with pytest.raises(ConnectionRefusedError):
        await ask(port, "/healthz")


async def test_while_it_stops_it_lives_but_is_not_ready(floor: Floor, tmp_path: Path, started) -> None:  # type: ignore[no-untyped-def]
    port = free_port()
    (tmp_path / ".env").write_text(f"METRICS_PORT={port}\n")
    job = await floor.submit(steps=50)
    async with started(0.05) as process:
        await floor.running(job)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            while (ready := await ask(port, "/readyz")).status == 200:  # noqa: ASYNC110 (it tells those who ask)
                await asyncio.sleep(0.05)
        assert ready.text == "database: ok\ndrawing: it stops\n"
        assert (await ask(port, "/healthz")).status == 200
        assert await ends(process) == 0
    assert (await floor.job(job)).state is JobState.SUCCEEDED


async def test_a_second_worker_on_its_port_says_so_and_ends(floor: Floor, tmp_path: Path, started) -> None:  # type: ignore[no-untyped-def]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / ".env").write_text(f"METRICS_PORT={taken.getsockname()[1]}\n")
        async with started(0.0) as process:
            assert await ends(process) == 1


async def test_a_second_signal_ends_it_at_once(floor: Floor, started) -> None:  # type: ignore[no-untyped-def]
    job = await floor.submit(steps=50)
    async with started(0.3) as process:
        await floor.running(job)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.5)
        assert process.returncode is None, "it lets the drawing go on for a while"
        process.send_signal(signal.SIGINT)
        assert await ends(process) == 128 + signal.SIGINT


async def test_killed_in_the_middle_it_loses_nothing(floor: Floor, started) -> None:  # type: ignore[no-untyped-def]
    job = await floor.submit(steps=50)
    async with started(0.2) as first:
        await floor.running(job)
        first.kill()
        await ends(first)
    async with started(0.0), asyncio.timeout(20):
        while not (await floor.job(job)).state.ended:
            await floor.queue.rescue()
            await asyncio.sleep(0.1)
    ended = await floor.job(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 2)
    assert len(await floor.studio.pictures(job.id)) == 2
    assert await floor.kinds(job) == ["reserve", "settle"]


async def test_it_ends_with_its_supervisor_and_hands_its_job_back_in_time(floor: Floor, started) -> None:  # type: ignore[no-untyped-def]
    async with started(0.0, "supervised") as process:
        job = await floor.submit()
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
        assert process.stdin is not None
        process.stdin.close()
        assert await ends(process) == 0


async def test_an_engine_that_comes_to_no_end_does_not_keep_it(floor: Floor, started) -> None:  # type: ignore[no-untyped-def]
    async with started(0.0, "stuck") as process:
        assert (await floor.ended(await floor.submit())).state is JobState.SUCCEEDED
        process.send_signal(signal.SIGTERM)
        assert await ends(process) == 1


async def test_alone_it_does_not_care_for_standard_input(floor: Floor, started) -> None:  # type: ignore[no-untyped-def]
    async with started(0.0) as process:
        for _ in range(2):
            assert (await floor.ended(await floor.submit())).state is JobState.SUCCEEDED
            await asyncio.sleep(0.2)
        assert process.returncode is None


def test_it_needs_neither_discord_nor_an_http_server_nor_torch_to_be_imported() -> None:
    code = (
        "import sys, flux_core.worker.process, flux_core.worker.supervisor\n"
        "print([name for name in ('discord', 'aiohttp', 'torch', 'bot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_local_engine_loads_without_discord(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('discord', 'aiohttp', 'bot'): sys.modules[name] = None\n"
        "from flux_core.settings import Settings\n"
        "from flux_core.worker.process import local_provider\n"
        "provider = local_provider(Settings(device='cpu', torch_threads=1))\n"
        "print(provider.name, list(provider.offers), provider.device)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment(tmp_path, "sqlite:///x.db"),
    )
    assert done.stdout.strip() == "local ['flux-tiny'] cpu"
    assert "torchvision" not in done.stderr, "the libraries' hints stay out of the log"
