"""What members do: order, press again, take back, move up, delete, be forgotten."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from flux_core.errors import (
    AlreadySo,
    JobAlreadyEnded,
    JobNotFound,
    PictureGone,
    PoolSpent,
    QueuePaused,
    QuotaSpent,
    TooManyWaiting,
)
from flux_core.jobs import Account, Job, Origin
from flux_core.service import Submission
from tests.database.life.base import Base, account, deed, fate, pick, which
from tests.database.life.ground import VENDORS, Fate
from tests.database.life.model import QUEUED, RUNNING
from tests.database.scene import CATALOGUE, SCHNELL, TINY, a_reply, a_request

CALM = "a red circle"
counts = st.integers(1, 4)
providers = st.sampled_from([None, None, None, "local", *VENDORS])


class Members(Base):
    """Members at their keyboards."""

    @initialize(orders=st.lists(st.tuples(account, counts, providers), max_size=5))
    def begin(self, orders: list[tuple[Account, int, str | None]]) -> None:
        """Have some work there already."""
        for who, count, provider in orders:
            self.submit(who, SCHNELL, count, provider, CALM, answered=True, again=False, fate="well")
        self.untouched = False

    @deed(
        6,
        account=account,
        model=st.sampled_from([SCHNELL, SCHNELL, TINY]),
        count=counts,
        provider=providers,
        words=st.sampled_from([CALM, CALM, "something wild"]),
        answered=st.booleans(),
        again=st.booleans(),
        fate=fate,
    )
    def submit(
        self, account: Account, model: str, count: int, provider: str | None, words: str, answered: bool, again: bool,
        fate: Fate,
    ) -> None:  # fmt: skip
        """Order something; whoever hears nothing may press again."""
        key = f"press {len(self.model.jobs)}"
        request = a_request(model, count=count, provider=provider, prompt=words)
        order = Submission(
            account=account,
            request=request,
            origin=Origin.IMAGINE,
            reply_to=a_reply(expires=self.now + 900) if answered else None,
            key=key,
        )
        price = request.price(CATALOGUE)
        expected = self._refusal(account, price, provider)
        outcome = self.act(lambda: self.house.studio.submit(order), fate)
        if expected:
            assert isinstance(outcome.refusal, expected), outcome
            return
        assert outcome.refusal is None, outcome.refusal
        if outcome.committed:
            self._ordered(outcome.result, key, price, wild=words != CALM)
        if not outcome.answered and again:
            second = self.act(lambda: self.house.studio.submit(order))
            if outcome.committed:
                assert second.result.id == outcome.result.id, "paid twice"
            else:
                self._ordered(second.result, key, price, wild=words != CALM)

    def _refusal(self, account: Account, price: int, provider: str | None) -> tuple[type[Exception], ...]:
        """Return which errors an order may meet now; none: it is taken."""
        rules = self.model.rules[account.guild_id]
        if {account.guild_id, -1} & set(self.model.paused):
            return (QueuePaused,)
        waiting = [job for job in self.model.of(QUEUED) if job.account == account]
        if len(waiting) >= rules.most_waiting:
            return (TooManyWaiting,)
        short = price > self.model.books.left(account, rules, self.now)
        if short and not (rules.relaxed and provider not in VENDORS):
            return QuotaSpent, PoolSpent
        return ()

    def _ordered(self, job: Job, key: str, price: int, *, wild: bool) -> None:
        rules = self.model.rules[job.account.guild_id]
        short = price > self.model.books.left(job.account, rules, self.now)
        assert (job.price, bool(job.lane), job.cost) == (price, short, 0 if short else price)
        assert not short or job.venue == "local", "where nobody pays nobody is paid"
        approve = wild and job.account.guild_id in self.model.approves
        self.model.submitted(job, key, approve=approve, now=self.now)

    @deed(1, when=lambda self: any(job.kept != "nothing" for job in self.model.jobs.values()), which=which)
    def press_again(self, which: int) -> None:
        """Have an order arrive a second time: it is the same one, and costs nothing, whatever became of it."""
        job = pick([job for job in self.model.jobs.values() if job.kept != "nothing"], which)
        order = Submission(account=job.account, request=a_request(job.model), origin=Origin.IMAGINE, key=job.key)
        outcome = self.act(lambda: self.house.studio.submit(order))
        assert outcome.result.id == job.id
        self.untouched = True

    @deed(2, when=lambda self: self.model.jobs, which=which, fate=fate)
    def cancel(self, which: int, fate: Fate) -> None:
        """Take a job back."""
        job = pick([*self.model.of(QUEUED, RUNNING), *self.model.jobs.values()], which)
        outcome = self.act(lambda: self.house.studio.cancel(job.id, by=job.account.user_id, moderator=False), fate)
        if job.kept == "nothing":
            assert isinstance(outcome.refusal, JobNotFound)
        elif job.ended_at is not None:
            assert isinstance(outcome.refusal, JobAlreadyEnded)
        elif outcome.committed:
            self.model.cancelled(job, self.now)

    @deed(1, when=lambda self: self.model.of(QUEUED), which=which, fate=fate)
    def move_up(self, which: int, fate: Fate) -> None:
        """Let a waiting job be the first of its member's own."""
        job = pick(self.model.of(QUEUED), which)
        outcome = self.act(lambda: self.house.studio.move_up(job.id, by=job.account.user_id), fate)
        assert outcome.refusal is None or isinstance(outcome.refusal, AlreadySo)
        if outcome.committed:
            rows = self.look().jobs
            mine = [one for one in self.model.of(QUEUED) if (one.account, one.relaxed) == (job.account, job.relaxed)]
            free = [one.id for one in mine if not one.held]
            if not job.held:
                assert min(free, key=lambda id: (rows[id].start_tag, id)) == job.id

    @deed(1, when=lambda self: self.model.jobs, which=which, fate=fate)
    def delete_pictures(self, which: int, fate: Fate) -> None:
        """Press Delete."""
        job = pick(list(self.model.jobs.values()), which)
        call = self.house.studio.delete_pictures
        outcome = self.act(lambda: call(job.id, by=job.account.user_id, moderator=False), fate)
        if job.kept == "nothing":
            assert isinstance(outcome.refusal, JobNotFound)
        elif not any(job.pictures.values()):
            assert isinstance(outcome.refusal, PictureGone)
        elif outcome.committed:
            job.pictures = dict.fromkeys(job.pictures, False)

    @deed(1, account=account)
    def be_forgotten(self, account: Account) -> None:
        """Give /data delete."""
        self.house.run(self.house.studio.personal.forget(account, patience=0))
        for job in self.model.jobs.values():
            if job.account != account or job.kept == "nothing":
                continue
            if job.ended_at is None:
                self.model.cancelled(job, self.now)
            handed_over = not job.answered or job.delivered or job.delivery is None or job.delivery.until <= self.now
            if job.ended_at is not None and handed_over:
                self.model.forgotten(job)

    @deed(1, account=account)
    def look_at_quota(self, account: Account) -> None:
        """Give /quota."""
        rules = self.model.rules[account.guild_id]
        quota = self.read(self.house.studio.quota(account))
        assert quota.left == self.model.books.left(account, rules, self.now)
        assert quota.spent == self.model.books.spent(account, rules, self.now)
        assert quota.granted == sum(max(has, 0) for has in self.model.books.granted(account, self.now).values())
        assert quota.running == self.model.in_hand(account)
        assert quota.waiting == sum(job.account == account for job in self.model.of(QUEUED))
