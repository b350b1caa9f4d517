"""Jobs from a member's order to the delivered answer; what moderators and members decide has desks of its own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from flux_core import loras
from flux_core.catalogue import Catalogue
from flux_core.database import audit, jobs, outbox, pictures, policies, spending, submissions, workers
from flux_core.database.admission import Offered
from flux_core.database.engine import Database
from flux_core.database.hosted import Terms
from flux_core.database.outbox import LiveJob
from flux_core.database.places import Place, place_of, places_of
from flux_core.database.submissions import Quota, Submission
from flux_core.database.workers import WorkerInfo
from flux_core.errors import (
    AlreadySo,
    JobAlreadyEnded,
    JobNotFound,
    NotAllowed,
    PictureGone,
    StorageUnavailable,
)
from flux_core.generation import GenerationRequest, InputPicture
from flux_core.jobs import NOWHERE, Account, Job, JobState, Origin, Picture, Whereabouts
from flux_core.metrics.house import House
from flux_core.offers import Offer
from flux_core.outgrown import until_outgrown
from flux_core.quota import QuotaRules, day_at
from flux_core.router import RoutingPolicy
from flux_core.service.audit import Audit
from flux_core.service.bots import Bots
from flux_core.service.line import Line
from flux_core.service.members import Members
from flux_core.service.personal import Personal
from flux_core.service.policies import Policies
from flux_core.service.removals import Removals
from flux_core.service.reviews import Reviews
from flux_core.service.store import PictureStore
from flux_core.service.usage import Usage
from flux_core.shards import Share
from flux_core.skills import loras_at_hand

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from flux_core.images.intake import VettedPicture


class Studio:
    """Everything a member or moderator can do. Every method raises StorageUnavailable when the database is away."""

    def __init__(
        self,
        db: Database,
        pictures: PictureStore,
        catalogue: Catalogue,
        rules: QuotaRules,
        *,
        lease_seconds: float = 30.0,
        offers: Mapping[str, Mapping[str, Offer]] | None = None,
        policy: RoutingPolicy = policies.DEFAULT_ROUTING,
        links: bool = False,
        elsewhere: Collection[str] = (),
        caps: Mapping[str, int] | None = None,
    ) -> None:
        """Work on ``db``; a worker silent for ``lease_seconds`` does not count as alive.

        ``offers``: what the configured hosted providers do (provider → model → offer). ``policy`` holds where a guild
        has none. ``links``: whether the picture store can hand out URLs. ``elsewhere``: models that workers on
        other machines draw, with weights of their own where those are published. ``caps``: the most that a hosted
        provider may be paid a day, in millionths of a dollar.
        """
        self.catalogue = catalogue
        self.rules = rules
        self._db = db
        self._store = pictures
        self._offered = Offered(
            models=tuple(spec.id for spec in catalogue),
            local=frozenset(spec.id for spec in catalogue if spec.local),
            loras=catalogue.known_loras,
            elsewhere=frozenset(spec.id for spec in catalogue if spec.weights and spec.id in elsewhere),
            hosted=offers or {},
            caps=caps or {},
            policy=policy,
            links=links,
            lease_seconds=lease_seconds,
        )
        self.policies = Policies(db, rules)
        self.members = Members(db, rules)
        self.line = Line(db)
        self.audit = Audit(db)
        self.bots = Bots(db, lease_seconds=lease_seconds)
        self.usage = Usage(db, rules)
        self.reviews = Reviews(db, pictures)
        self.removals = Removals(db)
        self.personal = Personal(db, pictures, rules)
        self.house = House(db, lease_seconds=lease_seconds, zone=rules.zone)
        self._terms = Terms(policy=policy, zone=rules.zone, lease_seconds=lease_seconds)

    # Submitting

    async def check(
        self,
        account: Account,
        request: GenerationRequest,
        *,
        origin: Origin = Origin.IMAGINE,
        where: Whereabouts = NOWHERE,
    ) -> None:
        """Raise what ``submit`` would raise for ``request`` now; reserve nothing."""
        price = await self._price(request)
        await self._db.read(
            submissions.check, account, request, origin, where, price, self.rules, self._offered, self._db.clock()
        )

    async def submit(self, submission: Submission) -> Job:
        """Reserve the cost and put the job into the queue, both or neither.

        A submission whose ``key`` was used before returns the job it made then, and costs nothing.
        Raises UnknownModel, UnknownLora, LoraNotForModel, UnknownProvider or NobodyDraws; Banned, QueuePaused,
        ChannelClosed, ModelDenied, BeyondLimit or PromptForbidden; TooSoon, TooManyWaiting, QuotaSpent or PoolSpent.
        """
        price = await self._price(submission.request)
        return await self._db.write(submissions.submit, submission, price, self.rules, self._offered, self._db.clock())

    async def _price(self, request: GenerationRequest) -> int:
        """Return what a request costs. One from a button may be older than the list of models and that of LoRAs."""
        price = request.price(self.catalogue)
        if request.lora is not None:
            loras.allow(request.lora.name, await self.loras(), request.model)
        return price

    async def loras(self, *, now: bool = False) -> loras.Known:
        """Return the LoRAs that may be asked for: those of our own list, and those that living workers have.

        ``now``: without those that no worker has though its model is drawn.
        """
        listed = self.catalogue.known_loras
        crew = [worker.offers for worker in await self.venues() if not worker.hosted]
        found = loras_at_hand(listed, crew)
        if not now:
            for name, models in listed.items():
                found.setdefault(name, set()).update(models)
        offered = {name: [spec.id for spec in self.catalogue if spec.id in models] for name, models in found.items()}
        return {name: models for name, models in sorted(offered.items()) if models}

    async def store_input(self, picture: VettedPicture) -> InputPicture:
        """Keep an uploaded picture under the name of its contents."""
        # In a thread: a large picture takes longer than other members should wait.
        contents = await asyncio.to_thread(hashlib.sha256, picture.png)
        key = f"inputs/{contents.hexdigest()}.png"
        await self._db.write(pictures.note_input, key, self._db.clock())
        await self._store.put(key, picture.png, "image/png")
        return InputPicture(key=key, width=picture.width, height=picture.height)

    # Following

    async def job(self, job_id: str) -> Job:
        """Return a job; raises JobNotFound."""
        return await self._db.read(_found, job_id)

    async def pictures(self, job_id: str) -> list[Picture]:
        """Return the pictures of a job in their order; those that were deleted have no key."""
        return await self._db.read(pictures.pictures_of, job_id)

    async def picture_bytes(self, key: str) -> bytes:
        """Return the file that the store has under ``key``; raises PictureGone."""
        return await self._store.get(key)

    async def place(self, job_id: str) -> Place:
        """Return where a job stands in the queue and when it will be done; raises JobNotFound."""
        return await self._db.read(_place, job_id, self._terms, self._db.clock())

    async def places(self, listed: Sequence[Job]) -> list[Place]:
        """Return where each of several jobs stands: one look along the line, where ``place`` takes one for each."""
        return await self._db.read(places_of, listed, self._terms, self._db.clock())

    async def jobs_of(
        self, account: Account, *, active_only: bool = True, limit: int = 25, before: str | None = None
    ) -> list[Job]:
        """Return an account's jobs, newest first; ``before`` is the id of the last job of the page before.

        Active are jobs that wait or run, and those whose answer could not be delivered.
        """
        return await self._db.read(jobs.of_account, account, active_only, limit, before)

    async def recent_prompts(self, account: Account, prefix: str, limit: int = 25) -> list[str]:
        """Return the account's latest different prompts that begin with ``prefix`` (in any case)."""
        return await self._db.read(jobs.recent_prompts, account, prefix, limit)

    async def until_outgrown(self) -> None:
        """Never return; raise ConfigurationError once this program is too old for the database."""
        await until_outgrown(self._db)

    async def changed(self, since: int | None, timeout: float) -> int:  # noqa: ASYNC109 (no error: the time is up)
        """Wait until anybody changed anything, as ``Database.changed``."""
        return await self._db.changed(since, timeout)

    # Changing one's mind

    async def cancel(self, job_id: str, *, by: int, moderator: bool) -> Job:
        """Stop a job: a waiting one ends at once with its cost back, a running one within a step.

        Raises JobNotFound, NotAllowed (only its member and moderators may), JobAlreadyEnded.
        """
        return await self._db.write(_cancel, job_id, by, moderator, self._db.clock())

    async def disown(self, key: str) -> None:
        """Have nothing come of a submit under ``key`` whose member was told that it failed.

        Where the database went away in the middle, the job may be there all the same: it is cancelled, with its cost
        back, and nobody is told of its end.
        """
        await self._db.write(_disown, key, self._db.clock())

    async def move_up(self, job_id: str, *, by: int) -> Job:
        """Let a waiting job be the first of its member's own; nobody else waits longer for it.

        Raises JobNotFound, NotAllowed (only its member may), AlreadySo (it is the first), JobAlreadyEnded (it does not
        wait any more).
        """
        return await self._db.write(_move_up, job_id, by)

    async def delete_pictures(self, job_id: str, *, by: int, moderator: bool) -> Job:
        """Delete a job's pictures for good; raises JobNotFound, NotAllowed, PictureGone (there are none)."""
        job, keys = await self._db.write(_delete_pictures, job_id, by, moderator, self._db.clock())
        # Nobody finds them any more. The keys are noted as discarded: maintenance deletes what the store keeps for now.
        with suppress(StorageUnavailable):
            await self._store.delete(keys)
            await self._db.write(pictures.swept, keys)
        return job

    # Order

    async def quota(self, account: Account, role_ids: Collection[int] = ()) -> Quota:
        """Return what an account has left and when it renews, as a member with these roles."""
        return await self._db.read(submissions.quota_of, account, role_ids, self.rules, self._db.clock())

    # Who draws

    async def routing_of(self, guild_id: int) -> RoutingPolicy:
        """Return what a guild prefers: the operator's policy where it has none of its own."""
        return await self._db.read(policies.routing_of, guild_id, self._offered.policy)

    async def set_routing(self, guild_id: int, policy: RoutingPolicy, by: int) -> None:
        """Set what a guild prefers, for the jobs that wait as well."""
        with suppress(AlreadySo):
            await self.policies.change(
                guild_id,
                lambda before: before.model_copy(update={"routing": policy}),
                by=by,
                action="provider set",
                routing=policy.model_dump(mode="json"),
            )

    async def venues(self) -> list[WorkerInfo]:
        """Return the living workers, of our own cards and of hosted providers, the oldest first."""
        return await self._db.read(workers.alive, self._db.clock() - self._terms.lease_seconds)

    async def spent_today(self) -> Mapping[str, int]:
        """Return what every hosted provider got today, in millionths of a dollar; what is reserved counts."""
        return await self._db.read(spending.on, day_at(self._db.clock(), self.rules.zone))

    # Delivering

    async def live_jobs(
        self,
        guilds: Collection[int] | None = None,
        *,
        states: Collection[JobState] = tuple(JobState),
        after: str = "",
        limit: int = outbox.ALL,
        share: Share | None = None,
        overdue: float = 0.0,
    ) -> list[LiveJob]:
        """Return the jobs whose message still lives, oldest first: not ended, or ended and not delivered.

        ``guilds`` and ``states`` narrow them down; ``after`` (a job's id) and ``limit`` page through them. ``share``
        leaves those of other guilds out, but for what ended at ``overdue`` (unix seconds) or before.
        """
        return await self._db.read(outbox.live, guilds, states, after, limit, share, overdue)

    async def attach_message(self, job_id: str, message_id: int) -> None:
        """Remember the message that answers a job."""
        await self._db.write(outbox.attach_message, job_id, message_id)

    async def replace_message(self, job_id: str, message_id: int) -> None:
        """Remember that a new message answers a job, and have the one before it deleted."""
        await self._db.write(outbox.replace_message, job_id, message_id, self._db.clock())

    async def claim_delivery(self, job_id: str, owner: str, seconds: float) -> bool:
        """Let ``owner`` alone deliver a job for ``seconds``; False when another does or nothing is to be delivered."""
        return await self._db.write(outbox.claim, job_id, owner, self._db.clock(), seconds)

    async def delivered(self, job_id: str) -> None:
        """Note that Discord has the answer; the interaction token is forgotten."""
        await self._db.write(outbox.delivered, job_id, self._db.clock())

    async def looked_up(self, job_id: str) -> None:
        """Note that a member has seen what could not be delivered; what is still to be delivered stays so."""
        await self._db.write(outbox.looked_up, job_id, self._db.clock())

    async def delivery_failed(self, job_id: str, retry_at: float, reason: str) -> None:
        """Note a delivery that did not work, to be tried again at ``retry_at`` (unix seconds)."""
        await self._db.write(outbox.failed, job_id, retry_at, reason)

    async def give_up_delivery(self, job_id: str, reason: str) -> None:
        """Stop trying to deliver a job: it stays among the member's active jobs."""
        await self._db.write(outbox.give_up, job_id, reason, self._db.clock())

    async def forget_reply(self, job_id: str) -> None:
        """Forget the interaction token of a job."""
        await self._db.write(outbox.forget_reply, job_id)


def _found(connection: Connection, job_id: str) -> Job:
    job = jobs.find(connection, job_id)
    if job is None:
        raise JobNotFound(job=job_id)
    return job


def _place(connection: Connection, job_id: str, terms: Terms, now: float) -> Place:
    return place_of(connection, _found(connection, job_id), terms, now)


def _allow(job: Job, by: int, moderator: bool, action: str) -> None:
    if not moderator and job.account.user_id != by:
        raise NotAllowed(action=action)


def _cancel(connection: Connection, job_id: str, by: int, moderator: bool, now: float) -> Job:
    job = _found(connection, job_id)
    _allow(job, by, moderator, "cancel")
    if job.state.ended:
        raise JobAlreadyEnded(state=job.state.value)
    _note_moderator(connection, job, by, "job cancel", now)
    if job.state is JobState.QUEUED:
        return submissions.withdraw(connection, job, now)
    return jobs.request_cancel(connection, job_id) or job


def _disown(connection: Connection, key: str, now: float) -> None:
    job = jobs.find_by_key(connection, key)
    if job is None or job.state.ended:
        return  # it never was, or its member has got more than they were told
    outbox.delivered(connection, job.id, now)
    if job.state is JobState.QUEUED:
        submissions.withdraw(connection, job, now)
    else:
        jobs.request_cancel(connection, job.id)


def _note_moderator(connection: Connection, job: Job, by: int, action: str, now: float) -> None:
    """Write down what somebody did to another member's job."""
    if job.account.user_id != by:
        audit.note(connection, job.account.guild_id, by, action, now, target=job.account.user_id, job=job.id)


def _move_up(connection: Connection, job_id: str, by: int) -> Job:
    job = _found(connection, job_id)
    _allow(job, by, False, "move")
    if job.state is not JobState.QUEUED:
        raise JobAlreadyEnded(state=job.state.value)
    if not submissions.move_to_front(connection, job):
        raise AlreadySo(what="it is the first of yours already")
    return _found(connection, job_id)


def _delete_pictures(
    connection: Connection, job_id: str, by: int, moderator: bool, now: float
) -> tuple[Job, list[str]]:
    job = _found(connection, job_id)
    _allow(job, by, moderator, "delete")
    keys = pictures.delete_pictures(connection, job_id, now)
    if not keys:
        raise PictureGone(job=job_id)
    _note_moderator(connection, job, by, "job delete", now)
    return job, keys
