"""What workers do: claim, keep alive, end one way or another, order at hosted providers, and crash at any moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import strategies as st

from flux_core.errors import DrawingBroken, LeaseLost, OutcomeUnknown, OutOfMemory, ProviderBroken, ProviderDown
from flux_core.jobs import Job
from flux_core.router import LOCAL
from tests.database.life.base import Base, Outcome, card, deed, fate, hosted, pick, which, worker
from tests.database.life.checks import first_for_cards
from tests.database.life.ground import HOSTED, LEASE, MOST_ATTEMPTS, TOGETHER, WORKERS, Fate, introduction
from tests.database.life.model import ABOUT, CANCELLED, FAILED, QUEUED, RUNNING, Known
from tests.database.scene import SCHNELL, TINY, pictures

ENDINGS = ["well", "well", "partly", "badly", "broken", "pass on", "garbage", "back", "stop"]


class Workers(Base):
    """Cards of our own, and workers of hosted providers."""

    # Claiming

    @deed(8, worker=card, models=st.sampled_from([[SCHNELL], [TINY], [SCHNELL, TINY]]), fate=fate)
    def claim(self, worker: str, models: list[str], fate: Fate) -> None:
        """Take the job whose turn it is."""
        first = first_for_cards(self.model, self.seen, models)
        outcome = self.act(lambda: self.house.queue.claim(worker, models), fate)
        if outcome.committed:
            job = outcome.result
            assert (job and job.id) == (first and first.id)
            if job is None:
                self.untouched = True
            else:
                self._taken(worker, job, heard=outcome.answered)

    @deed(2, worker=card)
    def claim_together(self, worker: str) -> None:
        """Take the job whose turn it is, with company where that is drawn faster together."""
        models = [SCHNELL, TINY]
        first = first_for_cards(self.model, self.seen, models)
        jobs = self.house.run(self.house.queue.claim_together(worker, models, "card", TOGETHER))
        assert (jobs[0].id if jobs else None) == (first and first.id)
        assert sum(job.request.count for job in jobs) <= max(TOGETHER, jobs[0].request.count if jobs else 0)
        assert len({job.request.model for job in jobs}) <= 1
        for job in jobs:
            known = self.model.jobs[job.id]
            assert self.model.for_cards(known)
            assert known is first or known.relaxed == self.model.jobs[jobs[0].id].relaxed
            self._taken(worker, job, heard=True)

    def _taken(self, worker: str, job: Job, *, heard: bool) -> None:
        known = self.model.jobs[job.id]
        self.model.claimed(known, worker, HOSTED.get(worker), self.now)
        assert (job.attempts, job.lease_until) == (known.attempts, known.lease_until)
        if heard and job.id not in self.hands[worker]:
            self.hands[worker].append(job.id)

    @deed(6, worker=hosted, fate=fate)
    def claim_hosted(self, worker: str, fate: Fate) -> None:
        """Take what is to be drawn by this worker's provider."""
        self._heard_of(worker)
        vendor, model = HOSTED[worker], self.model
        there, shut = model.is_alive(worker, self.now), model.paused.get(-1) is False
        able = [job for job in model.jobs.values() if model.for_vendor(job, vendor) and there and not shut]
        bound = sorted((self.seen.jobs[job.id].start_tag, job.id) for job in able if job.bound)
        outcome = self.act(lambda: self.house.queue.claim_hosted(worker), fate)
        job = outcome.result
        if job is None:
            assert not (outcome.answered and bound), "what was ordered there waits for nobody else"
            self.untouched = False  # what our own cards may have instead may have been let through
            self._let_through()
            return
        assert job.id in {one.id for one in able}
        assert not bound or job.id == bound[0][1]
        assert (job.provider, job.provider_job_id) == (vendor, model.jobs[job.id].told)
        self._let_through()
        self._taken(worker, job, heard=outcome.answered)

    def _heard_of(self, worker: str) -> None:
        self.house.run(self.house.queue.beat(worker))
        if worker in self.model.alive:
            self.model.alive[worker] = self.now

    def _let_through(self) -> None:
        """Note which jobs that were meant for hosted providers our own cards may have now."""
        rows = self.look().jobs
        for job in self.model.jobs.values():
            if job.venue == "hosted" and job.asked is None and rows[job.id].venue == "any":
                job.venue = "any"

    # Keeping in touch

    @deed(3, worker=worker, fate=fate)
    def heartbeat(self, worker: str, fate: Fate) -> None:
        """Ask for the leases of all there is; the worker keeps those of its own, and lets go of what it lost."""
        asked = {*self.hands[worker], *(job.id for job in self.model.of(RUNNING))}
        outcome = self.act(lambda: self.house.queue.heartbeat(worker, sorted(asked)), fate)
        if not outcome.committed:
            return
        owned = [job for job in self.model.of(RUNNING) if job.worker == worker]
        assert outcome.result == {job.id: job.cancel for job in owned}
        for job in owned:
            job.lease_until = self.now + LEASE
        if outcome.answered:
            self.hands[worker] = [id for id in self.hands[worker] if id in outcome.result]

    @deed(1, when=lambda self: any(self.hands.values()), which=which, step=st.integers(1, 3), fate=fate)
    def show(self, which: int, step: int, fate: Fate) -> None:
        """Store a preview and tell of it."""
        worker, job = self._in_hand(which)
        key = f"previews/{job.id}/{next(self.serial)}.webp"
        self.house.run(self.house.store.put(key, b"preview", "image/webp"))
        outcome = self.act(lambda: self.house.queue.progress(worker, job.id, step, 4, key), fate)
        if not outcome.committed:
            return
        gone = key
        if self._owns(worker, job):
            gone, job.preview = job.preview, key
        assert gone in {None, *self.look().discarded}, "a preview that nobody lets go of"

    # Ending

    def _in_hand(self, which: int) -> tuple[str, Known]:
        """Return one of the jobs that workers believe to have, and who does."""
        name, id = pick([(name, id) for name in WORKERS for id in self.hands[name]], which)
        return name, self.model.jobs[id]

    def _owns(self, worker: str, job: Known) -> bool:
        return job.state is RUNNING and job.worker == worker

    @deed(14, when=lambda self: any(self.hands.values()), which=which, how=st.sampled_from(ENDINGS), fate=fate)
    def end(self, which: int, how: str, fate: Fate) -> None:
        """End a job that its worker believes to have; it may be somebody else's by now, or the member's again."""
        worker, job = self._in_hand(which)
        outcome = self._end(worker, job, how, fate)
        if outcome.answered:  # whoever hears nothing tries again
            self.hands[worker].remove(job.id)

    @deed(1, when=lambda self: self.model.jobs, worker=worker, which=which, how=st.sampled_from(ENDINGS))
    def end_as_a_stranger(self, worker: str, which: int, how: str) -> None:
        """Try to end any job at all."""
        job = pick(self.model.of(RUNNING) or list(self.model.jobs.values()), which)
        self._end(worker, job, how, "well")

    def _end(self, worker: str, job: Known, how: str, fate: Fate) -> Outcome:
        queue, by, owns = self.house.queue, HOSTED.get(worker, LOCAL), self._owns(worker, job)
        if job.told == ABOUT and self._owns(worker, job):
            how = "unknown"  # nobody may order it again
        elif job.told is None and worker in HOSTED and how in ("well", "partly", "garbage"):
            how = "back"  # nothing was ordered there
        missing = job.count - 1 if how == "partly" else 0
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "well": lambda: self._succeed(worker, job, by, 0),
            "partly": lambda: self._succeed(worker, job, by, missing),
            "badly": lambda: queue.fail(worker, job.id, OutOfMemory()),
            "broken": lambda: queue.fail(worker, job.id, DrawingBroken()),
            "unknown": lambda: queue.fail(worker, job.id, OutcomeUnknown()),
            "pass on": lambda: queue.pass_on(worker, job.id, ProviderDown()),
            "garbage": lambda: queue.pass_on(worker, job.id, ProviderBroken()),
            "back": lambda: queue.hand_back(worker, job.id),
            "stop": lambda: queue.cancelled(worker, job.id),
        }
        outcome = self.act(ways[how], fate)
        if not owns:
            assert isinstance(outcome.refusal, LeaseLost) or how == "back"
            self.untouched = True
            return outcome
        assert outcome.refusal is None
        if outcome.committed:
            self._ended(job, how, by, missing, outcome.result)
        return outcome

    async def _succeed(self, worker: str, job: Known, by: str, missing: int) -> Job:
        drawn = pictures(await self.house.studio.job(job.id))[: job.count - missing] if job.kept != "nothing" else []
        for picture in drawn:
            await self.house.store.put(str(picture.key), b"pixels", picture.content_type)
        return await self.house.queue.succeed(worker, job.id, drawn, provider=by, seconds=1.0, missing=missing)

    def _ended(self, job: Known, how: str, by: str, missing: int, after: Job | None) -> None:
        model, now = self.model, self.now
        match how:
            case "well" | "partly":
                model.succeeded(job, by, missing, now)
            case "badly":
                model.broke(job, now, MOST_ATTEMPTS, "out_of_memory", retryable=False)
            case "broken":
                model.broke(job, now, MOST_ATTEMPTS, "drawing_broken", retryable=True)
            case "unknown":
                model.broke(job, now, MOST_ATTEMPTS, "outcome_unknown", retryable=False)
            case "back":
                model.handed_back(job, now)
            case "stop":
                model.ended(job, CANCELLED, now)
            case _:
                assert after is not None
                self._passed_on(job, after)

    def _passed_on(self, job: Known, after: Job) -> None:
        """Note what the router decided: who goes on is its business, what follows from that is ours."""
        model, now, failed_at = self.model, self.now, job.provider or LOCAL
        model.orders[job.id].clear()  # the provider has told that nothing comes of it
        job.told = None
        if after.state is QUEUED:
            assert not job.cancel
            assert set(after.tried) <= {*job.tried, failed_at}
            assert after.attempts in (job.attempts, job.attempts - 1)
            model.requeued(job, counted=after.attempts == job.attempts)
            job.tried, job.venue = after.tried, after.venue
            assert model.for_cards(job) or any(
                job.asked in (None, vendor) and vendor not in job.tried for vendor in set(HOSTED.values())
            ) or not model.may_be_claimed(job), "nobody would draw it"  # fmt: skip
            return
        job.tried, job.provider = after.tried, None
        assert after.state is (CANCELLED if job.cancel else FAILED)
        code = None if job.cancel else after.error_code
        assert code in (None, "provider_down", "provider_broken")
        model.ended(job, after.state, now, code)

    # Ordering at a hosted provider

    @deed(8, when=lambda self: any(self.hands[name] for name in HOSTED), which=which, known=st.booleans(), fate=fate)
    def order(self, which: int, known: bool, fate: Fate) -> None:
        """Order a job where it was claimed for; ``known``: the worker lives long enough to write down what it is."""
        worker, id = pick([(name, id) for name in HOSTED for id in self.hands[name]], which)
        job, vendor = self.model.jobs[id], HOSTED[worker]
        if job.told is not None and self._owns(worker, job):
            return  # whoever claims it is told so
        if not self._tell(worker, job, ABOUT, fate):
            return
        assert not self.model.orders[id], "ordered a second time"
        self.model.orders[id].append(vendor)
        if known:
            self._tell(worker, job, f"order {next(self.serial)}", "well")

    def _tell(self, worker: str, job: Known, told: str, fate: Fate) -> bool:
        """Write down what is known of an order; return whether the worker heard that it was."""
        vendor = HOSTED[worker]
        outcome = self.act(lambda: self.house.queue.submitted(worker, job.id, vendor, told), fate)
        if not self._owns(worker, job):
            assert isinstance(outcome.refusal, LeaseLost)
            self.hands[worker].remove(job.id)
            self.untouched = True
            return False
        if outcome.committed:
            job.told, job.provider = told, vendor
        if not outcome.answered:
            self.hands[worker].remove(job.id)  # it ends the job as a failure of its own, or is gone
        return outcome.answered

    # Coming and going

    @deed(1, worker=worker, comes_back=st.booleans())
    def crash(self, worker: str, comes_back: bool) -> None:
        """Forget everything; start again under the same name, or not at all."""
        self.hands[worker].clear()
        if comes_back:
            self.house.run(self.house.queue.register(introduction(worker)))
            self.model.expired(worker, self.now)
            self.model.alive[worker] = self.now
        else:
            self.untouched = True

    @deed(1, worker=worker)
    def retire(self, worker: str) -> None:
        """Stop in order, with what is left in hand given up."""
        self.hands[worker].clear()
        self.house.run(self.house.queue.retire(worker))
        self.model.expired(worker, self.now)
        self.model.alive.pop(worker, None)
