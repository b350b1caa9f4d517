"""What goes wrong at every hosted provider: one order at most, an end within bounds, a key that stays with us."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    ProviderFault,
)
from flux_core.providers.base import Drawing
from flux_core.providers.hosted.faults import UNCLEAR
from tests.providers.hosted.conftest import (
    PATIENT,
    WAITING,
    Desk,
    Watcher,
    assert_key_unsaid,
    desk_for,
    looks_like,
    provider_for,
)
from tests.providers.hosted.contract import (
    CASES,
    KEYED,
    ONE_OF_EACH,
    PASSING,
    POLLED,
    STRANGE,
    UNANSWERED,
    WITH_FILES,
    Odd,
    astray,
    each,
)
from tests.providers.hosted.standin import Case, unreachable_url
from tests.providers.hosted.troubles import Fault, Html, Huge, Mangled, ResetAfterBody, Status, Truncated, WrongType


def documented() -> list[Any]:
    return [
        pytest.param(case, status, expected, id=f"{case.id}-{index}-{status.code}")
        for case in CASES
        for index, (status, expected) in enumerate(case.documented)
    ]


@pytest.mark.parametrize(("case", "status", "expected"), documented())
async def test_each_documented_answer_becomes_its_error_and_is_not_paid_for(
    desk: Desk, status: Status, expected: type[GenerationFailed] | GenerationFailed
) -> None:
    desk.standin.trouble("submit", status, times=50)
    watcher = Watcher()
    error = await desk.outcome(desk.task(count=1), watcher)
    assert isinstance(error, GenerationFailed)
    if isinstance(expected, type):
        assert type(error) is expected, str(error)
    else:
        assert type(error) is type(expected), str(error)
        assert error.facts.items() >= expected.facts.items()
    assert len(desk.standin.submits) <= 1
    assert_key_unsaid(error)
    if isinstance(error, ProviderFault):
        assert watcher.receipt is None, "another provider may draw it"


async def test_trouble_with_a_submit_never_sends_it_twice(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("submit", fault)
        watcher = Watcher()
        outcome = await desk.outcome(desk.task(count=1), watcher)
        assert len(desk.standin.submits) == 1
        assert not astray(desk)
        if isinstance(outcome, Drawing):
            assert len(outcome.pictures) == 1
            return
        assert_key_unsaid(outcome)
        if fault in UNANSWERED and not (case.vendor.names_tasks and not desk.standin.tasks):
            # Where it names the task itself, it may find out by that name that nothing has arrived.
            assert isinstance(outcome, OutcomeUnknown)
        if isinstance(outcome, ProviderFault):
            assert watcher.receipt is None, "another provider may draw it"
        else:
            assert isinstance(outcome, OutcomeUnknown)

    await each(case, (*UNANSWERED, *STRANGE), check, replace(PATIENT, submit_silence=0.4, whole=0.5))


async def test_what_may_have_been_taken_on_is_drawn_nowhere_else(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("submit", fault)
        watcher = Watcher()
        outcome = await desk.outcome(desk.task(count=1), watcher)
        assert len(desk.standin.submits) == 1
        if not case.vendor.names_tasks:  # else it is found out by its name
            assert isinstance(outcome, OutcomeUnknown)
            assert watcher.receipt is not None

    words = {"error": "bad gateway", "detail": "bad gateway", "message": "bad gateway", "errors": [{"message": "x"}]}
    unclear = [Status(code, words) for code in sorted(UNCLEAR)]
    # Half a picture is no JSON, but surely the end of an order.
    await each(case, unclear if case.id == "hf-hf-inference" else [*unclear, Truncated()], check, PATIENT)


@pytest.mark.parametrize("case", ONE_OF_EACH)
async def test_an_answer_without_end_is_not_read_to_its_end(desk: Desk) -> None:
    desk.standin.trouble("submit", Huge())
    error = await desk.outcome(desk.task(count=1))
    assert isinstance(error, OutcomeUnknown)
    assert len(desk.standin.submits) == 1
    assert 64_000_000 < desk.standin.poured < 80_000_000


async def test_a_vendor_that_repeats_the_key_does_not_make_us_repeat_it(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("submit", fault, times=10)
        watcher = Watcher()
        error = await desk.outcome(desk.task(count=1), watcher)
        assert isinstance(error, GenerationFailed)
        assert_key_unsaid(error)
        assert case.standin.key not in f"{desk.provider.closed}{watcher.receipts}"

    words = f"Incorrect key provided: {case.standin.key}"
    bodies = ({"error": words, "detail": words}, {"error": {"message": words}}, {"errors": [{"message": words}]}, words)
    await each(case, [Status(code, body) for code in (400, 401, 429, 500) for body in bodies], check, PATIENT)


async def test_what_the_vendor_did_not_take_on_is_sent_again(desk: Desk) -> None:
    desk.standin.trouble("submit", Status(429, {"error": "slow down"}, {"Retry-After": "0"}))
    assert len((await desk.draw(desk.task(count=1))).pictures) == 1
    assert len(desk.standin.submits) == 1


async def test_one_failed_shot_of_two_leaves_no_order_that_nobody_waits_for(desk: Desk) -> None:
    desk.standin.trouble("submit", ResetAfterBody())
    outcome = await desk.outcome(desk.task(count=2))
    assert len(desk.standin.submits) <= 2
    if isinstance(outcome, Drawing):
        assert outcome.pictures
    else:
        assert isinstance(outcome, OutcomeUnknown)


@pytest.mark.parametrize("case", POLLED)
async def test_a_passing_trouble_with_a_poll_costs_no_picture(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("poll", fault)
        drawing = await desk.draw(desk.task(count=1))
        assert len(drawing.pictures) == 1
        assert len(desk.standin.submits) == 1

    await each(case, (*PASSING, Truncated(), Html(), WrongType()), check, WAITING)


@pytest.mark.parametrize("case", POLLED)
async def test_lasting_trouble_with_polls_ends_the_job(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("poll", fault, times=100_000)
        watcher = Watcher()
        outcome = await desk.outcome(desk.task(count=1), watcher)
        assert len(desk.standin.submits) == 1
        assert not astray(desk)
        if isinstance(outcome, GenerationFailed):
            assert_key_unsaid(outcome)
            assert isinstance(outcome, ProviderFault) == (watcher.receipt is None)
        else:
            assert isinstance(fault, WrongType), "nothing else holds a picture"

    await each(case, (*UNANSWERED, *STRANGE), check, replace(PATIENT, silence=0.15, whole=0.2, tries=1))


@pytest.mark.parametrize("case", POLLED)
async def test_a_task_is_lost_only_when_the_vendor_says_so_again_and_again(case: Case) -> None:
    async with desk_for(case) as desk:
        desk.standin.forgets = 1
        assert len((await desk.draw(desk.task(count=1))).pictures) == 1
        if not case.vendor.names_tasks:
            desk.standin.forgets = 100_000
            watcher = Watcher()
            assert isinstance(await desk.outcome(desk.task(count=1), watcher), ProviderBroken)
            assert watcher.receipt is None, "another provider may draw it"
            assert len(desk.standin.submits) == 2


TURNS = range(12)


async def test_an_answer_that_is_not_what_it_should_be_never_confuses_it(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.polls_needed = 0
        desk.standin.trouble("submit" if not case.polled or isinstance(fault, Odd) else "poll", fault)
        await desk.outcome(desk.task(count=1))
        assert len(desk.standin.submits) == 1

    await each(case, [kind(turn) for turn in TURNS for kind in (Mangled, Odd)], check, PATIENT)
    assert not [record for record in caplog.records if record.exc_info], "an answer was taken for granted"


@pytest.mark.parametrize("case", WITH_FILES)
async def test_a_passing_trouble_with_a_download_costs_no_picture(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("file", fault)
        drawing = await desk.draw(desk.task(count=1))
        assert looks_like(drawing.pictures[0].image, 7) or not case.honours_seeds
        assert len(desk.standin.submits) == 1

    await each(case, (*PASSING, WrongType()), check, WAITING)


@pytest.mark.parametrize("case", WITH_FILES)
async def test_a_file_that_is_no_picture_is_never_taken_for_one(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("file", fault, times=100_000)
        watcher = Watcher()
        outcome = await desk.outcome(desk.task(count=1), watcher)
        assert len(desk.standin.submits) == 1
        assert not astray(desk)
        if not isinstance(outcome, Drawing):
            # A vendor that fetches it while it polls goes on asking for it.
            assert isinstance(outcome, ProviderBroken | OutcomeUnknown)
            assert isinstance(outcome, ProviderFault) == (watcher.receipt is None)
            assert_key_unsaid(outcome)
        else:
            assert not desk.standin.of_kind("file"), "only a mode that answers with the bytes themselves gets them"

    hasty = replace(PATIENT, download=0.3)
    if case.standin.files_ask_key:  # then it is fetched as polls are answered
        hasty = replace(PATIENT, silence=0.15, whole=0.2, tries=1)
    await each(case, (fault for fault in (*UNANSWERED, *STRANGE) if not isinstance(fault, WrongType)), check, hasty)


async def test_bytes_that_are_no_picture_are_never_taken_for_one(case: Case) -> None:
    async def check(desk: Desk, fault: Fault) -> None:
        desk.standin.trouble("picture", fault, times=100)
        watcher = Watcher()
        error = await desk.outcome(desk.task(count=1), watcher)
        assert isinstance(error, ProviderBroken)
        assert watcher.receipt is None
        assert len(desk.standin.submits) == 1

    await each(case, (Truncated(), Html(), Huge()), check, PATIENT)


async def test_a_vendor_that_nobody_can_reach_was_not_paid(case: Case) -> None:
    async with case.standin() as standin:
        url = unreachable_url() + standin.prefix
        async with provider_for(case, standin, base_url=url) as provider:
            desk, watcher = Desk(case, standin, provider, PATIENT), Watcher()
            error = await desk.outcome(desk.task(count=1), watcher)
            assert isinstance(error, ProviderDown)
            assert watcher.receipt is None


@pytest.mark.parametrize("case", KEYED)
async def test_a_wrong_key_closes_the_provider(case: Case) -> None:
    async with case.standin() as standin, provider_for(case, standin, key="wrong-key-0123456789") as provider:
        desk = Desk(case, standin, provider, PATIENT)
        error = await desk.outcome(desk.task(count=1))
        assert isinstance(error, ProviderClosed)
        assert error.facts["reason"] == "key"
        assert standin.submits == []
        assert provider.closed is not None
        assert "wrong-key-0123456789" not in str(error) + provider.closed
