"""The outbox: keeps the message of every unfinished job up to date, and hands over every result exactly once.

It holds nothing that matters. What has to be delivered is in the database, so after a restart, or a crash at any
moment, it goes on from there: an edit can be repeated, a new post carries a nonce, a lease keeps two bots apart.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import discord
from structlog.contextvars import bind_contextvars

from bot.delivery import uploads
from bot.delivery.notices import nonce, notice
from bot.delivery.own_token import Lane, OwnToken
from bot.delivery.posting import Poster, Way, passing, progress_way, too_large, upload_limits, ways
from bot.delivery.turns import turn_of
from bot.layouts import cards
from flux_core.errors import FluxError, JobNotFound, PictureGone, StorageUnavailable
from flux_core.jobs import Job, JobState
from flux_core.metrics import definitions as m
from flux_core.service import LiveJob, Studio
from flux_core.shards import Share
from flux_core.waiting import happened

log = logging.getLogger(__name__)

EDIT_GAP = 1.2
"""Seconds between two edits of one message; Discord allows about five in five."""
TURN_GAP = 4.0
"""Seconds between two looks at a waiting job's turn."""
TURNS_PER_SECOND = 5.0
"""Most turns looked up a second, however many jobs wait."""
PAGE = 500
"""Waiting jobs read at once."""
LOOK_GAP = 0.05
"""Least seconds between two looks at the outbox."""
IDLE = 5.0
"""Most seconds between two looks."""
ACKNOWLEDGED_WITHIN = 4.0
"""Seconds after which an order that was never acknowledged has lost its process: Discord gives 3."""
LEASE = 30.0
"""Seconds for which a delivery belongs to this process, renewed while it is at it; after a crash, the next one waits
that long."""
SEND_TIMEOUT = 60.0
"""Seconds for one request with its uploads. Where it outlasts a lease that could not be renewed, what two bots send is
the same post."""
NOTICE_TIMEOUT = 10.0
"""Seconds for telling a member in a direct message that their pictures are there."""
LONGEST_RETRY = 100.0
"""Seconds, half of it more or less by chance: a post whose receipt was lost is tried again while Discord knows its
nonce, which it does for "the past few minutes"."""
GIVE_UP_AFTER = 24 * 3600.0
"""Seconds after its end at which a job that Discord keeps refusing for passing reasons waits in /jobs instead."""
CLOSE_WITHIN = 10.0
OVERDUE = 90.0
"""Seconds after its end for which a job is left to the process that looks after its guild. Longer than a request may
take: an edit of that process, sent while the job ran, must not arrive after another's final answer."""

_ENDED = tuple(state for state in JobState if state.ended)


@dataclass(slots=True)
class _Message:
    """What this process knows of one living message."""

    shown: tuple[Any, ...] | None = None
    """The facts of the last card."""
    promised: float | None = None
    """When the last card said the pictures would be ready."""
    next_look: float = 0.0
    met: int = 0
    """The round through all live jobs in which it was last met."""
    task: asyncio.Task[None] | None = None
    hold_until: float = 0.0
    """Until when the final answer waits, because somebody else is sending it or the database did not answer."""
    frozen: bool = False
    """Discord takes no more edits; only the final answer is left."""
    sent: tuple[Way, int | None] | None = None
    """How the final answer went, and as which message: kept where the database was away before it was noted."""


class Delivery:
    """One loop that looks at the outbox whenever the studio changed, and a task for every message it touches."""

    def __init__(
        self,
        client: discord.Client,
        studio: Studio,
        *,
        clock: Callable[[], float] = time.time,
        at_once: int = 16,
        share: Callable[[], Share | None] = lambda: None,
    ) -> None:
        """Deliver with ``client``, at most ``at_once`` answers at the same time.

        ``share``: the guilds that this process looks after, asked anew at each look; None: all of them.
        """
        self._studio = studio
        self._poster = Poster(client)
        self._clock = clock
        self._share = share
        self._owner = secrets.token_hex(8)
        self._messages: dict[str, _Message] = {}
        self._edits = asyncio.Semaphore(4)
        self._finals = asyncio.Semaphore(at_once)
        self._own_token = OwnToken()
        self._touched = asyncio.Event()
        self._next_page = 0.0
        self._page_after = ""
        self._page_pending = False
        self._round = 0

    async def run(self) -> None:
        """Deliver until cancelled; then end what is being sent, within 10 seconds."""
        watch = asyncio.create_task(self._watch(), name="delivery-watch")
        try:
            while True:
                self._touched.clear()
                started = time.monotonic()
                try:
                    await self._look()
                except StorageUnavailable as error:
                    log.warning("the outbox does not answer: %s", error)
                except Exception:
                    log.exception("a look at the outbox failed")
                # A look costs more the more jobs live; it never takes more than a third of the time.
                await asyncio.sleep(max(LOOK_GAP, 2 * (time.monotonic() - started)))
                await happened(self._touched, self._patience())
        finally:
            watch.cancel()
            await self._finish()

    async def _watch(self) -> None:
        version: int | None = None
        while True:
            try:
                seen = await self._studio.changed(version, IDLE)
            except StorageUnavailable:
                await asyncio.sleep(1.0)
                continue
            if seen != version:
                version = seen
                self._touched.set()

    async def _finish(self) -> None:
        tasks = [message.task for message in self._messages.values() if message.task is not None]
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=CLOSE_WITHIN)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    def _patience(self) -> float:
        due = min((m.next_look for m in self._messages.values() if m.task is None), default=float("inf"))
        if self._page_pending:
            due = min(due, self._next_page)
        return max(LOOK_GAP, min(IDLE, due - self._clock()))

    async def _look(self) -> None:
        now = self._clock()
        live = await self._studio.live_jobs(
            states=(JobState.RUNNING, *_ENDED), share=self._share(), overdue=now - OVERDUE
        )
        # Waiting jobs can be many and change slowly: they are gone through page by page.
        self._page_pending = now < self._next_page
        if not self._page_pending:
            live += await self._page(now)
        turn_gap = max(TURN_GAP, len(self._messages) / TURNS_PER_SECOND)
        for one in live:
            self._attend(one, now, turn_gap)

    async def _page(self, now: float) -> list[LiveJob]:
        page = await self._studio.live_jobs(
            states=(JobState.QUEUED,), after=self._page_after, limit=PAGE, share=self._share()
        )
        self._next_page = now + EDIT_GAP / 2
        self._page_pending = len(page) == PAGE
        self._page_after = page[-1].job.id if self._page_pending else ""
        if not self._page_after:
            # Every job was met once more; what was not met in the round before either lives no longer.
            self._round += 1
            gone = [id for id, m in self._messages.items() if m.task is None and m.met < self._round - 1]
            for job_id in gone:
                del self._messages[job_id]
        return page

    def _attend(self, one: LiveJob, now: float, turn_gap: float) -> None:
        job = one.job
        message = self._messages.get(job.id)
        if message is None:
            # A fresh message was acknowledged just now and is left alone for a moment; most jobs end before it.
            message = self._messages[job.id] = _Message(next_look=job.created_at + EDIT_GAP)
        message.met = self._round
        if message.task is not None:
            return
        lane = self._own_token.lane_of(job, now)
        if job.state.ended:
            message.next_look = max(message.hold_until, one.next_delivery_at or 0.0, _answered_by(job))
            if message.next_look <= now and self._own_token.is_full(lane):
                message.next_look = float("inf")  # the end of any of those is a reason to look
            elif message.next_look <= now:
                self._start(message, f"deliver-{job.id}", self._deliver(one, message), lane)
        elif message.frozen:
            message.next_look = float("inf")
        elif now >= message.next_look:
            message.next_look = now + (EDIT_GAP if job.state is JobState.RUNNING else turn_gap)
            told = job.state is not JobState.QUEUED and _progress_of(job) == message.shown
            if not told and not self._own_token.is_full(lane):
                self._start(message, f"progress-{job.id}", self._progress(job, message), lane)
        elif job.state is JobState.RUNNING:
            # It waited in the queue with long gaps between looks; now it moves.
            message.next_look = min(message.next_look, now + EDIT_GAP)

    def _start(self, message: _Message, name: str, work: Coroutine[Any, Any, None], lane: Lane | None) -> None:
        message.task = asyncio.create_task(work, name=name)
        self._own_token.enter(lane)

        def ended(task: asyncio.Task[None]) -> None:
            self._own_token.leave(lane)
            message.task = None
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s failed", name, exc_info=error)
                message.next_look = message.hold_until = self._clock() + TURN_GAP
            self._touched.set()

        message.task.add_done_callback(ended)

    # While the job lives

    async def _progress(self, job: Job, message: _Message) -> None:
        bind_contextvars(job=job.id)  # it is a task of its own
        try:
            async with self._edits:
                edited = await self._edit(job.id, message)
            if edited is None:
                return
            # Not among the edits any more: it may wait for another process, and others' cards would with it.
            await self._put_right(*edited)
        except (StorageUnavailable, JobNotFound):
            return
        except Exception as error:
            if passing(error):
                message.next_look = self._clock() + 2 * TURN_GAP
                if isinstance(error, TimeoutError):
                    # It may still arrive, and must not take the place of the final answer.
                    message.hold_until = self._clock() + TURN_GAP
            elif isinstance(error, discord.HTTPException):
                # The message is gone, or was never ours to edit: the result will find another way.
                message.frozen = True
            else:
                raise
        else:
            if edited[1].state is JobState.RUNNING:
                message.next_look = self._clock() + EDIT_GAP

    async def _edit(self, job_id: str, message: _Message) -> tuple[Way, Job] | None:
        """Show how far a job is; return which way, and the job as it is shown, or None where nothing was to be done."""
        job = await self._studio.job(job_id)
        if job.state.ended:
            return None
        way = progress_way(job, self._clock())
        if way is None:
            message.frozen = True
            return None
        turn = await turn_of(self._studio, job, self._clock)
        facts = _progress_of(job) if job.state is JobState.RUNNING else _turn_of(job, turn)
        if facts == message.shown and not _moved(message.promised, turn.ready_at, self._clock()):
            return None
        card, files = await self._living(job, turn)
        async with asyncio.timeout(SEND_TIMEOUT):
            message_id = await self._poster.send(way, job, card, files)
        if message_id is not None and job.reply_to is not None and job.reply_to.message_id is None:
            # Its process ended before it was told: without the id nobody finds the card once the token is gone.
            await self._studio.attach_message(job.id, message_id)
        message.shown, message.promised = facts, turn.ready_at
        return way, job

    async def _put_right(self, way: Way, shown: Job) -> None:
        """Edit the answer back into the message of a job that another process delivered while we edited it."""
        job = await self._studio.job(shown.id)
        if not job.state.ended or await self._studio.claim_delivery(job.id, self._owner, LEASE):
            return  # nobody has begun to deliver it: the next look does
        version: int | None = None
        async with asyncio.timeout(SEND_TIMEOUT):
            while job.delivered_at is None:
                version = await self._studio.changed(version, IDLE)
                job = await self._studio.job(job.id)
        if job.reply_to is None or shown.reply_to is None:
            return
        if job.reply_to.message_id != shown.reply_to.message_id:
            return  # it was posted anew
        log.info("another process has delivered job %s meanwhile: its answer is put back", job.id)
        job = job.evolve(reply_to=shown.reply_to)  # with the token, which was forgotten
        limit = shown.reply_to.upload_limit
        async with self._edits:
            loaded = await uploads.load(self._studio, job, limit=limit) if job.state is JobState.SUCCEEDED else []
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._poster.send(way, job, _final(job, loaded, way), uploads.files(loaded))

    async def _living(self, job: Job, turn: cards.Turn) -> tuple[cards.Card, list[discord.File]]:
        if job.state is JobState.QUEUED:
            return cards.waiting(job, turn), []
        if job.preview_key is None:
            return cards.running(job, turn, None), []
        try:
            preview = await self._studio.picture_bytes(job.preview_key)
        except (PictureGone, StorageUnavailable):
            return cards.running(job, turn, None), []
        # A new name for each preview, or clients would show the one they have.
        name = f"preview-{job.steps_done}.webp"
        return cards.running(job, turn, name), [discord.File(BytesIO(preview), name)]

    # When the job has ended

    async def _deliver(self, one: LiveJob, message: _Message) -> None:
        job = one.job
        bind_contextvars(job=job.id)
        async with self._finals:
            try:
                async with self._leased(job.id):
                    handed_over = await self._hand_over(job, message)
                if not handed_over:
                    message.hold_until = self._clock() + TURN_GAP
            except Exception as error:
                if not passing(error) and not isinstance(error, FluxError):
                    log.exception("delivering job %s failed", job.id)
                await self._later(one, error)

    @asynccontextmanager
    async def _leased(self, job_id: str) -> AsyncIterator[None]:
        """Renew the lease meanwhile: a large upload on a slow line takes longer."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE / 3)
                with suppress(StorageUnavailable):
                    await self._studio.claim_delivery(job_id, self._owner, LEASE)

        renewing = asyncio.create_task(renew(), name=f"lease-{job_id}")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _hand_over(self, job: Job, message: _Message) -> bool:
        """Try every way in turn, and give up when all are closed; False when another bot is at it.

        Raises what may pass.
        """
        reply = job.reply_to
        assert reply is not None
        if message.sent is not None:
            # Discord forgets a nonce after minutes, and the database may have been away for longer.
            if not await self._studio.claim_delivery(job.id, self._owner, LEASE):
                return False
            await self._done(job, *message.sent)
            return True
        closed: list[str] = []
        for way in ways(job, self._clock()):
            for limit in upload_limits(reply, way):
                if not await self._studio.claim_delivery(job.id, self._owner, LEASE):
                    return False
                loaded = await uploads.load(self._studio, job, limit=limit) if job.state is JobState.SUCCEEDED else []
                card = _final(job, loaded, way)
                try:
                    async with asyncio.timeout(SEND_TIMEOUT):
                        message_id = await self._poster.send(way, job, card, uploads.files(loaded))
                except discord.HTTPException as error:
                    if passing(error):
                        raise
                    closed.append(f"{way.value}: {error.status} {error.code}")
                    if loaded and too_large(error):
                        continue
                    break
                message.sent = way, message_id
                await self._done(job, way, message_id)
                return True
        if job.state is JobState.CANCELLED:
            await self._studio.delivered(job.id)
            return True
        reason = "; ".join(closed) or "no way was open"
        log.warning("job %s could not be delivered (%s); it waits in /jobs", job.id, reason)
        await self._studio.give_up_delivery(job.id, reason)
        m.DELIVERIES.labels("given_up").inc()
        return True

    async def _done(self, job: Job, way: Way, message_id: int | None) -> None:
        reply = job.reply_to
        assert reply is not None
        if way is Way.CHANNEL and message_id is not None and await self._deleted(job, message_id):
            await self._studio.removals.note(job.account.guild_id, reply.channel_id, message_id)
            return
        if way is not Way.DIRECT and message_id is not None and message_id != reply.message_id:
            # A new post, or the first answer, whose id had not reached us: who deletes the picture has to find it.
            attach = self._studio.replace_message if way is Way.CHANNEL else self._studio.attach_message
            await attach(job.id, message_id)
        if job.notify and job.state is not JobState.CANCELLED and way is not Way.DIRECT:
            # Before it counts as delivered: after a crash in between, the nonce makes a second notice the first one.
            await self._notify(job.evolve(reply_to=replace(reply, message_id=message_id or reply.message_id)))
        await self._studio.delivered(job.id)
        m.DELIVERIES.labels(way.name.lower()).inc()
        m.DELIVERY.observe(max(0.0, self._clock() - (job.ended_at or self._clock())))

    async def _deleted(self, job: Job, message_id: int) -> bool:
        """Tell whether ``job`` was deleted while its post ``message_id`` was on its way: nothing else ends that."""
        now = await self._studio.job(job.id)
        return now.delivered_at is not None and (now.reply_to is None or now.reply_to.message_id != message_id)

    async def _notify(self, job: Job) -> None:
        """Send a direct message about a delivered job; a courtesy, so what is in its way is in nobody else's."""
        try:
            async with asyncio.timeout(NOTICE_TIMEOUT):
                await self._poster.tell(job.account.user_id, notice(job), nonce(job))
        except Exception as error:
            if not passing(error) and not isinstance(error, discord.HTTPException):
                raise
            log.info("the notice of job %s did not arrive: %s", job.id, getattr(error, "code", type(error).__name__))

    async def _later(self, one: LiveJob, error: BaseException) -> None:
        now = self._clock()
        reason = f"{type(error).__name__} {getattr(error, 'status', '')}".strip()
        if one.job.ended_at is not None and now > one.job.ended_at + GIVE_UP_AFTER:
            await self._studio.give_up_delivery(one.job.id, reason)
            m.DELIVERIES.labels("given_up").inc()
            return
        wait = min(LONGEST_RETRY, 2.0 ** min(one.delivery_attempts, 10)) * random.uniform(0.5, 1.5)
        log.info("delivering job %s again in %.1f s: %s", one.job.id, wait, reason)
        await self._studio.delivery_failed(one.job.id, now + wait, reason)
        m.DELIVERIES.labels("later").inc()


def _answered_by(job: Job) -> float:
    """Return the moment (unix seconds) at which ``job`` has an answer to edit, or will never get one."""
    reply = job.reply_to
    return 0.0 if reply is None or reply.message_id is not None else job.created_at + ACKNOWLEDGED_WITHIN


def _progress_of(job: Job) -> tuple[Any, ...]:
    return (job.state, job.provider, job.steps_done, job.steps_total, job.preview_key, job.cancel_requested)


def _turn_of(job: Job, turn: cards.Turn) -> tuple[Any, ...]:
    stops = (turn.paused, turn.draining, job.held)
    return (job.state, turn.position, turn.workers == 0, stops, turn.ready_at is None, len(job.remarks))


def _moved(promised: float | None, ready_at: float | None, now: float) -> bool:
    # The estimate moves with every look. It is a reason to edit only where the card has become misleading.
    if promised is None or ready_at is None:
        return False
    return abs(ready_at - promised) > max(20.0, (ready_at - now) / 4)


def _final(job: Job, loaded: list[uploads.Upload], way: Way) -> cards.Card:
    lead = None
    if way is Way.CHANNEL:
        lead = f"<@{job.account.user_id}>, this took a while:"
    elif way is Way.DIRECT and job.reply_to is not None:
        lead = f"From <#{job.reply_to.channel_id}>, where I could not answer:"
    if job.state is JobState.SUCCEEDED:
        return cards.result(job, [one.shown for one in loaded], lead=lead)
    return cards.ended_without(job, lead=lead)
