"""No file is left behind: what a killed worker stored is found, and nothing that anybody needs is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from flux_core import maintenance
from flux_core.images.intake import VettedPicture
from flux_core.jobs import Job, JobState
from flux_core.maintenance import chores
from tests.database.scene import ANNE, BERT, DAY, NOON, Scene, a_request

ROOT = Path(__file__).parents[2]


async def sweep(scene: Scene) -> list[int]:
    """Look for strays, and delete what is discarded."""
    found = chores(scene.db, scene.queue, scene.store)
    names = ("stray files dropped", "discarded pictures deleted")
    return [await chore.work() for name in names for chore in found if chore.name == name]


def everything(folder: Path) -> list[str]:
    """All files, also those that the store does not list."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def halves(folder: Path) -> list[str]:
    """The files that were not written to the end."""
    return [name for name in everything(folder) if "#" in name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the scene's store keeps its files."""
    return tmp_path / "pictures"


def written(folder: Path, at: float = NOON) -> None:
    """Let everything be written at this time."""
    for path in folder.rglob("*"):
        os.utime(path, (at, at))


async def draw(scene: Scene, job: Job, worker: str = "w1") -> None:
    """Store what was drawn for a claimed job and end it."""
    for position in range(job.request.count):
        await scene.store.put(f"pictures/{job.id}/{position}.webp", b"pixels", "image/webp")
    await scene.succeed(job, worker)


async def kill_one_that_stored(database_url: str, folder: Path) -> None:
    """Run a worker until it has stored what it drew, and kill it before it tells."""
    arguments = ("-m", "tests.service.struck_worker", database_url, str(folder.parent))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"stored\n"
            while not halves(folder):  # noqa: ASYNC110 (the other process writes it)
                await asyncio.sleep(0.01)
    finally:
        process.kill()
        assert await process.wait() == -signal.SIGKILL


async def test_what_a_killed_worker_stored_goes_and_nothing_needed_is_lost(
    scene: Scene, database_url: str, folder: Path
) -> None:
    uploads = [await scene.studio.store_input(VettedPicture(png=png, width=64, height=64)) for png in (b"1", b"2")]
    given = sorted(upload.key for upload in uploads)
    request = a_request(count=2).model_copy(update={"input_picture": uploads[0], "input_mask": uploads[1]})
    job = await scene.submit(ANNE, request=request)
    await kill_one_that_stored(database_url, folder)
    assert halves(folder) == [f"pictures/{job.id}/2.webp#1"]
    written(folder)
    scene.clock.now += 3 * DAY
    # The next attempt has begun, has stored one picture of two, and is slow: nothing that it may need goes.
    [again] = await scene.queue.rescue()
    assert (await scene.claim("w2")).id == again.id == job.id
    await scene.store.put(f"pictures/{job.id}/0.webp", b"pixels", "image/webp")
    assert await sweep(scene) == [1, 0]  # the half picture
    assert everything(folder) == [
        *given,
        *(f"pictures/{job.id}/{name}" for name in ("0.png", "0.webp", "1.webp")),
        *(f"previews/{job.id}/{name}" for name in ("first.webp", "second.webp")),
    ]
    await draw(scene, job, "w2")
    scene.clock.now += 61
    for chore in chores(scene.db, scene.queue, scene.store):
        if "previews" in chore.name:
            assert await chore.work() == 1
    assert await sweep(scene) == [2, 3]
    shown = [picture.key for picture in await scene.studio.pictures(job.id)]
    assert everything(folder) == [*given, *shown]
    assert [await scene.store.get(key) for key in shown if key] == [b"pixels"] * 2
    assert await sweep(scene) == [0, 0]


async def test_a_job_that_failed_in_the_end_leaves_nothing(scene: Scene, database_url: str, folder: Path) -> None:
    scene.queue.max_attempts = 1
    job = await scene.submit()
    await kill_one_that_stored(database_url, folder)
    written(folder)
    scene.clock.now += DAY + 1
    [failed] = await scene.queue.rescue()
    assert failed.state is JobState.FAILED
    assert (await scene.studio.quota(ANNE)).spent == 0
    assert await sweep(scene) == [4, 3]  # its last preview is dropped with other stale ones
    assert everything(folder) == [f"previews/{job.id}/first.webp"]


async def test_what_was_just_written_is_left_alone(scene: Scene, folder: Path) -> None:
    job = await scene.submit()
    await scene.claim()
    await draw(scene, job)
    await scene.store.put(f"pictures/{job.id}/late.webp", b"stray", "image/webp")
    (folder / "pictures" / job.id / "half.webp#1").write_bytes(b"half")
    written(folder, NOON + 10)
    scene.clock.now = NOON + DAY + 10
    assert await sweep(scene) == [0, 0]
    scene.clock.now += 1
    assert await sweep(scene) == [2, 1]
    assert everything(folder) == [f"pictures/{job.id}/0.webp"]


async def test_uploads_that_the_table_does_not_know_go(scene: Scene, folder: Path) -> None:
    known = await scene.studio.store_input(VettedPicture(png=b"1", width=64, height=64))
    job = await scene.submit(BERT)
    strays = [f"inputs/{1:064x}.png", f"inputs/{2:064x}-link"]
    for key in (*strays, "inputs/readme.txt"):
        await scene.store.put(key, b"stray", "image/png")
    written(folder, NOON + 10)
    scene.clock.now += DAY + 11
    assert await sweep(scene) == [2, 2]
    assert everything(folder) == [known.key, "inputs/readme.txt"]
    assert (await scene.studio.job(job.id)).state is JobState.QUEUED


async def test_an_empty_database_by_mistake_costs_no_picture(scene: Scene, folder: Path) -> None:
    theirs = [f"pictures/{1:024x}/0.webp", f"previews/{1:024x}/a.webp", f"inputs/{1:064x}.png"]
    for key in theirs:
        await scene.store.put(key, b"of another database", "image/webp")
    written(folder, NOON - 10)
    scene.clock.now += 3 * DAY
    assert await sweep(scene) == [0, 0]
    await scene.submit()
    await scene.claim()
    assert await sweep(scene) == [0, 0]
    assert everything(folder) == sorted(theirs)


async def test_many_are_looked_at_a_few_at_a_time(scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "BATCH", 3)
    job = await scene.submit(count=4)
    await scene.claim()
    await draw(scene, job)
    for number in range(10):
        await scene.store.put(f"pictures/{job.id}/x{number}.webp", b"stray", "image/webp")
    written(folder)
    scene.clock.now += DAY + 1
    assert await sweep(scene) == [10, 3]
    assert await sweep(scene) == [0, 3]
    assert await sweep(scene) == [0, 3]
    assert await sweep(scene) == [0, 1]
    assert everything(folder) == [f"pictures/{job.id}/{position}.webp" for position in range(4)]
