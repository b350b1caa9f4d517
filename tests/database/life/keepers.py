"""What moderators decide, what maintenance does, and how time passes."""

from __future__ import annotations

from hypothesis import strategies as st

from flux_core.database.passing import ABANDONED
from flux_core.errors import AlreadyDecided, AlreadySo, ApprovalExpired, OutOfRange, Rejected
from flux_core.jobs import Account
from flux_core.maintenance import APPROVAL_WAITS, PREVIEW_KEPT, WORKER_FORGOTTEN
from flux_core.policy.guild import GuildPolicy, Limits, PromptRule, Renewal
from flux_core.router import RoutingPolicy
from tests.database.life.base import Base, account, deed, fate, guild, pick, which
from tests.database.life.books import ROLLING_HOURS, Rules
from tests.database.life.ground import ALLOWANCE, MOST_ATTEMPTS, Fate
from tests.database.life.model import QUEUED, REFUSED

EVERYWHERE = -1
WILD = PromptRule(kind="word", pattern="wild", action="approve")


class Keepers(Base):
    """Moderators, maintenance, and the clock."""

    # Moderators

    @deed(3, guild=st.sampled_from([7, 8, None]), drains=st.booleans(), fate=fate)
    def pause(self, guild: int | None, drains: bool, fate: Fate) -> None:
        """Stop a guild, or all."""
        pause = self.house.studio.line.pause
        outcome = self.act(lambda: pause(guild, by=9, reason="a moment", drains=drains), fate)
        if outcome.committed:
            self.model.paused[EVERYWHERE if guild is None else guild] = drains

    @deed(6, when=lambda self: self.model.paused, which=which)
    def resume(self, which: int) -> None:
        """End a stop."""
        stopped = pick(sorted(self.model.paused), which)
        ended = self.house.run(self.house.studio.line.resume(None if stopped == EVERYWHERE else stopped, by=9))
        assert ended
        del self.model.paused[stopped]

    @deed(
        3,
        guild=guild,
        allowance=st.sampled_from([ALLOWANCE, 3_000]),
        rolling=st.booleans(),
        pool=st.sampled_from([None, None, 6_000]),
        relaxed=st.booleans(),
        most_running=st.sampled_from([None, 1, 2]),
        hosted_first=st.booleans(),
        approves=st.booleans(),
    )
    def decide(self, guild: int, approves: bool, **said: bool | int | None) -> None:
        """Change what a guild has decided."""
        rules = Rules(**said)  # type: ignore[arg-type]
        renewal = Renewal(every="rolling", hours=ROLLING_HOURS) if rules.rolling else Renewal()
        policy = GuildPolicy(
            everybody=Limits(credits=rules.allowance / 1000, renewal=renewal, max_running=rules.most_running),
            pool=None if rules.pool is None else rules.pool / 1000,
            relaxed=rules.relaxed,
            routing=RoutingPolicy(first="hosted" if rules.hosted_first else "local", return_seconds=0),
            prompt_rules=(WILD,) if approves else (),
            moderators_channel=99,
        )
        change = self.house.studio.policies.change
        outcome = self.act(lambda: change(guild, lambda before: policy, by=9, action="policy import"))
        assert outcome.refusal is None or isinstance(outcome.refusal, AlreadySo)
        self.model.rules[guild] = rules
        (self.model.approves.add if approves else self.model.approves.discard)(guild)

    @deed(1, account=account, amount=st.sampled_from([1_500, 4_000, -1_000]), hours=st.sampled_from([None, 1, 30]))
    def grant(self, account: Account, amount: int, hours: int | None) -> None:
        """Give credits, for good or for some hours, or take some back."""
        has = sum(max(left, 0) for left in self.model.books.granted(account, self.now).values())
        until = None if hours is None or amount < 0 else self.now + hours * 3600
        grant = self.house.studio.members.grant
        outcome = self.act(lambda: grant(account, amount, by=9, reason="", expires_at=until))
        if amount < -has:
            assert isinstance(outcome.refusal, OutOfRange)
        elif amount < 0:
            self.model.books.take(account, -amount, self.now)
        else:
            self.model.books.grant(account, amount, until)

    @deed(1, account=account, fate=fate)
    def reset(self, account: Account, fate: Fate) -> None:
        """Give back what was spent of this period's allowance."""
        outcome = self.act(lambda: self.house.studio.members.reset(account, by=9), fate)
        if not outcome.committed:
            assert outcome.refusal is None or isinstance(outcome.refusal, AlreadySo)
            return
        given = self.model.books.reset(account, self.model.rules[account.guild_id], self.now)
        assert outcome.result == given > 0

    @deed(
        2,
        when=lambda self: any(row.verdict is None for row in self.seen.reviews),
        which=which,
        well=st.booleans(),
        fate=fate,
    )
    def judge(self, which: int, well: bool, fate: Fate) -> None:
        """Approve or reject a job that waits for that."""
        review = pick([row for row in self.seen.reviews if row.verdict is None], which)
        reviews, job = self.house.studio.reviews, self.model.jobs[review.job_id]
        decide = reviews.approve if well else reviews.reject
        outcome = self.act(lambda: decide(review.id, guild_id=review.guild_id, by=9), fate)
        if job.state is not QUEUED or not job.held:
            assert isinstance(outcome.refusal, AlreadyDecided)
        elif outcome.committed and well:
            job.held = False
        elif outcome.committed:
            self.model.ended(job, REFUSED, self.now, Rejected.code)

    # Maintenance

    @deed(3, fate=fate)
    def rescue(self, fate: Fate) -> None:
        """Take what is lost from its workers."""
        outcome = self.act(self.house.queue.rescue, fate)
        if outcome.committed:
            found = self.model.rescued(self.now, MOST_ATTEMPTS)
            assert sorted(job.id for job in outcome.result) == sorted(found)
            self.untouched = not found

    @deed(
        3,
        what=st.sampled_from(
            ["let go of the old", "sweep", "tidy up", "abandon", "let through", "forget workers", "expire approvals"]
        ),
    )
    def maintain(self, what: str) -> None:
        """Do one of the chores."""
        getattr(self, f"_{what.replace(' ', '_')}")()

    def _abandon(self) -> None:
        """Give up what was ordered where nobody is left to ask."""
        gone = self.house.run(self.house.queue.abandon_bound())
        found = self.model.abandoned(self.now, ABANDONED)
        assert sorted(job.id for job in gone) == sorted(found)

    def _let_through(self) -> None:
        """Let our own cards have what no hosted provider takes."""
        self.house.run(self.house.queue.admit_local())
        rows = self.look().jobs
        for job in self.model.of(QUEUED):
            if job.venue == "hosted" and job.asked is None and rows[job.id].venue == "any":
                job.venue = "any"

    def _forget_workers(self) -> None:
        """Strike those from the list that were not heard of for long."""
        self._do("workers forgotten")
        heard = self.now - WORKER_FORGOTTEN
        self.model.alive = {name: seen for name, seen in self.model.alive.items() if seen >= heard}

    def _let_go_of_the_old(self) -> None:
        """Drop pictures, then what jobs say, of those that were kept long enough."""
        assert self._do("jobs whose pictures were kept long enough") == len(self.model.pictures_dropped(self.now))
        assert self._do("jobs forgotten that were kept long enough") == len(self.model.jobs_forgotten(self.now))

    def _tidy_up(self) -> None:
        """Do all the small things."""
        for job in self.model.jobs.values():
            if job.ended_at is not None and job.ended_at < self.now - PREVIEW_KEPT:
                job.preview = None
        self._do("previews of ended jobs dropped")
        self._do("expired interaction tokens forgotten")
        self._do("unused uploads dropped")
        self.house.run(self.house.studio.reviews.tidy())

    def _expire_approvals(self) -> None:
        """Refuse what no moderator looked at for three days."""
        for review in self.seen.reviews:
            job = self.model.jobs[review.job_id]
            if review.verdict is None and review.opened_at < self.now - APPROVAL_WAITS and job.state is QUEUED:
                self.model.ended(job, REFUSED, self.now, ApprovalExpired.code)
        self._do("jobs that no moderator approved in time")

    def _sweep(self) -> None:
        """Delete what was discarded, and files that nothing refers to: what is needed stays."""
        self._do("stray files dropped")
        self._do("discarded pictures deleted")
        kept = {stored.key for stored in self.house.run(self.house.store.list())}
        seen = self.look()
        assert not seen.discarded & kept
        needed = {key for key in seen.pictures.values() if key} | {job.preview for job in self.model.jobs.values()}
        assert needed - {None} <= kept, "a picture is lost"
        living = {job.id for job in self.model.jobs.values() if job.ended_at is None}
        assert all(key in needed or key.split("/")[1] in living for key in kept), "a file is nobody's"

    def _do(self, chore: str) -> int:
        return self.house.run(self.house.chores[chore].work())

    # Time

    @deed(4, seconds=st.sampled_from([1.0, 20.0, 31.0, 700.0, 3600.0, 6 * 3600.0, 25 * 3600.0, 4 * 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        """Let the clocks go forward: past leases, midnights, the hour that is skipped, and retention."""
        self._set(seconds)

    @deed(1, seconds=st.sampled_from([0.5, 20.0, 90.0]))
    def clocks_are_set_back(self, seconds: float) -> None:
        """Let the clocks go backward, a little."""
        self._set(-seconds)
