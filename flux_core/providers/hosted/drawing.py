"""One job at a vendor: its shots ordered, watched, fetched; what was paid for is on disk before it is asked for."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from flux_core.errors import (
    Cancelled,
    FluxError,
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    ProviderFault,
    Refused,
    RequestRejected,
    StorageUnavailable,
)
from flux_core.offers import Offer
from flux_core.providers.base import Drawing, Drawn, DrawTask, Progress
from flux_core.providers.hosted.http import HttpTransport, Patience
from flux_core.providers.hosted.limits import Pace
from flux_core.providers.hosted.pictures import Pictures
from flux_core.providers.hosted.receipt import Ended, Receipt, ReceiptUnreadable, Sent, State, Ticket, parse
from flux_core.providers.hosted.vendor import CENSORED, Done, Found, Outcome, Pending, Shot, Vendor
from flux_core.providers.hosted.witness import Witness

log = logging.getLogger(__name__)

NOT_DRAWN = "the provider could not draw it"
LOST = "what became of it at the provider is not known"
_TELLING = (ProviderClosed, RequestRejected, ProviderBroken, ProviderDown, ProviderBusy)
"""Of several faults, the one that says most."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all jobs of one vendor share."""

    vendor: Vendor
    transport: HttpTransport
    pace: Pace
    pictures: Pictures
    patience: Patience
    leaving: set[asyncio.Task[None]] = field(default_factory=set)
    """What cancelled jobs still do; held here, since asyncio itself holds tasks weakly."""


@dataclass(frozen=True, slots=True)
class _Came:
    """What a shot brought: a picture or the reason for none, for each of its seeds."""

    pictures: Sequence[Drawn | str]
    microdollars: int | None


class _Unheard(Exception):
    """The vendor surely has no such task."""


class HostedDrawing:
    """Draws one task at one vendor."""

    def __init__(self, desk: Desk, task: DrawTask, progress: Progress, offer: Offer, *, links: bool) -> None:
        """Raises RequestRejected where ``offer`` cannot hold it, OutcomeUnknown for a receipt that tells nothing."""
        request = task.request
        links = links and task.publish is not None
        self._image = task.input_image if offer.starts_from_pictures(links=links) else None
        self._from_words = task.input_image is not None and self._image is None
        if self._from_words:
            request = request.model_copy(update={"input_picture": None, "strength": None})
        size = offer.size(request)
        if size is None and task.provider_job_id:
            size = request.width, request.height  # ordered when it could be, so it can be fetched
        if size is None:
            raise RequestRejected(
                f"{desk.vendor.title} draws nothing like {request.width}×{request.height}", provider=desk.vendor.title
            )
        self._desk = desk
        self._task = task
        self._progress = progress
        self._offer = offer
        self._request = request
        self._size = size
        step = max(1, desk.vendor.pictures_per_shot)
        self._seeds = [tuple(request.seeds[at : at + step]) for at in range(0, request.count, step)]
        self._receipt, self.resumed = self._read_receipt()
        self._steps = max(1, request.steps_taken)
        self._told = -1
        self._fractions = [0.0] * len(self._seeds)
        self._png: weakref.ref[asyncio.Task[bytes]] | None = None
        self._link: asyncio.Task[str] | None = None
        self.faults: list[GenerationFailed] = []
        """What went wrong with single shots, also where others brought pictures."""

    def _read_receipt(self) -> tuple[Receipt, bool]:
        text = self._task.provider_job_id
        states: list[State] = [None] * len(self._seeds)
        if text:
            try:
                states = parse(text, len(self._seeds))
            except ReceiptUnreadable as error:
                raise OutcomeUnknown(f"what was ordered for job {self._task.job_id} cannot be read: {error}") from None
        return Receipt(states, self._progress.submitted, written=bool(text)), bool(text)

    async def run(self) -> Drawing:
        """Return the pictures; see ``Provider.draw``."""
        shots = [
            asyncio.create_task(self._shot(index), name=f"shot {index} of {self._task.job_id}")
            for index in range(len(self._seeds))
        ]
        try:
            await asyncio.wait(shots, return_when=asyncio.FIRST_EXCEPTION)
            for shot in shots:
                if shot.done() and not shot.cancelled() and (error := shot.exception()) is not None:
                    raise error
            results = [shot.result() for shot in shots]
        except BaseException:
            leaving = asyncio.create_task(self._leave(shots), name=f"leaving {self._task.job_id}")
            self._desk.leaving.add(leaving)
            leaving.add_done_callback(self._desk.leaving.discard)
            await asyncio.shield(leaving)
            raise
        return await self._sum_up(results)

    async def _leave(self, shots: Sequence[asyncio.Task[_Came | GenerationFailed]]) -> None:
        """Stop the shots; where the member wants them no more, tell the vendor. Otherwise somebody resumes them."""
        for shot in shots:
            shot.cancel()
        await asyncio.wait(shots)
        if self._progress.cancelled and (tickets := self._receipt.tickets):
            vendor, transport = self._desk.vendor, self._desk.transport
            with suppress(TimeoutError):
                async with asyncio.timeout(self._desk.patience.last_word):
                    ends = await asyncio.gather(
                        *(vendor.cancel(ticket, transport) for ticket in tickets), return_exceptions=True
                    )
                for end in ends:
                    if isinstance(end, Exception):
                        log.info("Job %s is not cancelled at %s: %s", self._task.job_id, vendor.title, end)

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
            from_words=self._from_words,
            microdollars=sum(known) if known else None,
        )

    def _worst(self) -> GenerationFailed:
        """Return the error that counts: an unknown outcome must not be drawn elsewhere, nor must what was refused."""
        order = (OutcomeUnknown, Refused, *_TELLING, GenerationFailed)
        return min(self.faults, key=lambda error: next(at for at, kind in enumerate(order) if isinstance(error, kind)))

    # One shot

    async def _shot(self, index: int) -> _Came | GenerationFailed:
        try:
            return await self._ended(index)
        except GenerationFailed as error:
            return error

    async def _ended(self, index: int) -> _Came:
        state = self._receipt[index]
        if isinstance(state, Ended):
            raise Refused(reason=state.reason)
        if state is None:
            done = await self._order(index)
        else:
            try:
                async with self._desk.pace.slot(waiting=False):
                    self._tell(index, 0.0)
                    done = await self._resume(index, state)
            except _Unheard:
                self._receipt[index] = None  # it never arrived, so it may be sent
                done = await self._order(index)
        return await self._receive(index, done)

    async def _resume(self, index: int, state: Sent | Ticket) -> Done:
        if isinstance(state, Ticket):
            try:
                return await self._watch(index, state.text)
            except _Unheard:
                raise self._broken("no longer knows what was ordered") from None
        return await self._look_up(index, state.client_id)

    async def _look_up(self, index: int, client_id: str) -> Done:
        """Watch a shot that may have arrived; raises _Unheard if it surely has not, OutcomeUnknown if none can tell."""
        vendor = self._desk.vendor
        if not vendor.names_tasks:
            raise OutcomeUnknown(f"{vendor.title} may have been paid for job {self._task.job_id}; nothing came of it")
        return await self._watch(index, client_id, looking_up=True)

    async def _order(self, index: int) -> Done:
        desk = self._desk
        async with desk.pace.slot():
            await desk.pace.turn()
            if self._progress.cancelled:
                raise Cancelled()
            client_id = str(uuid.uuid4())
            outcome = await self._send(index, client_id)
            done = outcome if isinstance(outcome, Done) else await self._wait_for(index, outcome, client_id)
        desk.pace.went_well()
        return done

    async def _send(self, index: int, client_id: str) -> Outcome | None:
        """Order a shot, once that is on disk. Its picture is held no longer than this takes."""
        shot = Shot(
            request=self._request,
            offer=self._offer,
            size=self._size,
            seeds=self._seeds[index],
            picture=await self._picture(),
            link=None if self._image is None or self._task.publish is None else self._published,
            client_id=client_id,
        )
        self._receipt[index] = Sent(client_id)
        await self._receipt.keep()
        self._tell(index, 0.0)
        return await self._submit(index, shot)

    async def _submit(self, index: int, shot: Shot) -> Outcome | None:
        """Order ``shot`` and note how that went; None when the vendor may have taken it on without saying so."""
        vendor = self._desk.vendor
        witness = Witness(self._desk.transport, may_pay=True)
        ordering = asyncio.create_task(vendor.submit(shot, witness), name=f"submit {self._task.job_id}")
        try:
            outcome = await asyncio.shield(ordering)
        except asyncio.CancelledError:
            await self._last_word(index, ordering, witness)
            raise
        except Exception as error:
            if witness.leaves_open(error):
                log.warning("What became of an order of job %s is not known: %s", self._task.job_id, error)
                if not isinstance(error, GenerationFailed):
                    log.error("An answer of %s cannot be read", vendor.title, exc_info=error)
                if vendor.names_tasks:
                    return None
                raise _unknown(error) from None
            self._receipt[index] = Ended(_reason(error)) if isinstance(error, Refused) else None
            await self._note()
            if isinstance(error, GenerationFailed):
                raise
            log.error("A shot for %s cannot be made", vendor.title, exc_info=error)
            raise self._broken("could not be asked") from None
        if isinstance(outcome, Pending):
            if outcome.ticket is None:
                raise OutcomeUnknown(f"{vendor.title} took an order and gave no name for it")
            self._receipt[index] = Ticket(outcome.ticket)
            await self._note()
        return outcome

    async def _last_word(self, index: int, ordering: asyncio.Task[Outcome], witness: Witness) -> None:
        """Before an order is given up: a moment for the vendor's name of it, so that it can be resumed or cancelled."""
        if witness.ordered and self._desk.vendor.polled:
            await asyncio.wait({ordering}, timeout=self._desk.patience.last_word)
        if not ordering.done():
            ordering.cancel()
            await asyncio.wait({ordering}, timeout=1.0)
        state: State = self._receipt[index]
        if not ordering.cancelled() and ordering.done() and ordering.exception() is None:
            outcome = ordering.result()
            state = Ticket(outcome.ticket) if isinstance(outcome, Pending) and outcome.ticket is not None else state
        elif not witness.ordered:
            state = None
        self._receipt[index] = state
        with suppress(FluxError):  # the job may be somebody else's by now
            await self._receipt.keep()

    async def _note(self) -> None:
        """Write down what is known since the order left. If that fails, what is on disk already says "perhaps"."""
        try:
            await self._receipt.keep()
        except StorageUnavailable as error:
            log.warning("The receipt of job %s is not kept: %s", self._task.job_id, error)

    async def _wait_for(self, index: int, outcome: Pending | None, client_id: str) -> Done:
        try:
            if outcome is None:
                return await self._look_up(index, client_id)
            assert outcome.ticket is not None
            await self._show(index, outcome)
            return await self._watch(index, outcome.ticket, rested=False)
        except _Unheard:
            if outcome is not None:
                raise self._broken("no longer knows what was ordered") from None
            self._receipt[index] = None
            await self._note()
            title = self._desk.vendor.title
            raise ProviderDown(f"{title} never got the order", provider=title) from None

    async def _watch(self, index: int, ticket: str, *, rested: bool = True, looking_up: bool = False) -> Done:
        """Poll until the shot has ended; raises its error, or OutcomeUnknown when the vendor cannot tell for long.

        ``rested``: whether to ask at once. Raises _Unheard when the vendor says again and again that it has no such
        task.
        """
        vendor, patience = self._desk.vendor, self._desk.patience
        pause, longest = (seconds * patience.poll_pace for seconds in vendor.poll_every)
        trouble: float | None = None
        unheard = 0
        while True:
            if not rested:
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))
                pause = min(longest, pause * patience.poll_factor)
            rested = False
            if self._progress.cancelled:
                raise Cancelled()
            witness = Witness(self._desk.transport, may_pay=False)
            try:
                outcome = await vendor.poll(ticket, witness)
            except Exception as error:
                if type(error) is LookupError:  # not its kinds: a KeyError is a slip, and must not lead to a new order
                    unheard += 1
                    if unheard >= patience.unheard:
                        raise _Unheard() from None
                    continue
                if witness.settles(error):
                    raise
                now = time.monotonic()
                if trouble is None:
                    trouble = now
                    log.warning("Job %s is out of sight at %s: %s", self._task.job_id, vendor.title, error)
                if now - trouble >= patience.trouble:
                    raise _unknown(error) from None
                continue
            trouble, unheard = None, 0
            if looking_up:
                self._receipt[index] = Ticket(ticket)
                looking_up = False
                await self._note()
            if isinstance(outcome, Done):
                return outcome
            await self._show(index, outcome)

    async def _receive(self, index: int, done: Done) -> _Came:
        """Fetch the pictures of a shot that ended; raises Refused or ProviderFault when there is none."""
        self._tell(index, 1.0)
        seeds = self._seeds[index]
        none = Found(withheld=CENSORED)
        found = [*done.found, *[none] * len(seeds)][: len(seeds)]
        errors: list[GenerationFailed] = []

        async def one(picture: Found, seed: int) -> Drawn | str:
            if picture.data is None and picture.url is None:
                return picture.withheld or CENSORED
            try:
                image = await self._desk.pictures.image(picture, self._size)
            except GenerationFailed as error:
                log.warning("A picture of job %s is lost: %s", self._task.job_id, error)
                errors.append(error)
                return NOT_DRAWN
            return Drawn(image=image, seed=seed if picture.seed is None else picture.seed)

        pictures = await asyncio.gather(*(one(*pair) for pair in zip(found, seeds, strict=True)))
        if not any(isinstance(picture, Drawn) for picture in pictures):
            if errors:
                raise errors[0]
            raise Refused(reason="; ".join(dict.fromkeys(str(picture) for picture in pictures)))
        cost = done.microdollars
        price = self._offer.price_of(self._request)
        if cost is None and price is not None:
            billed = sum(picture.data is not None or picture.url is not None for picture in found)
            cost = billed * price.of(*self._size, self._request.steps_taken)
        return _Came(pictures, cost)

    # What a shot needs, and what it tells

    async def _picture(self) -> bytes | None:
        if self._image is None:
            return None
        png = None if self._png is None else self._png()
        if png is None:  # shots that are sent together share it; hundreds of jobs in flight do not keep theirs
            png = asyncio.create_task(self._desk.pictures.fitted(self._image, self._size))
            self._png = weakref.ref(png)
        return await asyncio.shield(png)

    async def _published(self) -> str:
        if self._link is None:
            self._link = asyncio.create_task(self._publish())
        return await asyncio.shield(self._link)

    async def _publish(self) -> str:
        picture = await self._picture()
        assert picture is not None
        assert self._task.publish is not None
        return await self._task.publish(picture, "image/png")

    async def _show(self, index: int, pending: Pending) -> None:
        if pending.progress is not None:
            self._tell(index, pending.progress)
        if pending.preview is not None:
            preview = await self._desk.pictures.preview(pending.preview)
            if preview is not None:
                self._progress.preview(lambda: preview)

    def _tell(self, index: int, fraction: float) -> None:
        """Tell the mean of all shots, when it grew; raises what ``Progress.step`` raises."""
        self._fractions[index] = max(self._fractions[index], min(fraction, 1.0))
        done = round(sum(self._fractions) / len(self._fractions) * self._steps)
        if done > self._told:
            self._told = done
            self._progress.step(done, self._steps)

    def _broken(self, what: str) -> ProviderBroken:
        title = self._desk.vendor.title
        return ProviderBroken(f"{title} {what}", provider=title)


def _unknown(error: Exception) -> OutcomeUnknown:
    return error if isinstance(error, OutcomeUnknown) else OutcomeUnknown(str(error), **getattr(error, "facts", {}))


def _reason(error: GenerationFailed) -> str:
    """Return why a picture is missing, for the member."""
    if isinstance(error, Refused):
        return str(error.facts.get("reason") or error.detail or CENSORED)
    return LOST if isinstance(error, OutcomeUnknown) else NOT_DRAWN
