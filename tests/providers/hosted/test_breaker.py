"""When a vendor is left alone, and how it comes back."""

from __future__ import annotations

import asyncio
import logging

import pytest

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
    TimedOut,
)
from flux_core.providers.hosted.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("Sketch", advice=lambda reason: f"Advice: {reason}.", clock=clock)


DOWN = ProviderDown("Sketch is down", provider="Sketch")
NO_CREDIT = ProviderClosed("Sketch: no credit", provider="Sketch", reason="credit")


async def fail(breaker: Breaker, error: GenerationFailed, times: int = 1) -> None:
    for _ in range(times):
        (await breaker.admit()).failed(error)


@pytest.mark.parametrize("kind", [ProviderDown, ProviderBroken, ProviderBusy, OutcomeUnknown])
async def test_it_closes_after_faults_in_a_row(breaker: Breaker, kind: type[GenerationFailed]) -> None:
    await fail(breaker, kind("no"), 2)
    assert breaker.closed is None
    await fail(breaker, kind("no"))
    assert breaker.closed == "no"
    with pytest.raises(ProviderBusy):
        await breaker.admit()


async def test_a_job_that_goes_well_in_between_starts_the_count_anew(breaker: Breaker) -> None:
    await fail(breaker, DOWN, 2)
    (await breaker.admit()).went_well()
    await fail(breaker, DOWN, 2)
    assert breaker.closed is None


@pytest.mark.parametrize("error", [Refused(reason="x"), RequestRejected("x"), TimedOut(seconds=1)])
async def test_what_says_nothing_of_the_vendor_does_not_count(breaker: Breaker, error: GenerationFailed) -> None:
    await fail(breaker, error, 10)
    assert breaker.closed is None


async def test_one_probe_at_a_time_and_others_wait_for_its_end(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, DOWN, 3)
    clock.now = 14.9
    assert breaker.closed is not None
    clock.now = 15.0
    assert breaker.closed is None
    probe = await breaker.admit()
    assert breaker.closed is not None
    other = asyncio.create_task(breaker.admit())
    await asyncio.sleep(0.01)
    assert not other.done()
    probe.went_well()
    assert not (await other).probe
    assert breaker.closed is None


async def test_a_probe_that_fails_doubles_the_pause_up_to_a_bound(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, DOWN, 3)
    pauses = []
    for _ in range(7):
        began = clock.now
        while breaker.closed is not None:
            clock.now += 1.0
        pauses.append(clock.now - began)
        probe = await breaker.admit()
        waiting = asyncio.create_task(breaker.admit())
        await asyncio.sleep(0)
        probe.failed(DOWN)
        with pytest.raises(ProviderBusy):
            await waiting
    assert pauses == [15, 30, 60, 120, 240, 300, 300]
    clock.now += 300
    (await breaker.admit()).went_well()
    await fail(breaker, DOWN, 3)
    clock.now += 15
    assert breaker.closed is None


async def test_a_probe_that_proves_nothing_leaves_it_to_the_next_job(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, DOWN, 3)
    clock.now = 15
    for error in (None, RequestRejected("x")):
        probe = await breaker.admit()
        assert probe.probe
        if error is None:
            probe.proved_nothing()
        else:
            probe.failed(error)
        assert breaker.closed is None


async def test_a_probe_that_is_refused_shows_that_the_vendor_works(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, DOWN, 3)
    clock.now = 15
    (await breaker.admit()).went_well()
    assert not (await breaker.admit()).probe


async def test_jobs_from_before_the_trouble_do_not_open_it_again(breaker: Breaker) -> None:
    old = await breaker.admit()
    resumed = breaker.resumed()
    await fail(breaker, DOWN, 3)
    old.went_well()
    resumed.went_well()
    assert breaker.closed is not None


async def test_only_the_first_word_of_an_attempt_counts(breaker: Breaker) -> None:
    for _ in range(2):
        attempt = await breaker.admit()
        for _ in range(5):
            attempt.failed(DOWN)
        attempt.proved_nothing()
    assert breaker.closed is None


async def test_without_credit_it_is_off_for_long_and_the_operator_is_told_once(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    jobs = [await breaker.admit() for _ in range(5)]
    for job in jobs:
        job.failed(NO_CREDIT)
    with pytest.raises(ProviderClosed) as caught:
        await breaker.admit()
    assert caught.value.facts["reason"] == "credit"
    pauses = []
    for _ in range(4):
        began = clock.now
        while breaker.closed is not None:
            clock.now += 60
        pauses.append(clock.now - began)
        (await breaker.admit()).failed(NO_CREDIT)
    assert pauses == [600, 1200, 2400, 3600]
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(errors) == 1
    assert errors[0].levelno == logging.ERROR
    assert "no credit" in errors[0].getMessage()
    assert "Advice: credit." in errors[0].getMessage()
    caplog.clear()
    clock.now += 3600
    (await breaker.admit()).went_well()
    assert [record.getMessage() for record in caplog.records if "again" in record.getMessage()][-1:] == [
        "Sketch works again"
    ]
    assert breaker.closed is None


async def test_an_outage_that_turns_out_to_be_a_dead_key_is_told(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await fail(breaker, DOWN, 3)
    clock.now = 15
    (await breaker.admit()).failed(ProviderClosed("bad key", provider="Sketch", reason="key"))
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [
        logging.WARNING,
        logging.ERROR,
    ]
    clock.now += 599
    assert breaker.closed == "bad key"
