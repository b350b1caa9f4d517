"""The engine: what a job costs, how it is resumed, stopped and counted, whatever the vendor."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from flux_core.errors import (
    Cancelled,
    LeaseLost,
    ModelUnavailable,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
    StorageUnavailable,
)
from flux_core.generation import GenerationRequest
from flux_core.providers.base import Drawing, DrawTask
from flux_core.providers.hosted.http import Patience
from flux_core.providers.hosted.provider import HostedProvider
from flux_core.providers.hosted.receipt import Ended, Sent, State, Ticket, parse, text_of
from tests.providers.hosted.sketch import (
    HASTY,
    SIDE,
    SketchAtOnce,
    SketchInPairs,
    SketchNamed,
    SketchStandIn,
    SketchVendor,
    asked_for,
    sketch,
)
from tests.providers.hosted.troubles import Html, ResetAfterBody, ResetAtOnce, Silence, Status, Truncated
from tests.providers.recorder import Recorder

BLUE = Image.new("RGB", (512, 300), (0, 0, 255))


@dataclass
class Job(Recorder):
    """A Progress with a row: it remembers the receipt, and may be stopped or fail at a certain write."""

    on_write: Callable[[str], None] = lambda text: None
    failures: list[Exception | None] = field(default_factory=list)

    async def submitted(self, provider_job_id: str) -> None:
        await asyncio.sleep(0)
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        await super().submitted(provider_job_id)
        self.on_write(provider_job_id)

    @property
    def receipt(self) -> str | None:
        return self.receipts[-1] if self.receipts else None

    def states(self, shots: int) -> list[State]:
        assert self.receipt is not None
        return parse(self.receipt, shots)


@asynccontextmanager
async def provider_of(
    standin: SketchStandIn,
    kind: type[SketchVendor] = SketchVendor,
    *,
    patience: Patience = HASTY,
    access: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[HostedProvider]:
    provider = HostedProvider(sketch(standin, kind, **(access or {})), patience=patience, **settings)
    try:
        yield provider
    finally:
        await provider.close()


@pytest.fixture
async def standin() -> AsyncIterator[SketchStandIn]:
    async with SketchStandIn() as standin:
        yield standin


@pytest.fixture
async def provider(standin: SketchStandIn) -> AsyncIterator[HostedProvider]:
    async with provider_of(standin) as provider:
        yield provider


def task(count: int = 1, *, receipt: str | None = None, image: Image.Image | None = None, **options: Any) -> DrawTask:
    request: GenerationRequest = asked_for(count, picture=image is not None, **options)
    return DrawTask(job_id="j", request=request, input_image=image, provider_job_id=receipt)


def seeds(drawing: Drawing) -> list[int]:
    return [picture.seed for picture in drawing.pictures]


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110 - the fact is another's
            await asyncio.sleep(0.002)


# What comes of it


async def test_it_introduces_itself(provider: HostedProvider) -> None:
    assert (provider.name, provider.device, provider.hosted, provider.concurrency) == ("sketch", "Sketch", True, 8)
    assert set(provider.offers) == {"flux-dev", "flux-schnell"}
    assert provider.closed is None


async def test_pictures_come_in_order_with_their_seeds_and_price(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    job = Job()
    drawing = await provider.draw(task(3), job)
    assert seeds(drawing) == [7, 8, 9]
    assert {picture.image.size for picture in drawing.pictures} == {(SIDE, SIDE)}
    assert drawing.withheld is None
    assert not drawing.from_words
    assert drawing.microdollars == 30_000
    assert len(standin.submits) == 3
    assert job.steps[0] == (0, 4)
    assert job.steps[-1] == (4, 4)
    assert [done for done, _ in job.steps] == sorted({done for done, _ in job.steps})


async def test_what_the_vendor_says_counts_before_what_we_know(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.extra, standin.own_seed = {"cost": 1234}, 99
    drawing = await provider.draw(task(2), Job())
    assert seeds(drawing) == [99, 99]
    assert drawing.microdollars == 2468


async def test_at_once_and_in_pairs(standin: SketchStandIn) -> None:
    async with provider_of(standin, SketchInPairs) as provider:
        assert seeds(await provider.draw(task(3), Job())) == [7, 8, 9]
        assert [body["seeds"] for body in standin.submits] == [[7, 8], [9]]
    async with SketchStandIn(at_once=True) as other, provider_of(other, SketchAtOnce) as provider:
        assert seeds(await provider.draw(task(2), Job())) == [7, 8]
        assert other.of_kind("poll") == []


async def test_result_urls_are_fetched(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.as_urls = True
    assert len((await provider.draw(task(2), Job())).pictures) == 2
    assert len(standin.of_kind("file")) == 2


async def test_progress_and_previews_are_passed_on(standin: SketchStandIn, provider: HostedProvider) -> None:
    file = BytesIO()
    Image.new("RGB", (32, 32), (9, 9, 9)).save(file, "JPEG")
    standin.extra = {"preview": base64.b64encode(file.getvalue()).decode()}
    standin.polls_needed = 4
    job = Job()
    await provider.draw(task(), job)
    assert (2, 4) in job.steps
    assert job.previews
    assert job.previews[0].size == (32, 32)


async def test_the_picture_to_start_from_arrives_in_the_size_asked_for(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    drawing = await provider.draw(task(2, image=BLUE), Job())
    assert [image.size for image in standin.inputs] == [(SIDE, SIDE)] * 2
    assert not drawing.from_words


async def test_a_model_that_draws_from_words_only_says_so(standin: SketchStandIn, provider: HostedProvider) -> None:
    drawing = await provider.draw(task(image=BLUE, model="flux-schnell"), Job())
    assert drawing.from_words
    assert standin.inputs == []
    assert not (await provider.draw(task(model="flux-schnell"), Job())).from_words


@pytest.mark.parametrize("links", [False, True])
async def test_a_vendor_that_wants_a_link_gets_one_where_there_are_links(standin: SketchStandIn, links: bool) -> None:
    async with provider_of(standin, links=links, access={"extra": {"link": "yes"}}) as provider:
        drawing = await provider.draw(replace(task(3, image=BLUE), publish=standin.publish), Job())
        assert drawing.from_words is not links
        assert len(standin.inputs) == (3 if links else 0)
        assert len(standin.stored) == (1 if links else 0)


async def test_what_it_does_not_draw_is_not_asked_for(standin: SketchStandIn, provider: HostedProvider) -> None:
    with pytest.raises(ModelUnavailable):
        await provider.draw(task(model="flux-pro-1.1"), Job())
    vast = task().request.model_copy(update={"width": 2048, "height": 64})
    with pytest.raises(RequestRejected):
        await provider.draw(DrawTask(job_id="j", request=vast), Job())
    assert standin.requests == []


# What does not


async def test_some_held_back_the_others_delivered(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.moderate = {1}
    drawing = await provider.draw(task(3), Job())
    assert len(drawing.pictures) == 2
    assert drawing.withheld == "naughty"
    assert drawing.microdollars == 20_000


async def test_all_held_back_is_a_refusal(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.moderate = {0, 1}
    with pytest.raises(Refused) as caught:
        await provider.draw(task(2), Job())
    assert caught.value.facts["reason"] == "naughty"
    standin.trouble("submit", Status(400, {"error": "moderated", "why": "words"}))
    with pytest.raises(Refused) as caught:
        await provider.draw(task(), Job())
    assert caught.value.facts["reason"] == "words"


async def test_one_that_failed_does_not_spoil_the_others(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.trouble("submit", Status(500, {"detail": "x"}))
    drawing = await provider.draw(task(2), Job())
    assert len(drawing.pictures) == 1
    assert drawing.withheld
    assert drawing.microdollars == 10_000


async def test_one_of_unknown_outcome_does_not_spoil_the_others(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.trouble("submit", ResetAfterBody())
    drawing = await provider.draw(task(3), Job())
    assert len(drawing.pictures) == 2
    assert drawing.withheld
    assert len(standin.submits) == 3


async def test_an_unknown_outcome_says_more_than_a_fault_or_a_refusal(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.trouble("submit", Status(402))
    standin.trouble("submit", ResetAfterBody())
    standin.moderate = {2}
    job = Job()
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(3), job)
    assert job.receipt


async def test_too_few_pictures_are_held_back(standin: SketchStandIn) -> None:
    class Lossy(SketchInPairs):
        def _outcome(self, answer: Any) -> Any:
            outcome = super()._outcome(answer)
            return replace(outcome, found=outcome.found[:1]) if hasattr(outcome, "found") else outcome

    async with provider_of(standin, Lossy) as provider:
        drawing = await provider.draw(task(2), Job())
        assert seeds(drawing) == [7]
        assert drawing.withheld


async def test_another_aspect_is_no_answer(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.size = (SIDE, SIDE // 2)
    with pytest.raises(ProviderBroken):
        await provider.draw(task(), Job())


@pytest.mark.parametrize("state", ["failed", "nonsense", "slip"])
async def test_a_failure_told_by_a_poll_frees_the_job(
    standin: SketchStandIn, provider: HostedProvider, state: str
) -> None:
    job = Job()
    job.on_write = lambda text: setattr(standin, "state", state) if "ticket" in text else None
    with pytest.raises(OutcomeUnknown if state == "slip" else ProviderBroken):
        await provider.draw(task(2), job)
    assert len(standin.submits) == 2
    assert (job.receipt == "") is (state != "slip")


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("fault", [Html(), Truncated(), Html(502), ResetAtOnce(), Silence()], ids=str)
async def test_an_answer_that_tells_nothing_is_an_unknown_outcome(at_once: bool, fault: Any) -> None:
    kind = SketchAtOnce if at_once else SketchVendor
    async with SketchStandIn(at_once=at_once) as standin, provider_of(standin, kind) as provider:
        standin.trouble("submit", fault)
        job = Job()
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(), job)
        assert len(standin.submits) == 1
        assert [type(state) for state in job.states(1)] == [Sent]


async def test_a_slip_in_a_vendors_file_after_the_order_is_an_unknown_outcome(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.state = "slip"
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(), Job())
    assert len(standin.submits) == 1


async def test_a_slip_before_the_order_costs_nothing(standin: SketchStandIn) -> None:
    class Clumsy(SketchVendor):
        async def submit(self, shot: Any, transport: Any) -> Any:
            raise ZeroDivisionError

    async with provider_of(standin, Clumsy) as provider:
        job = Job()
        with pytest.raises(ProviderBroken):
            await provider.draw(task(), job)
        assert job.receipt == ""


async def test_a_vendor_that_would_pay_twice_is_stopped(standin: SketchStandIn) -> None:
    class Greedy(SketchVendor):
        async def submit(self, shot: Any, transport: Any) -> Any:
            await super().submit(shot, transport)
            return await super().submit(shot, transport)

    async with provider_of(standin, Greedy) as provider:
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(), Job())
    assert len(standin.submits) == 1


async def test_a_poll_cannot_pay(standin: SketchStandIn) -> None:
    class Sly(SketchVendor):
        async def poll(self, ticket: str, transport: Any) -> Any:
            return self._outcome(await transport.submit("/order", json={}))

    async with provider_of(standin, Sly) as provider:
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(), Job())
    assert len(standin.submits) == 1


# What is on disk


async def test_nothing_leaves_before_it_is_on_disk(standin: SketchStandIn, provider: HostedProvider) -> None:
    job = Job()
    arrived: list[int] = []
    job.on_write = lambda text: arrived.append(len(standin.submits))
    await provider.draw(task(4), job)
    assert arrived[0] == 0
    assert [type(state) for state in parse(job.receipts[0], 4)] == [Sent] * 4
    assert [type(state) for state in job.states(4)] == [Ticket] * 4
    assert len(job.receipts) <= 5


@pytest.mark.parametrize("error", [StorageUnavailable("away"), LeaseLost()], ids=["away", "lost"])
async def test_what_cannot_be_written_down_is_not_ordered(
    standin: SketchStandIn, provider: HostedProvider, error: Exception
) -> None:
    with pytest.raises(type(error)):
        await provider.draw(task(3), Job(failures=[error, error, error]))
    assert standin.submits == []


async def test_a_ticket_that_cannot_be_written_down_is_used_all_the_same(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    job = Job(failures=[None, StorageUnavailable("away")])
    assert len((await provider.draw(task(), job)).pictures) == 1
    assert [type(state) for state in job.states(1)] == [Sent]


async def test_a_job_that_surely_was_not_taken_on_is_free(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.trouble("submit", Status(402), times=2)
    job = Job()
    with pytest.raises(ProviderClosed):
        await provider.draw(task(2), job)
    assert job.receipts[0]
    assert job.receipt == ""


# Resuming


async def test_a_killed_job_is_resumed_and_paid_once(standin: SketchStandIn) -> None:
    standin.polls_needed = 10**6
    job = Job()
    async with provider_of(standin) as first:
        drawing = asyncio.create_task(first.draw(task(2), job))
        await until(lambda: job.receipt is not None and job.receipt.count("ticket") == 2)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
    assert standin.cancelled == []
    standin.polls_needed = 0
    async with provider_of(standin) as second:
        assert seeds(await second.draw(task(2, receipt=job.receipt), Job())) == [7, 8]
    assert len(standin.submits) == 2


async def test_an_order_in_flight_gets_a_moment_when_the_worker_stops(standin: SketchStandIn) -> None:
    standin.seconds = 0.1
    job = Job()
    async with provider_of(standin) as provider:
        drawing = asyncio.create_task(provider.draw(task(2), job))
        await until(lambda: len(standin.submits) == 2)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
    assert [type(state) for state in job.states(2)] == [Ticket, Ticket]
    assert standin.cancelled == []


async def test_a_stop_before_the_order_leaves_the_job_free(standin: SketchStandIn) -> None:
    begun = asyncio.Event()

    class Slow(SketchVendor):
        async def submit(self, shot: Any, transport: Any) -> Any:
            begun.set()
            await asyncio.sleep(30)

    job = Job()
    async with provider_of(standin, Slow) as provider:
        drawing = asyncio.create_task(provider.draw(task(), job))
        await begun.wait()
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
    assert job.receipt == ""


async def test_every_state_is_resumed_as_it_has_to_be(standin: SketchStandIn, provider: HostedProvider) -> None:
    await provider.draw(task(), Job())
    [known] = standin.tasks
    receipt = text_of([Ticket(known), None, Sent("lost-id"), Ended("nudity")])
    drawing = await provider.draw(task(4, receipt=receipt), Job())
    assert seeds(drawing) == [7, 8]
    assert len(standin.submits) == 2
    assert drawing.withheld is not None
    assert "nudity" in drawing.withheld


async def test_an_order_that_nobody_knows_of_is_not_sent_again(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    for _ in range(4):  # more than it takes to leave a vendor alone: but it was the worker that died, not the vendor
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(receipt=text_of([Sent("x")])), Job())
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(receipt="some older note"), Job())
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(2, receipt=text_of([None])), Job())
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(receipt=text_of([Ticket("a")]), model="flux-pro-1.1"), Job())
    assert standin.requests == []
    assert provider.closed is None


async def test_an_ended_job_stays_ended(standin: SketchStandIn, provider: HostedProvider) -> None:
    with pytest.raises(Refused):
        await provider.draw(task(receipt=text_of([Ended("nudity")])), Job())
    assert standin.requests == []


async def test_a_named_task_is_looked_up() -> None:
    async with SketchStandIn(named=True) as standin, provider_of(standin, SketchNamed) as provider:
        standin.trouble("submit", ResetAfterBody())
        assert seeds(await provider.draw(task(), Job())) == [7]
        assert len(standin.submits) == 1
        [known] = standin.tasks
        assert seeds(await provider.draw(task(receipt=text_of([Sent(known)])), Job())) == [7]
        assert len(standin.submits) == 1


async def test_a_named_task_that_never_arrived_is_sent_when_resumed() -> None:
    async with SketchStandIn(named=True) as standin, provider_of(standin, SketchNamed) as provider:
        job = Job()
        assert seeds(await provider.draw(task(receipt=text_of([Sent("never")])), job)) == [7]
        assert len(standin.submits) == 1
        assert standin.submits[0]["id"] != "never"
        standin.trouble("submit", ResetAtOnce())
        fresh = Job()
        with pytest.raises(ProviderDown):
            await provider.draw(task(), fresh)
        assert fresh.receipt == ""


async def test_a_slip_is_not_taken_for_never_heard_of(standin: SketchStandIn) -> None:
    class Clumsy(SketchNamed):
        async def poll(self, ticket: str, transport: Any) -> Any:
            raise KeyError("status")

    async with provider_of(standin, Clumsy) as provider:
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(receipt=text_of([Sent("x")])), Job())
    assert standin.submits == []


async def test_a_vendor_that_forgot_what_it_took_on_is_broken(standin: SketchStandIn, provider: HostedProvider) -> None:
    job = Job()
    with pytest.raises(ProviderBroken):
        await provider.draw(task(receipt=text_of([Ticket("gone")])), job)
    assert job.receipt == ""
    assert len(standin.of_kind("poll")) == HASTY.unheard


async def test_polls_are_repeated_through_trouble_until_it_lasts(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.trouble("poll", Html(), times=3)
    standin.trouble("poll", Status(500), times=4)
    standin.trouble("poll", ResetAfterBody(), times=3)
    assert len((await provider.draw(task(), Job())).pictures) == 1
    standin.trouble("poll", Html(), times=10**5)
    job = Job()
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(), job)
    assert [type(state) for state in job.states(1)] == [Ticket]


# Stopping


@pytest.mark.parametrize("wanted", [True, False])
async def test_only_what_the_member_does_not_want_is_cancelled_at_the_vendor(
    standin: SketchStandIn, provider: HostedProvider, wanted: bool
) -> None:
    standin.polls_needed = 10**6
    job = Job()
    drawing = asyncio.create_task(provider.draw(task(3), job))
    await until(lambda: (job.receipt or "").count("ticket") == 3)
    job.cancelled = not wanted
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert sorted(standin.cancelled) == ([] if wanted else sorted(standin.tasks))


async def test_an_order_in_flight_is_cancelled_once_it_has_a_name(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.seconds, standin.polls_needed = 0.1, 10**6
    job = Job()
    drawing = asyncio.create_task(provider.draw(task(), job))
    await until(lambda: standin.submits)
    job.cancelled = True
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert standin.cancelled == list(standin.tasks)


@pytest.mark.parametrize("error", [Cancelled(), LeaseLost()], ids=["cancelled", "lost"])
async def test_it_stops_where_progress_says_so(
    standin: SketchStandIn, provider: HostedProvider, error: Cancelled | LeaseLost
) -> None:
    class Stopped(Job):
        def step(self, done: int, total: int) -> None:
            self.cancelled = done == 2 and isinstance(error, Cancelled)
            super().step(done, total)

    standin.polls_needed = 3
    job = Stopped(stop=2, error=error)
    with pytest.raises(type(error)) as caught:
        await provider.draw(task(), job)
    assert caught.value is error
    assert job.steps[-1] == (2, 4)
    assert len(standin.cancelled) == isinstance(error, Cancelled)


async def test_a_vendor_that_does_not_answer_to_cancel_holds_nobody_up(standin: SketchStandIn) -> None:
    standin.polls_needed = 10**6
    job = Job()
    async with provider_of(standin, patience=replace(HASTY, silence=60, whole=60, last_word=0.2)) as provider:
        drawing = asyncio.create_task(provider.draw(task(), job))
        await until(lambda: "ticket" in (job.receipt or ""))
        standin.trouble("free", Silence(), times=9)
        job.cancelled = True
        drawing.cancel()
        async with asyncio.timeout(20):
            with pytest.raises(asyncio.CancelledError):
                await drawing
    assert standin.of_kind("free")


async def test_nothing_is_left_running(standin: SketchStandIn) -> None:
    before = asyncio.all_tasks()
    async with provider_of(standin) as provider:
        standin.trouble("submit", ResetAfterBody())
        await provider.draw(task(3, image=BLUE), Job())
        assert provider.pace.in_flight == 0
    await asyncio.sleep(0.05)
    assert {each.get_name() for each in asyncio.all_tasks() - before if "Task-" not in each.get_name()} == set()


# Limits, breaker, secrets


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
