"""What the contract of hosted providers is held against: cases, faults, and ways to run them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from flux_core.models import Operation
from flux_core.providers.base import DrawTask
from flux_core.providers.hosted.http import Patience
from flux_core.providers.hosted.vendor import Access
from tests.providers.hosted.conftest import (
    CATALOGUE,
    PATIENT,
    Desk,
    Watcher,
    all_cases,
    desk_for,
)
from tests.providers.hosted.standin import Case, Seen
from tests.providers.hosted.troubles import (
    Fault,
    Html,
    Huge,
    Mangled,
    Redirect,
    ResetAfterBody,
    ResetAtOnce,
    Silence,
    Status,
    Trickle,
    Truncated,
    WrongType,
)

CASES = all_cases()
WITH_PICTURES = [pytest.param(case, id=case.id) for case in CASES if case.picture_model is not None]
KEYED = [pytest.param(case, id=case.id) for case in CASES if case.vendor.needs_key]
REFUSING = [pytest.param(case, id=case.id) for case in CASES if case.refusal_kind is not None]
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


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - the stand-in sets no event of ours
            await asyncio.sleep(0.002)


async def ended(drawing: asyncio.Task[Any]) -> None:
    drawing.cancel()
    async with asyncio.timeout(30):
        await asyncio.wait([drawing])
    assert drawing.cancelled()


def resumed(task: DrawTask, watcher: Watcher) -> DrawTask:
    return replace(task, provider_job_id=watcher.receipt)


# What it offers


def from_words_only(case: Case) -> str | None:
    """Return a model that the vendor draws from words only, though the model itself starts from pictures."""
    offers = case.vendor(Access(base_url="https://example.invalid", key=case.standin.key, extra=case.extra)).offers
    return next(
        (
            model
            for model in case.models
            if model in offers
            and offers[model].image_input is None
            and Operation.IMAGE_TO_IMAGE in CATALOGUE[model].operations
        ),
        None,
    )


WORDY = [pytest.param(case, id=case.id) for case in CASES if from_words_only(case) is not None]
