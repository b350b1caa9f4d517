"""Orders at once, a provider that is switched off, and its key."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from flux_core.errors import (
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.providers.hosted.provider import HostedProvider
from flux_core.providers.hosted.receipt import Ticket, text_of
from tests.providers.hosted.provider.conftest import Job, provider_of, task
from tests.providers.hosted.sketch import (
    SketchStandIn,
)
from tests.providers.hosted.troubles import Status


async def test_no_more_shots_at_once_than_allowed(standin: SketchStandIn) -> None:
    async with provider_of(standin, concurrency=2) as provider:
        most = 0

        def look(text: str) -> None:
            nonlocal most
            most = max(most, provider.pace.in_flight)

        jobs = [Job(on_write=look) for _ in range(4)]
        await asyncio.gather(*(provider.draw(task(2), job) for job in jobs))
        assert most == 2
        assert provider.concurrency == 2
        assert len(standin.submits) == 8


async def test_no_credit_switches_it_off_and_resumed_jobs_go_on(
    standin: SketchStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    async with provider_of(standin, clock=lambda: now[0]) as provider:
        await provider.draw(task(), Job())
        [known] = standin.tasks
        standin.trouble("submit", Status(402, {"error": "credit"}))
        with pytest.raises(ProviderClosed):
            await provider.draw(task(), Job())
        assert provider.closed is not None
        [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert "SKETCH_API_KEY" in line
        assert standin.key not in line
        with pytest.raises(ProviderClosed):
            await provider.draw(task(), Job())
        assert len(standin.of_kind("submit")) == 2
        assert len((await provider.draw(task(receipt=text_of([Ticket(known)])), Job())).pictures) == 1
        assert provider.closed is not None
        now[0] = 600.0
        assert provider.closed is None
        assert len((await provider.draw(task(), Job())).pictures) == 1
        assert provider.closed is None


async def test_credit_that_runs_out_within_a_job_is_noticed(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.trouble("submit", Status(402))
    assert len((await provider.draw(task(2), Job())).pictures) == 1
    assert provider.closed is not None


async def test_an_outage_switches_it_off_but_refusals_do_not(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.trouble("submit", Status(400, {"error": "moderated", "why": "x"}), times=4)
    standin.trouble("submit", Status(400, {"error": "words"}), times=4)
    for _ in range(8):
        with pytest.raises((Refused, RequestRejected)):
            await provider.draw(task(), Job())
    assert provider.closed is None
    standin.trouble("submit", Status(500), times=3)
    for _ in range(3):
        with pytest.raises(ProviderDown):
            await provider.draw(task(), Job())
    assert provider.closed is not None
    with pytest.raises(ProviderBusy):
        await provider.draw(task(), Job())


async def test_the_key_is_in_nothing_that_is_kept_or_said(
    standin: SketchStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    standin.extra = {"cost": 1, "logs": standin.key}
    job = Job()
    async with provider_of(standin) as provider:
        await provider.draw(task(2), job)
        standin.trouble("submit", Status(400, {"detail": standin.key}))
        with pytest.raises(RequestRejected) as caught:
            await provider.draw(task(), job)
        standin.state = standin.key
        with pytest.raises(ProviderBroken) as broken:
            await provider.draw(task(), job)
    for text in (caplog.text, json.dumps(job.receipts), str(caught.value), str(broken.value), repr(provider)):
        assert standin.key not in text
