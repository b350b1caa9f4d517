"""Hosted providers in a whole house: real processes, the sandbox for Discord, stand-ins for the vendors."""

from __future__ import annotations

import asyncio
import io
from contextlib import AsyncExitStack

import numpy as np
import pytest
from PIL import Image

from bot.sandbox.reading import labels_of, pictures_of, text_of
from flux_core.generation import GenerationRequest, RequestOptions, resolve
from flux_core.jobs import Account, Job, JobState, Origin
from flux_core.providers.scripted import colour_of
from flux_core.service import Studio, Submission
from tests.e2e.installation import Installation, kill
from tests.providers.hosted.conftest import all_cases
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Silence, Status

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
LONG = 240


def configure(monkeypatch: pytest.MonkeyPatch, case: Case, standin: StandIn) -> None:
    """Put a stand-in's address and key where an operator would."""
    prefix = case.vendor.name.upper()
    monkeypatch.setenv(f"{prefix}_BASE_URL", standin.base_url)
    monkeypatch.setenv(f"{prefix}_API_KEY", standin.key)
    for name, value in case.extra.items():
        monkeypatch.setenv(f"{prefix}_{name.upper()}", value)
    if case.access_models:
        models = ",".join(f"{ours}={theirs}" for ours, theirs in case.access_models.items())
        monkeypatch.setenv(f"{prefix}_MODELS", models)


def case_of(name: str) -> Case:
    return next(case for case in all_cases() if case.vendor.name == name)


def rounds(cases: list[Case]) -> list[list[Case]]:
    """Split cases so that each vendor, which has one place in the settings, is once in each part."""
    parts: list[list[Case]] = []
    for case in cases:
        part = next((p for p in parts if case.vendor not in [other.vendor for other in p]), None)
        if part is None:
            parts.append([case])
        else:
            part.append(case)
    return parts


async def submit(studio: Studio, **options: object) -> Job:
    given = RequestOptions.model_validate({"prompt": "a lighthouse", "seed": 7, "count": 1} | options)
    request: GenerationRequest = resolve(given, studio.catalogue)
    return await studio.submit(Submission(account=Account(1, 1), request=request, origin=Origin.SHELL))


async def until(studio: Studio, job: Job, reached) -> Job:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(LONG):
        while not reached(now := await studio.job(job.id)):  # noqa: ASYNC110 (other processes set no event of ours)
            await asyncio.sleep(0.02)
        return now


async def ended(studio: Studio, job: Job) -> Job:
    return await until(studio, job, lambda now: now.state.ended)


async def test_imagine_with_flux_dev_is_drawn_by_a_hosted_provider(installation, sandbox, ada, monkeypatch):
    case = case_of("eachlabs")
    async with case.standin() as standin:
        configure(monkeypatch, case, standin)
        await installation.bot()
        await installation.hosted()
        interaction = await ada.command("imagine", prompt="a lighthouse at dusk", model="flux-dev", count=2, seed=7)
        first = await ada.response(interaction, LONG)
        card = await ada.wait_for(lambda m: m["id"] == first["id"] and "Reroll" in labels_of(m), LONG)
        assert "Eachlabs" in text_of(card)
        drawn = [Image.open(io.BytesIO(await ada.download(url))).convert("RGB") for url in pictures_of(card)]
        assert [picture.size for picture in drawn] == [(1024, 1024)] * 2
        for picture, seed in zip(drawn, (7, 8), strict=True):
            assert np.abs(np.asarray(picture, float).mean(axis=(0, 1)) - colour_of(seed)).max() < 8
        details = await ada.response(await ada.press(card, "Details"))
        assert "Eachlabs" in text_of(details)
        assert len(standin.submits) == 2
        async with installation.studio() as studio:
            assert (await studio.spent_today())["eachlabs"] > 0
        assert standin.key not in installation.log("hosted") + installation.log("bot")


async def test_a_variation_where_nobody_starts_from_pictures_says_so(installation, sandbox, ada, monkeypatch):
    case = case_of("cloudflare")
    async with case.standin() as standin:
        configure(monkeypatch, case, standin)
        await installation.bot()
        await installation.hosted()
        interaction = await ada.command("imagine", prompt="a lighthouse", model="flux-schnell", count=1, seed=7)
        first = await ada.response(interaction, LONG)
        card = await ada.wait_for(lambda m: m["id"] == first["id"] and "Reroll" in labels_of(m), LONG)
        varied = await ada.response(await ada.press(card, "V1"), LONG)
        card = await ada.wait_for(lambda m: m["id"] == varied["id"] and "Reroll" in labels_of(m), LONG)
        assert "words" in text_of(card)
        assert len(pictures_of(card)) == 1
        assert standin.submits[0]["prompt"] == standin.submits[1]["prompt"]


async def test_a_job_goes_from_our_card_to_a_provider_to_the_next(sandbox, tmp_path, monkeypatch):
    first, second = case_of("deepinfra"), case_of("together")  # the cheapest of the two comes first
    async with AsyncExitStack() as stack:
        broken, sound = [await stack.enter_async_context(case.standin()) for case in (first, second)]
        broken.trouble("submit", Status(500, {"error": "internal error"}), times=20)
        for case, standin in ((first, broken), (second, sound)):
            configure(monkeypatch, case, standin)
        monkeypatch.setenv("FLUX_SCHNELL_PATH", str(tmp_path / "no-such-weights"))
        # Otherwise the worker finds out at its start, and offers the model to nobody.
        house = Installation(sandbox, tmp_path, WARM_UP="off")
        stack.push_async_callback(house.close)
        await house.worker()
        await house.hosted()
        async with house.studio() as studio:
            async with asyncio.timeout(LONG):
                while len(await studio.venues()) < 3:  # noqa: ASYNC110 (other processes set no event of ours)
                    await asyncio.sleep(0.05)
            job = await ended(studio, await submit(studio, model="flux-schnell"))
            assert (job.state, job.provider) == (JobState.SUCCEEDED, "together"), job
            assert job.tried == ("local", "deepinfra")
            assert [remark.code for remark in job.remarks].count("passed_on") == 2
            assert len(await studio.pictures(job.id)) == 1
            assert set(await studio.spent_today()) >= {"together"}
            assert (await studio.spent_today()).get("deepinfra", 0) == 0
        assert len(sound.submits) == 1


POLLED = rounds([case for case in all_cases() if case.polled])


@pytest.mark.parametrize("cases", POLLED, ids=lambda cases: "+".join(case.id for case in cases))
async def test_a_worker_killed_between_submit_and_result_pays_once(cases, sandbox, tmp_path, monkeypatch):
    async with AsyncExitStack() as stack:
        standins = [await stack.enter_async_context(case.standin()) for case in cases]
        for case, standin in zip(cases, standins, strict=True):
            standin.polls_needed = 1_000_000
            configure(monkeypatch, case, standin)
        house = Installation(sandbox, tmp_path)
        stack.push_async_callback(house.close)
        process = await house.hosted()
        async with house.studio() as studio:
            jobs = [await submit(studio, model=case.models[0], provider=case.vendor.name) for case in cases]
            for job, standin in zip(jobs, standins, strict=True):
                await until(
                    studio, job, lambda now, seen=standin: now.provider_job_id is not None and seen.of_kind("poll")
                )
            await kill(process)
            for standin in standins:
                standin.polls_needed = 0
            await house.hosted()
            for job, case in zip(jobs, cases, strict=True):
                after = await ended(studio, job)
                assert (case.id, after.state) == (case.id, JobState.SUCCEEDED), house.log("hosted")
                assert [picture.seed for picture in await studio.pictures(job.id)] == [7]
        assert [len(standin.submits) for standin in standins] == [1] * len(cases)


@pytest.mark.parametrize("name", ["eachlabs", "together", "comfyui"])
async def test_a_worker_killed_before_the_answer_never_submits_again(name, sandbox, tmp_path, monkeypatch):
    case = case_of(name)
    async with case.standin() as standin:
        standin.trouble("submit", Silence())
        configure(monkeypatch, case, standin)
        house = Installation(sandbox, tmp_path)
        try:
            process = await house.hosted()
            async with house.studio() as studio:
                before = (await studio.quota(Account(1, 1))).left
                job = await submit(studio, model=case.models[0])
                async with asyncio.timeout(LONG):
                    while not standin.submits:  # noqa: ASYNC110 (the other end is a process)
                        await asyncio.sleep(0.01)
                await kill(process)
                await house.hosted()
                after = await ended(studio, job)
                if case.vendor.names_tasks:
                    assert after.state is JobState.SUCCEEDED, after
                else:
                    assert (after.state, after.error_code) == (JobState.FAILED, "outcome_unknown")
                    assert (await studio.quota(Account(1, 1))).left == before
            assert len(standin.submits) == 1
        finally:
            await house.close()
