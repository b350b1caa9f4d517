"""The supervisor with real child processes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest

from flux_core.worker.supervisor import Patience, Supervisor

HASTY = Patience(first=0.02, most=0.1, healthy=60.0, deaths=3)
WAITS = "import signal, sys; print('up', file=sys.stderr, flush=True); signal.pause()"


def python(code: str) -> Callable[[int], Sequence[str]]:
    return lambda number: [sys.executable, "-c", code, str(number)]


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 (other processes set no event of ours)
            await asyncio.sleep(0.01)


async def test_every_worker_runs_with_its_number_and_ends_with_the_rest(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import signal, sys; print('number', sys.argv[1], file=sys.stderr, flush=True); signal.pause()"
    supervisor = Supervisor(python(code), 3)
    said = ""

    def all_up() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return all(f"number {n}" in said for n in range(3))

    async with running(supervisor):
        await until(all_up)
        pids = supervisor.pids
        assert len(pids) == 3
    assert supervisor.pids == []
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_worker_that_is_killed_starts_anew(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(python(WAITS), 1, patience=HASTY)
    async with running(supervisor):
        await until(lambda: len(supervisor.pids) == 1)
        (first,) = supervisor.pids
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pids not in ([], [first]))
    assert "It was ended by SIGKILL" in caplog.text


async def test_a_worker_that_keeps_dying_is_reported_once_with_its_last_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    starts = tmp_path / "starts"
    code = (
        f"import sys; open({str(starts)!r}, 'a').write('x')\n"
        "print('FLUX_DEV_PATH names no folder', file=sys.stderr); sys.exit(3)"
    )
    with caplog.at_level(logging.WARNING):
        async with running(Supervisor(python(code), 1, patience=HASTY)):
            await until(lambda: starts.exists() and len(starts.read_text()) >= 6)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    message = errors[0].getMessage()
    assert "Worker 0 died 3 times in a row" in message
    assert "exit code 3" in message
    assert "FLUX_DEV_PATH names no folder" in message


async def test_a_command_that_does_not_exist_is_reported_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Supervisor(lambda number: ["/no/such/program"], 1, patience=HASTY)):
        await until(lambda: any(record.levelno == logging.ERROR for record in caplog.records))
    assert "cannot be started" in caplog.text


async def test_a_long_life_wipes_the_slate_clean(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(first=0.01, most=0.01, healthy=0.0, deaths=2)
    async with running(Supervisor(python("pass"), 1, patience=patience)):
        await until(lambda: len(caplog.records) >= 4)
    assert not any(record.levelno == logging.ERROR for record in caplog.records)


def test_waits_grow_to_a_limit_and_are_spread() -> None:
    patience = Patience(first=1.0, most=60.0)
    assert [patience.delay(deaths, 0.5) for deaths in (1, 2, 3, 7, 5000)] == [1.0, 2.0, 4.0, 60.0, 60.0]
    assert patience.delay(1, 0.0) == 0.5
    assert patience.delay(1, 0.99) == pytest.approx(1.49)


async def test_a_worker_that_will_not_stop_is_killed(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(ready)!r}, 'w').close()\ntime.sleep(60)"
    )
    supervisor = Supervisor(python(code), 1, stop_seconds=0.3)
    async with running(supervisor):
        await until(ready.exists)
        (pid,) = supervisor.pids
    assert not psutil.pid_exists(pid)
    assert "is killed" in caplog.text


async def test_stopping_does_not_wait_for_the_next_start() -> None:
    slow = Patience(first=1000.0, most=1000.0)
    supervisor = Supervisor(python("pass"), 1, patience=slow)
    async with running(supervisor):
        await until(lambda: supervisor.pids != [])
        await until(lambda: supervisor.pids == [])


async def test_no_worker_survives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    worker = (
        "import os, sys\n"
        f"open({str(pids)!r}, 'a').write(str(os.getpid()) + chr(10))\n"
        "sys.stdin.buffer.read()"  # what run_worker(supervised=True) does in its thread
    )
    parent = (
        "import asyncio, sys\nfrom flux_core.worker.supervisor import Supervisor\n"
        f"asyncio.run(Supervisor(lambda n: [sys.executable, '-c', {worker!r}], 2).run(asyncio.Event()))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent)
    await until(lambda: pids.exists() and len(pids.read_text().splitlines()) == 2)
    process.kill()
    await process.wait()
    await until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split()))


@contextmanager
def a_log_that_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make standard error what `| tee log` leaves behind when it is ended."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as broken, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", broken)
        yield
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), writer)  # closing writes what is left


async def test_a_worker_is_not_held_up_when_nobody_takes_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = f"""
import pathlib, signal, sys
for _ in range(4000):
    print("a line that no pipe has room for in the end", file=sys.stderr, flush=True)
pathlib.Path({str(tmp_path / "said")!r}).touch()
signal.pause()
"""
    with a_log_that_nobody_takes(monkeypatch):
        async with running(Supervisor(python(code), 1)):
            await until((tmp_path / "said").exists)


async def test_a_line_without_end_does_no_harm(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys, signal; sys.stderr.write('x' * 300_000 + '\\nafter\\n'); sys.stderr.flush(); signal.pause()"
    said = ""

    def told() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "after" in said

    async with running(Supervisor(python(code), 1)):
        await until(told)
