"""From a drawn picture that is not for everybody to what its community wants done with it."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image
from sqlalchemy import Connection

from flux_core.database.pictures import discarded_keys
from flux_core.database.tables import jobs
from flux_core.errors import ConfigurationError
from flux_core.gpu.classifier import Classifier
from flux_core.images.encoding import read_provenance
from flux_core.jobs import Job, JobState
from flux_core.policy.guild import GuildPolicy
from flux_core.providers.base import Drawing, Drawn, DrawTask, Progress
from flux_core.providers.scripted import ScriptedProvider
from flux_core.settings import Settings
from flux_core.worker.process import output_check
from tests.gpu.classifiers import build_classifier
from tests.worker.conftest import ANNE, CATALOGUE, Floor
from tests.worker.test_worker_process import environment

Scripted = Callable[..., ScriptedProvider]


class Painter(ScriptedProvider):
    """Draws in one colour after the other, and may flag what it draws."""

    def __init__(self, *colours: str, flags: bool = False) -> None:
        super().__init__(CATALOGUE)
        self.colours = colours
        self.flags = flags

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        await super().draw(task, progress)
        images = [Image.new("RGB", (64, 64), colour) for colour in self.colours]
        pictures = [
            Drawn(image=image, seed=seed, flagged=self.flags)
            for image, seed in zip(images, task.request.seeds, strict=True)
        ]
        return Drawing(pictures=tuple(pictures))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_classifier(tmp_path_factory.mktemp("red"), ["normal", "nsfw"], reds="nsfw"))


@pytest.fixture
async def check(model: str) -> AsyncIterator[Classifier]:
    classifier = Classifier(model, ["NSFW"])
    yield classifier
    await classifier.close()


async def decide(floor: Floor, **policy: Any) -> None:
    await floor.studio.policies.change(
        ANNE.guild_id, lambda _: GuildPolicy.model_validate(policy), by=9, action="moderation output"
    )


async def place(floor: Floor, job: Job, *, age_restricted: bool) -> None:
    """Let a waiting job have been asked for in such a channel."""

    def move(connection: Connection) -> None:
        connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(age_restricted=age_restricted))

    await floor.db.write(move)


async def drawn(floor: Floor, check: object, painter: Painter, *, age_restricted: bool = False) -> Job:
    job = await floor.submit(count=len(painter.colours))
    await place(floor, job, age_restricted=age_restricted)
    async with floor.worker(painter, check=check):
        return await floor.ended(job)


async def is_hidden(floor: Floor, job: Job) -> bool:
    query = sa.select(jobs.c.spoiler).where(jobs.c.id == job.id)
    return bool(await floor.db.read(lambda connection: connection.execute(query).scalar_one()))


async def test_what_was_seen_is_kept_with_each_picture(floor: Floor, check: Classifier) -> None:
    await decide(floor, output={"action": "allow"})
    job = await drawn(floor, check, Painter("green", "red"))
    assert job.state is JobState.SUCCEEDED
    green, red = [picture.unsafe for picture in await floor.studio.pictures(job.id)]
    assert green is not None
    assert green < 0.01
    assert red is not None
    assert red > 0.99
    assert not await is_hidden(floor, job)


async def test_harmless_pictures_are_shown_whatever_the_rule(floor: Floor, check: Classifier) -> None:
    await decide(floor, output={"action": "refuse", "threshold": 0.5})
    job = await drawn(floor, check, Painter("green", "white"))
    assert job.state is JobState.SUCCEEDED
    assert await floor.kinds(job) == ["reserve", "settle"]


async def test_refused_pictures_are_gone_and_paid_back(floor: Floor, check: Classifier) -> None:
    await decide(floor, output={"action": "refuse"})
    job = await drawn(floor, check, Painter("green", "red"), age_restricted=True)
    assert (job.state, job.error_code, job.error_facts) == (JobState.REFUSED, "output_refused", {"elsewhere": False})
    assert (job.provider, job.preview_key) == ("local", None)
    assert await floor.studio.pictures(job.id) == []
    assert await floor.spent() == 0
    assert await floor.kinds(job) == ["reserve", "refund"]
    keys = await floor.db.read(discarded_keys, 10)
    assert {f"pictures/{job.id}/0.webp", f"pictures/{job.id}/1.webp"} <= set(keys)


async def test_age_restricted_channels_may_show_them(floor: Floor, check: Classifier) -> None:
    """The rule of a community that has said nothing."""
    here = await drawn(floor, check, Painter("red"))
    assert (here.state, here.error_code, here.error_facts) == (JobState.REFUSED, "output_refused", {"elsewhere": True})
    there = await drawn(floor, check, Painter("red"), age_restricted=True)
    assert there.state is JobState.SUCCEEDED
    assert not await is_hidden(floor, there)


async def test_a_spoiler_hides_them(floor: Floor, check: Classifier) -> None:
    await decide(floor, output={"action": "spoiler"})
    job = await drawn(floor, check, Painter("red"))
    assert job.state is JobState.SUCCEEDED
    assert await is_hidden(floor, job)
    assert await floor.kinds(job) == ["reserve", "settle"]


async def test_the_threshold_is_the_communitys(floor: Floor) -> None:
    class Unsure:
        async def unsafe(self, images: Sequence[Image.Image]) -> list[float]:
            return [0.6] * len(images)

    await decide(floor, output={"action": "refuse", "threshold": 0.7})
    assert (await drawn(floor, Unsure(), Painter("red"))).state is JobState.SUCCEEDED
    await decide(floor, output={"action": "refuse", "threshold": 0.6})
    assert (await drawn(floor, Unsure(), Painter("red"))).state is JobState.REFUSED


async def test_a_providers_flag_counts_without_any_check(floor: Floor) -> None:
    job = await drawn(floor, None, Painter("green", flags=True))
    assert (job.state, job.error_code) == (JobState.REFUSED, "output_refused")
    await decide(floor, output={"action": "spoiler", "threshold": 1.0})
    hidden = await drawn(floor, None, Painter("green", flags=True))
    assert await is_hidden(floor, hidden)


async def test_without_a_check_pictures_are_shown_and_known_to_be_unchecked(floor: Floor) -> None:
    await decide(floor, output={"action": "refuse"})
    job = await drawn(floor, None, Painter("red"))
    assert job.state is JobState.SUCCEEDED
    assert [picture.unsafe for picture in await floor.studio.pictures(job.id)] == [None]


@pytest.mark.parametrize(
    ("action", "age_restricted", "ends"),
    [
        ("allow", False, JobState.SUCCEEDED),
        ("spoiler", False, JobState.SUCCEEDED),
        ("age_restricted", True, JobState.SUCCEEDED),
        ("age_restricted", False, JobState.FAILED),
        ("refuse", True, JobState.FAILED),
    ],
)
async def test_a_check_that_does_not_load_keeps_strict_communities_from_seeing_anything(
    floor: Floor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    action: str,
    age_restricted: bool,
    ends: JobState,
) -> None:
    await decide(floor, output={"action": action, "threshold": 0.75})
    broken = Classifier(str(tmp_path), [])
    with caplog.at_level(logging.ERROR, "flux_core.gpu.classifier"):
        job = await drawn(floor, broken, Painter("green"), age_restricted=age_restricted)
    assert job.state is ends
    assert job.attempts == 1
    assert any("no image classifier that can be loaded" in record.getMessage() for record in caplog.records)
    assert await is_hidden(floor, job) == (action == "spoiler")
    if ends is JobState.FAILED:
        assert await floor.kinds(job) == ["reserve", "refund"]
        assert await floor.studio.pictures(job.id) == []


async def test_no_preview_is_shown_of_what_will_be_checked(floor: Floor, check: Classifier, scripted: Scripted) -> None:
    seen = []
    for action in ("allow", "refuse", "spoiler", "age_restricted"):
        await decide(floor, output={"action": action, "threshold": 0.9})
        job = await floor.submit(steps=8)
        async with floor.worker(scripted(step_seconds=0.08), check=check):
            job = await floor.until(job, lambda now: now.steps_done >= 6 or now.state.ended)
            seen.append(job.preview_key is not None)
            await floor.ended(job)
    assert seen == [True, False, False, False]


async def test_a_worker_process_checks_with_the_model_of_its_settings(
    floor: Floor, database_url: str, tmp_path: Path
) -> None:
    model = build_classifier(tmp_path / "stern", ["fine", "naughty"], always="naughty")
    settings = {"OUTPUT_CHECK_MODEL": str(model), "OUTPUT_CHECK_LABELS": "Naughty"}
    job = await floor.submit(count=1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.worker.scripted_worker", "0.01"),
        cwd=tmp_path,
        env=environment(tmp_path, database_url) | settings,
        stdin=DEVNULL,
    )
    try:
        ended = await floor.until(job, lambda now: now.state.ended, seconds=60)
    finally:
        process.kill()
        await process.wait()
    assert (ended.state, ended.error_code) == (JobState.REFUSED, "output_refused")


def test_without_a_model_there_is_no_check_and_torch_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flux_core.gpu.classifier", None)
    assert output_check(Settings(_env_file=None)) is None
    with pytest.raises(ConfigurationError, match="OUTPUT_CHECK_MODEL needs what a worker needs"):
        output_check(Settings(_env_file=None, output_check_model="some/classifier"))


async def test_a_community_can_keep_its_prompts_out_of_the_files(floor: Floor) -> None:
    async def said(worker_tells: bool) -> str:
        job = await floor.submit(count=1)
        async with floor.worker(ScriptedProvider(CATALOGUE), tell_prompt=worker_tells):
            await floor.ended(job)
        (picture,) = await floor.studio.pictures(job.id)
        assert picture.key is not None
        text = read_provenance(await floor.store.get(picture.key))
        assert text is not None
        return text

    assert (await said(True)).startswith("a red circle\n")
    assert (await said(False)).startswith("Steps: ")
    await decide(floor, tell_prompt=False)
    assert (await said(True)).startswith("Steps: ")
