"""One job's shots at the vendor: ordered once, watched until they end, resumed from what is on disk.

A shot is written down as sent before its order leaves, and by the vendor's name for it as soon as that is known. What
lies between is the only time in which a killed worker cannot know what became of its money.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress

from flux_core.errors import (
    Cancelled,
    FluxError,
    GenerationFailed,
    OutcomeUnknown,
    ProviderDown,
    Refused,
    StorageUnavailable,
)
from flux_core.metrics import definitions as m
from flux_core.providers.base import Progress
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.plan import Desk, Plan
from flux_core.providers.hosted.receipt import Ended, Receipt, Sent, State, Ticket
from flux_core.providers.hosted.vendor import CENSORED, Done, Outcome, Pending, Shot
from flux_core.providers.hosted.witness import Witness

log = logging.getLogger(__name__)


class _Unheard(Exception):
    """The vendor surely has no such task."""


class Ordering:
    """Orders and watches the shots of ``plan``; ``tell`` is told how far each is, 0 to 1."""

    def __init__(
        self, desk: Desk, plan: Plan, receipt: Receipt, progress: Progress, tell: Callable[[int, float], None]
    ) -> None:
        self._desk = desk
        self._plan = plan
        self._receipt = receipt
        self._progress = progress
        self._tell = tell
        self._png: weakref.ref[asyncio.Task[bytes]] | None = None
        self._link: asyncio.Task[str] | None = None

    async def done(self, index: int) -> Done:
        """Return how shot ``index`` ended, ordering it only if that surely did not happen yet.

        Raises Refused, OutcomeUnknown or a ProviderFault, and what ``Progress`` raises.
        """
        state = self._receipt[index]
        if isinstance(state, Ended):
            raise Refused(reason=state.reason)
        if state is not None:
            try:
                async with self._desk.pace.slot(waiting=False):
                    self._tell(index, 0.0)
                    return await self._resume(index, state)
            except _Unheard:
                self._receipt[index] = None  # it never arrived, so it may be sent
        return await self._order(index)

    async def _resume(self, index: int, state: Sent | Ticket) -> Done:
        if isinstance(state, Ticket):
            try:
                return await self._watch(index, state.text)
            except _Unheard:
                raise self._desk.broken("no longer knows what was ordered") from None
        return await self._look_up(index, state.client_id)

    async def _look_up(self, index: int, client_id: str) -> Done:
        """Watch a shot that may have arrived; raises _Unheard if it surely has not, OutcomeUnknown if none can tell."""
        vendor = self._desk.vendor
        if not vendor.names_tasks:
            raise OutcomeUnknown(f"{vendor.title} may have been paid for job {self._plan.job_id}; nothing came of it")
        return await self._watch(index, client_id, looking_up=True)

    # Ordering

    async def _order(self, index: int) -> Done:
        pace = self._desk.pace
        async with pace.slot():
            await pace.turn()
            if self._progress.cancelled:
                raise Cancelled()
            self._tell(index, 0.0)
            client_id = str(uuid.uuid4())
            async with self._desk.submitting:
                outcome = await self._send(index, client_id)
            done = outcome if isinstance(outcome, Done) else await self._wait_for(index, outcome, client_id)
        pace.went_well()
        return done

    async def _send(self, index: int, client_id: str) -> Outcome | None:
        """Order a shot, once that is on disk. Its picture is held no longer than this takes."""
        plan = self._plan
        shot = Shot(
            request=plan.request,
            offer=plan.offer,
            size=plan.size,
            seeds=plan.shots[index],
            picture=await self._picture(),
            link=None if plan.image is None or plan.publish is None else self._published,
            client_id=client_id,
        )
        self._receipt[index] = Sent(client_id)
        await self._receipt.keep()
        return await self._submit(index, shot)

    async def _submit(self, index: int, shot: Shot) -> Outcome | None:
        """Order ``shot`` and note how that went; None when the vendor may have it and can be asked by ``client_id``."""
        vendor, job_id = self._desk.vendor, self._plan.job_id
        witness = Witness(self._desk.transport, may_pay=True)
        ordering = asyncio.create_task(vendor.submit(shot, witness), name=f"submit {job_id}")
        try:
            outcome = await asyncio.shield(ordering)
        except asyncio.CancelledError:
            await self._last_word(index, ordering, witness)
            if witness.ordered:
                m.ORDERS.labels(vendor.name, "unknown" if isinstance(self._receipt[index], Sent) else "taken").inc()
            raise
        except Exception as error:
            known = isinstance(error, GenerationFailed)
            m.ORDERS.labels(vendor.name, _fate(error, witness)).inc()
            if not known:
                log.error("An order of job %s, or its answer, does not fit %s", job_id, vendor.title, exc_info=error)
            if witness.leaves_open(error):
                log.warning("What became of an order of job %s is not known: %s", job_id, error)
                if vendor.names_tasks:
                    return None
                raise _unknown(error) from None
            reason = str(error.facts.get("reason") or CENSORED) if isinstance(error, Refused) else None
            self._receipt[index] = None if reason is None else Ended(reason)
            await self._note()
            if known:
                raise
            raise self._desk.broken("could not be asked") from None
        if isinstance(outcome, Pending):
            if outcome.ticket is None:
                m.ORDERS.labels(vendor.name, "unknown").inc()
                raise OutcomeUnknown(f"{vendor.title} took an order and gave no name for it")
            self._receipt[index] = Ticket(outcome.ticket)
            await self._note()
        m.ORDERS.labels(vendor.name, "taken").inc()
        return outcome

    async def _last_word(self, index: int, ordering: asyncio.Task[Outcome], witness: Witness) -> None:
        """Before an order is given up: a moment for the vendor's name of it, so that it can be resumed or cancelled."""
        if witness.ordered and self._desk.vendor.polled:
            await asyncio.wait({ordering}, timeout=self._desk.patience.last_word)
        if not ordering.done():
            ordering.cancel()
            await asyncio.wait({ordering}, timeout=1.0)
        state: State = self._receipt[index]
        if ordering.done() and not ordering.cancelled() and ordering.exception() is None:
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
            log.warning("The receipt of job %s is not kept: %s", self._plan.job_id, error)

    async def _picture(self) -> bytes | None:
        if self._plan.image is None:
            return None
        png = None if self._png is None else self._png()
        if png is None:  # shots that are sent together share it; hundreds of jobs in flight do not keep theirs
            png = asyncio.create_task(self._desk.pictures.fitted(self._plan.image, self._plan.size))
            self._png = weakref.ref(png)
        return await asyncio.shield(png)

    async def _published(self) -> str:
        if self._link is None:
            self._link = asyncio.create_task(self._publish())
        return await asyncio.shield(self._link)

    async def _publish(self) -> str:
        picture = await self._picture()
        assert picture is not None
        assert self._plan.publish is not None
        return await self._plan.publish(picture, "image/png")

    # Watching

    async def _wait_for(self, index: int, outcome: Pending | None, client_id: str) -> Done:
        try:
            if outcome is None:
                return await self._look_up(index, client_id)
            assert outcome.ticket is not None
            await self._show(index, outcome)
            return await self._watch(index, outcome.ticket, rested=False)
        except _Unheard:
            if outcome is not None:
                raise self._desk.broken("no longer knows what was ordered") from None
            self._receipt[index] = None
            await self._note()
            title = self._desk.vendor.title
            raise ProviderDown(f"{title} never got the order", provider=title) from None

    async def _watch(self, index: int, ticket: str, *, rested: bool = True, looking_up: bool = False) -> Done:
        """Poll until the shot has ended; raises its error, or OutcomeUnknown when the vendor cannot tell for long.

        ``rested``: whether to ask at once. Raises _Unheard when the vendor says again and again that it has no such
        task.
        """
        vendor, patience, job_id = self._desk.vendor, self._desk.patience, self._plan.job_id
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
                # No other LookupError: a KeyError is a slip, and must not lead to a new order.
                if type(error) is LookupError or faults.is_missing(error):
                    m.POLLS.labels(vendor.name, "missing").inc()
                    unheard += 1
                    if unheard >= patience.unheard:
                        raise _Unheard() from None
                    continue
                if witness.settles(error):
                    m.POLLS.labels(vendor.name, "answered").inc()
                    raise
                m.POLLS.labels(vendor.name, "failed").inc()
                now = time.monotonic()
                if trouble is None:
                    trouble = now
                    slip = None if isinstance(error, GenerationFailed) else error
                    log.warning("Job %s is out of sight at %s: %s", job_id, vendor.title, error, exc_info=slip)
                if now - trouble >= patience.trouble:
                    raise _unknown(error) from None
                continue
            m.POLLS.labels(vendor.name, "answered").inc()
            trouble, unheard = None, 0
            if looking_up:
                self._receipt[index] = Ticket(ticket)
                looking_up = False
                await self._note()
            if isinstance(outcome, Done):
                return outcome
            await self._show(index, outcome)

    async def _show(self, index: int, pending: Pending) -> None:
        if pending.progress is not None:
            self._tell(index, pending.progress)
        if pending.preview is not None:
            preview = await self._desk.pictures.preview(pending.preview)
            if preview is not None:
                self._progress.preview(lambda: preview)


def _fate(error: Exception, witness: Witness) -> str:
    """Return what became of an order that ended with ``error``, for the count of orders."""
    if witness.leaves_open(error):
        return "unknown"
    return "refused" if isinstance(error, Refused) else "failed"


def _unknown(error: Exception) -> OutcomeUnknown:
    return error if isinstance(error, OutcomeUnknown) else OutcomeUnknown(str(error))
