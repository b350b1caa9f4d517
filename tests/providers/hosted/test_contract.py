"""What every hosted provider promises, run over each of them: pictures, money, time, and a key that stays with us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    ProviderFault,
    Refused,
)
from flux_core.generation import RATIO_TOLERANCE
from flux_core.models import ASPECTS, Operation
from flux_core.offers import ImageInput
from flux_core.providers.base import Drawing, DrawTask
from flux_core.providers.hosted.faults import UNCLEAR
from flux_core.providers.hosted.http import HttpTransport, Patience
from flux_core.providers.hosted.registry import VENDORS
from flux_core.providers.hosted.vendor import Access, Vendor
from tests.providers.hosted.conftest import (
    CATALOGUE,
    PATIENT,
    WAITING,
    Desk,
    Watcher,
    all_cases,
    assert_key_unsaid,
    desk_for,
    looks_like,
    provider_for,
    request_for,
)
from tests.providers.hosted.standin import (
    Case,
    Fault,
    Html,
    Huge,
    Mangled,
    Redirect,
    ResetAfterBody,
    ResetAtOnce,
    Seen,
    Silence,
    StandIn,
    Status,
    Trickle,
    Truncated,
    WrongType,
    unreachable_url,
)

CASES = all_cases()
WITH_PICTURES = [pytest.param(case, id=case.id) for case in CASES if case.picture_model is not None]
POLLED = [pytest.param(case, id=case.id) for case in CASES if case.polled]

ONE_OF_EACH = [
    pytest.param(next(c for c in CASES if c.polled is polled), id=f"polled={polled}") for polled in (True, False)
]

UNANSWERED: tuple[Fault, ...] = (ResetAfterBody(), ResetAtOnce(), Silence(), Truncated(clean=False), Trickle())
"""Nobody can know what became of a submit that ends so."""
STRANGE: tuple[Fault, ...] = (
    Html(),
    Html(status=502),
    Truncated(),
    WrongType(),
    Huge(declared=True),
    Redirect(),
    Status(500, {"error": "internal"}),
    Status(503, "busy"),
    Status(503, {"error": "busy"}),
    Status(504, "gateway timeout"),
)
PASSING: tuple[Fault, ...] = (
    ResetAfterBody(),
    ResetAtOnce(),
    Silence(),
    Truncated(clean=False),
    Status(429, {"error": "slow down"}, {"Retry-After": "0"}),
    Status(500, {"error": "internal"}),
    Status(502, "bad gateway"),
)
"""What happens once to a request that may be repeated, and costs nobody a picture."""


class Odd(Mangled):
    """A mangled answer to a submit, also of a vendor that is polled."""


async def each(
    case: Case,
    faults: Iterable[Fault],
    check: Callable[[Desk, Fault], Awaitable[None]],
    slow: Patience,
) -> None:
    """Check all faults at the same time, each with a stand-in of its own; ``slow`` is for those that take time."""

    async def one(fault: Fault) -> None:
        try:
            async with desk_for(case, slow if isinstance(fault, Silence | Trickle) else PATIENT) as desk:
                await check(desk, fault)
        except Exception as error:
            error.add_note(f"with {fault}")
            raise

    async with asyncio.TaskGroup() as group:
        for fault in faults:
            group.create_task(one(fault))


def serves_files(case: Case) -> bool:
    probe = case.standin()
    probe.routes()
    return "file" in probe.kinds


WITH_FILES = [pytest.param(case, id=case.id) for case in CASES if serves_files(case)]


def astray(desk: Desk) -> list[Seen]:
    """Return the requests that went to another host, which nobody may be sent to by a redirect."""
    trusted = {"poll"} if desk.standin.trusts_other_host else set()
    return [seen for seen in desk.standin.seen_elsewhere if seen.kind not in trusted]


@pytest.fixture(params=[pytest.param(case, id=case.id) for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    """Every vendor, in each of its modes."""
    found: Case = request.param
    return found


@pytest.fixture
async def desk(case: Case) -> AsyncIterator[Desk]:
    """A vendor that answers."""
    async with desk_for(case) as found:
        yield found


# What it draws


async def test_it_draws_every_model_in_two_seeds_and_any_allowed_size(desk: Desk) -> None:
    first = desk.case.models[0]
    wishes = [(model, "aspect", "1:1") for model in desk.case.models]
    for model, option, value in [*wishes, (first, "aspect", "16:9"), (first, "size", "1008x752")]:
        task = desk.task(model, count=2, **dict[str, Any]({option: value}))
        offer = desk.provider.offers[model]
        if offer.objection(task.request, links=True) is not None:
            assert offer.size(task.request) is None or model == "flux-kontext-pro"
            continue
        drawing = await desk.draw(task)
        width, height = offer.size(task.request) or (0, 0)
        assert len(drawing.pictures) == 2
        assert drawing.withheld is None
        assert not drawing.from_words
        for picture, seed in zip(drawing.pictures, task.request.seeds, strict=True):
            assert abs(picture.image.width / picture.image.height / (width / height) - 1) <= RATIO_TOLERANCE
            assert picture.image.mode == "RGB"
            if desk.case.honours_seeds:
                assert picture.seed == seed
                assert looks_like(picture.image, seed)


async def test_the_job_keeps_a_receipt_before_the_vendor_has_the_order(desk: Desk) -> None:
    seen: list[int] = []
    watcher = Watcher(on_receipt=lambda count: seen.append(len(desk.standin.submits)))
    await desk.draw(desk.task(count=1), watcher)
    assert seen[0] == 0
    assert len(desk.standin.submits) == 1
    assert watcher.receipt is not None


@pytest.mark.parametrize("case", WITH_PICTURES)
async def test_it_starts_from_a_picture_of_the_size_it_draws(desk: Desk) -> None:
    source = Image.new("RGB", (640, 480), (200, 30, 90))
    task = desk.task(desk.case.picture_model, picture=source, count=1)
    drawing = await desk.draw(task)
    assert not drawing.from_words
    assert len(drawing.pictures) == 1
    assert [image.size for image in desk.standin.inputs] == [
        desk.provider.offers[task.request.model].size(task.request)
    ]
    found = desk.standin.inputs[0].convert("RGB").getpixel((100, 100))
    assert isinstance(found, tuple)
    assert all(abs(a - b) <= 3 for a, b in zip(found, (200, 30, 90), strict=True))


async def test_where_it_cannot_start_from_a_picture_it_draws_from_the_words_and_says_so(desk: Desk) -> None:
    without = [model for model in desk.case.models if desk.provider.offers[model].image_input is None]
    without = [model for model in without if Operation.IMAGE_TO_IMAGE in CATALOGUE[model].operations]
    if not without:
        pytest.skip("all of its models start from pictures")
    drawing = await desk.draw(desk.task(without[0], picture=Image.new("RGB", (512, 512)), count=1))
    assert drawing.from_words
    assert desk.standin.inputs == []


# What it refuses


async def test_what_the_vendor_holds_back_is_refused_with_a_reason(desk: Desk) -> None:
    if desk.case.refusal_kind is None:
        pytest.skip("it holds nothing back")
    desk.standin.moderate = {0, 1}
    error = await desk.outcome(desk.task(count=2))
    assert isinstance(error, Refused)
    assert error.facts["reason"].strip()
    assert_key_unsaid(error)
    assert len(desk.standin.submits) <= 2


async def test_what_is_left_of_a_moderated_batch_is_delivered(desk: Desk) -> None:
    if desk.case.refusal_kind is None:
        pytest.skip("it holds nothing back")
    desk.standin.moderate = {1}
    task = desk.task(count=2)
    drawing = await desk.draw(task)
    assert len(drawing.pictures) == 1
    assert drawing.withheld
    assert drawing.pictures[0].seed in task.request.seeds
    if desk.case.honours_seeds:
        assert looks_like(drawing.pictures[0].image, drawing.pictures[0].seed)


# What goes wrong


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

    await each(case, (*UNANSWERED, *STRANGE), check, replace(PATIENT, submit_silence=0.15, whole=0.2))


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


async def test_a_wrong_key_closes_the_provider(case: Case) -> None:
    if not case.vendor.needs_key:
        pytest.skip("it needs none")
    async with case.standin() as standin, provider_for(case, standin, key="wrong-key-0123456789") as provider:
        desk = Desk(case, standin, provider, PATIENT)
        error = await desk.outcome(desk.task(count=1))
        assert isinstance(error, ProviderClosed)
        assert error.facts["reason"] == "key"
        assert standin.submits == []
        assert provider.closed is not None
        assert "wrong-key-0123456789" not in str(error) + provider.closed


# What a member stops, and what a worker's end stops


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 - the stand-in sets no event of ours
            await asyncio.sleep(0.002)


async def ended(drawing: asyncio.Task[Any]) -> None:
    drawing.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([drawing])
    assert drawing.cancelled()


@pytest.mark.parametrize("case", POLLED)
@pytest.mark.parametrize("by_member", [True, False], ids=["member", "worker's end"])
async def test_the_vendor_is_told_when_the_member_cancels_and_only_then(desk: Desk, by_member: bool) -> None:
    desk.standin.polls_needed = 100_000
    watcher = Watcher()
    drawing = asyncio.create_task(desk.draw(desk.task(count=1), watcher))
    await until(lambda: len(watcher.receipts) >= 2 and any(task.polls for task in desk.standin.tasks.values()))
    watcher.cancelled = by_member
    await ended(drawing)
    assert len(desk.standin.submits) == 1
    told = by_member and desk.case.vendor.cancel is not Vendor.cancel
    assert desk.standin.cancelled == (list(desk.standin.tasks) if told else [])


@pytest.mark.parametrize("case", POLLED)
async def test_a_killed_worker_s_order_is_finished_by_another(desk: Desk) -> None:
    desk.standin.polls_needed = 100_000
    kept = asyncio.Event()
    watcher = Watcher(on_receipt=lambda count: kept.set() if count == 2 else None)
    task = desk.task(count=1)
    drawing = asyncio.create_task(desk.draw(task, watcher))
    await asyncio.wait_for(kept.wait(), 10)
    await ended(drawing)
    desk.standin.polls_needed = 1
    async with desk.next_worker() as other:
        found = await other.draw(resumed(task, watcher))
    assert len(found.pictures) == 1
    assert looks_like(found.pictures[0].image, 7) or not desk.case.honours_seeds
    assert len(desk.standin.submits) == 1
    assert desk.standin.cancelled == []


async def test_a_worker_killed_while_it_orders_never_orders_again(case: Case) -> None:
    async with desk_for(case, replace(PATIENT, last_word=0.05)) as desk:
        desk.standin.trouble("submit", Silence())
        watcher, task = Watcher(), desk.task(count=1)
        drawing = asyncio.create_task(desk.draw(task, watcher))
        await until(lambda: len(desk.standin.submits) == 1)
        await asyncio.sleep(0.01)
        await ended(drawing)
        async with desk.next_worker() as other:
            outcome = await other.outcome(resumed(task, watcher))
        assert isinstance(outcome, Drawing if case.vendor.names_tasks else OutcomeUnknown)
        assert len(desk.standin.submits) == 1


async def test_a_worker_killed_before_it_orders_orders_once_at_most(desk: Desk) -> None:
    watcher, task = Watcher(hold=1), desk.task(count=1)
    drawing = asyncio.create_task(desk.draw(task, watcher))
    await until(lambda: len(watcher.receipts) == 1)
    await ended(drawing)
    assert desk.standin.submits == []
    async with desk.next_worker() as other:
        outcome = await other.outcome(resumed(task, watcher))
    assert isinstance(outcome, Drawing if desk.case.vendor.names_tasks else OutcomeUnknown)
    assert len(desk.standin.submits) == int(desk.case.vendor.names_tasks)


@pytest.mark.parametrize("hold", range(1, 5))
async def test_a_worker_killed_at_any_moment_orders_each_picture_once(desk: Desk, hold: int) -> None:
    watcher, task = Watcher(hold=hold), desk.task(count=2)
    drawing = asyncio.create_task(desk.draw(task, watcher))
    await until(lambda: drawing.done() or len(watcher.receipts) == hold)
    if drawing.done():
        assert len(drawing.result().pictures) == 2, "it keeps fewer receipts than that"
        return
    await ended(drawing)
    async with desk.next_worker() as other:
        outcome = await other.outcome(resumed(task, watcher))
    if isinstance(outcome, Drawing):
        assert 1 <= len(outcome.pictures) <= 2
        assert (outcome.withheld is None) == (len(outcome.pictures) == 2)
    else:
        assert isinstance(outcome, OutcomeUnknown)
    assert len(desk.standin.submits) <= 2
    prompts = [json.dumps(submit, sort_keys=True, default=repr) for submit in desk.standin.submits]
    assert len(set(prompts)) == len(prompts), "the same picture was ordered twice"


def resumed(task: DrawTask, watcher: Watcher) -> DrawTask:
    return replace(task, provider_job_id=watcher.receipt)


# What it offers


def test_every_vendor_is_registered_and_has_a_case() -> None:
    assert {case.vendor.name for case in CASES} == set(VENDORS)
    assert list(VENDORS) == sorted(VENDORS)
    assert all(vendor.name == name and vendor.title for name, vendor in VENDORS.items())


async def test_every_aspect_is_drawn_or_objected_to(desk: Desk) -> None:
    assert set(desk.case.models) <= set(desk.provider.offers)
    for model, offer in desk.provider.offers.items():
        assert offer.theirs
        for aspect in ASPECTS:
            request = request_for(model, aspect=aspect)
            objection = offer.objection(request, links=True)
            if objection is None:
                width, height = offer.size(request) or (0, 0)
                assert abs(width / height / (request.width / request.height) - 1) <= RATIO_TOLERANCE
                assert offer.cost(request) >= 0
            else:
                assert objection.strip()


async def test_what_an_operator_names_otherwise_is_asked_for_by_that_name(case: Case) -> None:
    async with case.standin() as standin:
        vendor = case.vendor(standin.access(case, models={case.models[0]: "another/name"}))
        assert vendor.offers[case.models[0]].theirs == "another/name"


def test_links_are_asked_for_only_where_the_picture_store_has_them(case: Case) -> None:
    vendor = case.vendor(Access(base_url="https://example.invalid", key=case.standin.key, extra=case.extra))
    for model, offer in vendor.offers.items():
        spec = CATALOGUE[model]
        if Operation.IMAGE_TO_IMAGE not in spec.operations or offer.image_input is not ImageInput.LINK:
            continue
        request = request_for(model, picture=Image.new("RGB", (512, 512)))
        assert offer.objection(request, links=False) is not None
        assert offer.objection(request, links=True) is None


async def checked(case: Case, standin: StandIn, **changed: Any) -> str:
    vendor = case.vendor(standin.access(case, **changed))
    async with HttpTransport(vendor, patience=PATIENT) as transport:
        try:
            return await vendor.check(transport)
        except NotImplementedError:
            pytest.skip("it has no free call that needs the key")


async def test_its_check_is_free_and_tells_a_wrong_key(case: Case) -> None:
    async with case.standin() as standin:
        line = await checked(case, standin)
        assert line.strip()
        assert "\n" not in line
        assert standin.key not in line
        assert standin.submits == []
        if case.vendor.needs_key:
            with pytest.raises(ProviderClosed) as caught:
                await checked(case, standin, key="wrong-key-0123456789")
            assert caught.value.facts["reason"] == "key"


async def test_a_page_for_people_proves_no_key(case: Case) -> None:
    async with case.standin() as standin:
        standin.trouble("free", Html(), times=10)
        with pytest.raises(ProviderClosed) as caught:
            await checked(case, standin)
        assert caught.value.facts["reason"] == "address"
