"""One job at a vendor: its shots are ordered side by side, fetched, and summed up into pictures or one error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    ProviderFault,
    Refused,
    RequestRejected,
)
from flux_core.providers.base import Drawing, Drawn, DrawTask, Progress
from flux_core.providers.hosted.ordering import Ordering
from flux_core.providers.hosted.plan import Desk, Plan
from flux_core.providers.hosted.receipt import Receipt, ReceiptUnreadable, State, parse
from flux_core.providers.hosted.vendor import CENSORED, Done, Found

log = logging.getLogger(__name__)

NOT_DRAWN = "the provider could not draw it"
LOST = "what became of it at the provider is not known"
_TELLING = (ProviderClosed, RequestRejected, ProviderBroken, ProviderDown, ProviderBusy)
"""Of several faults, the one that says most."""


@dataclass(frozen=True, slots=True)
class _Came:
    """What a shot brought: a picture or the reason for none, for each of its seeds."""

    pictures: Sequence[Drawn | str]
    microdollars: int | None


class HostedDrawing:
    """Draws one task at one vendor."""

    def __init__(self, desk: Desk, plan: Plan, task: DrawTask, progress: Progress) -> None:
        """Go on where ``task`` was left; raises OutcomeUnknown for a receipt that tells nothing."""
        self._desk = desk
        self._plan = plan
        self._progress = progress
        text = task.provider_job_id
        self.resumed = bool(text)
        states: list[State] = [None] * len(plan.shots)
        if text:
            try:
                states = parse(text, len(plan.shots))
            except ReceiptUnreadable as error:
                raise OutcomeUnknown(f"what was ordered for job {plan.job_id} cannot be read: {error}") from None
        self._receipt = Receipt(states, progress.submitted, written=self.resumed)
        self._ordering = Ordering(desk, plan, self._receipt, progress, self._tell)
        self._steps = max(1, plan.request.steps_taken)
        self._told = -1
        self._fractions = [0.0] * len(plan.shots)
        self.faults: list[GenerationFailed] = []
        """What went wrong with single shots, also where others brought pictures."""

    async def run(self) -> Drawing:
        """Return the pictures; see ``Provider.draw``."""
        shots = [
            asyncio.create_task(self._shot(index), name=f"shot {index} of {self._plan.job_id}")
            for index in range(len(self._plan.shots))
        ]
        try:
            await asyncio.wait(shots, return_when=asyncio.FIRST_EXCEPTION)
            for shot in shots:
                if shot.done() and not shot.cancelled() and (error := shot.exception()) is not None:
                    raise error
            results = [shot.result() for shot in shots]
        except BaseException:
            leaving = asyncio.create_task(self._leave(shots), name=f"leaving {self._plan.job_id}")
            self._desk.leaving.add(leaving)
            leaving.add_done_callback(self._desk.leaving.discard)
            await asyncio.shield(leaving)
            raise
        return await self._sum_up(results)

    async def _leave(self, shots: Sequence[asyncio.Task[_Came | GenerationFailed]]) -> None:
        """Stop the shots; where the member wants them no more, tell the vendor. Otherwise somebody resumes them."""
        for shot in shots:
            shot.cancel()
        await asyncio.gather(*shots, return_exceptions=True)
        if self._progress.cancelled and (tickets := self._receipt.tickets):
            vendor, transport = self._desk.vendor, self._desk.transport
            with suppress(TimeoutError):
                async with asyncio.timeout(self._desk.patience.last_word):
                    ends = await asyncio.gather(
                        *(vendor.cancel(ticket, transport) for ticket in tickets), return_exceptions=True
                    )
                for end in ends:
                    if isinstance(end, Exception):
                        log.info("Job %s is not cancelled at %s: %s", self._plan.job_id, vendor.title, end)

    async def _shot(self, index: int) -> _Came | GenerationFailed:
        try:
            return await self._receive(index, await self._ordering.done(index))
        except GenerationFailed as error:
            return error

    async def _receive(self, index: int, done: Done) -> _Came:
        """Fetch the pictures of a shot that ended; raises Refused or ProviderFault when there is none."""
        self._tell(index, 1.0)
        plan, seeds = self._plan, self._plan.shots[index]
        found = [*done.found, *[Found(withheld=CENSORED)] * len(seeds)][: len(seeds)]
        errors: list[GenerationFailed] = []

        async def one(picture: Found, seed: int) -> Drawn | str:
            if picture.data is None and picture.url is None:
                return picture.withheld or CENSORED
            try:
                image = await self._desk.pictures.image(picture, plan.size)
            except GenerationFailed as error:
                log.warning("A picture of job %s is lost: %s", plan.job_id, error)
                errors.append(error)
                return NOT_DRAWN
            return Drawn(image=image, seed=seed if picture.seed is None else picture.seed, flagged=picture.flagged)

        pictures = await asyncio.gather(*(one(*pair) for pair in zip(found, seeds, strict=True)))
        if not any(isinstance(picture, Drawn) for picture in pictures):
            if errors:
                raise errors[0]
            raise Refused(reason="; ".join(dict.fromkeys(str(picture) for picture in pictures)))
        cost = done.microdollars
        price = plan.offer.price_of(plan.request)
        if cost is None and price is not None:
            billed = sum(picture.data is not None or picture.url is not None for picture in found)
            cost = billed * price.of(*plan.size, plan.request.steps_taken)
        return _Came(pictures, cost)

    async def _sum_up(self, results: Sequence[_Came | GenerationFailed]) -> Drawing:
        self.faults = [result for result in results if isinstance(result, GenerationFailed)]
        pictures: list[Drawn] = []
        reasons: list[str] = []
        for result in results:
            if isinstance(result, _Came):
                pictures += [each for each in result.pictures if isinstance(each, Drawn)]
                reasons += [each for each in result.pictures if isinstance(each, str)]
            else:
                reasons.append(_reason(result))
        if not pictures:
            error = self._worst()
            if isinstance(error, ProviderFault):
                await self._receipt.clear()  # nothing will come of it: somebody else may draw the job
            raise error
        costs = [result.microdollars for result in results if isinstance(result, _Came)]
        known = [cost for cost in costs if cost is not None]
        return Drawing(
            pictures=tuple(pictures),
            withheld="; ".join(dict.fromkeys(reasons)) or None,
            from_words=self._plan.from_words,
            microdollars=sum(known) if known else None,
        )

    def _worst(self) -> GenerationFailed:
        """Return the error that counts: an unknown outcome must not be drawn elsewhere, nor must what was refused."""
        order = (OutcomeUnknown, Refused, *_TELLING, GenerationFailed)
        return min(self.faults, key=lambda error: next(at for at, kind in enumerate(order) if isinstance(error, kind)))

    def _tell(self, index: int, fraction: float) -> None:
        """Tell the mean of all shots, when it grew; raises what ``Progress.step`` raises."""
        self._fractions[index] = max(self._fractions[index], min(fraction, 1.0))
        done = round(sum(self._fractions) / len(self._fractions) * self._steps)
        if done > self._told:
            self._told = done
            self._progress.step(done, self._steps)


def _reason(error: GenerationFailed) -> str:
    """Return why a picture is missing, for the member."""
    if isinstance(error, Refused):
        return str(error.facts.get("reason") or error.detail or CENSORED)
    return LOST if isinstance(error, OutcomeUnknown) else NOT_DRAWN
