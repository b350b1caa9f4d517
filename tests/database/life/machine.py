"""All of them together, and how long they go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from flux_core.database.passing import ABANDONED
from flux_core.jobs import Account
from tests.database.life.base import account, card, deed, hosted, which
from tests.database.life.bots import BOTS, SECONDS, Bots
from tests.database.life.ground import HOSTED, KEPT, LEASE, MOST_ATTEMPTS, Ground
from tests.database.life.keepers import Keepers
from tests.database.life.members import CALM, Members, counts
from tests.database.life.model import QUEUED, RUNNING
from tests.database.life.workers import Workers
from tests.database.scene import DAY, SCHNELL, TINY


class Life(Members, Workers, Bots, Keepers):
    """A studio with members, workers, bots and moderators, all of whom do what they like."""

    @deed(5, when=lambda self: any(self.hands.values()), which=which)
    def power_cut(self, which: int) -> None:
        """Lose a worker with all that it has in hand, and notice that as soon as its leases have run out."""
        name, _ = self._in_hand(which)
        self.hands[name].clear()
        self._set(LEASE + 1)
        self.rescue(fate="well")
        self.untouched = False

    @deed(
        6,
        account=account,
        count=counts,
        worker=card,
        bot=st.sampled_from(BOTS),
        seconds=st.sampled_from([None, 0.0, SECONDS - 1, SECONDS]),
    )
    def go_well(self, account: Account, count: int, worker: str, bot: str, seconds: float | None) -> None:
        """Order, draw and hand over: chance alone hardly gets from end to end.

        ``seconds`` after a bot has begun to hand it over, the other one wants that as well.
        """
        self.submit(account, SCHNELL, count, None, CALM, answered=True, again=False, fate="well")
        self.everything_is_right()
        self.claim(worker, [SCHNELL, TINY], "well")
        self.everything_is_right()
        if not self.hands[worker]:
            return
        job = self.model.jobs[self.hands[worker].pop()]
        self._end(worker, job, "well", "well")
        self.everything_is_right()
        if job.ended_at is None:
            return
        self._claim(bot, job, "well")
        if seconds is not None:
            self.everything_is_right()
            self._the_other_wants_it_too(bot, job, seconds)
        self.everything_is_right()
        posting = [(one, id) for one in BOTS for id in self.posting[one]]
        if (bot, job.id) in posting:
            self.hand_over(posting.index((bot, job.id)), "posted", "well")

    @deed(3, account=account, count=counts, worker=card, days=st.sampled_from([KEPT.pictures_days, KEPT.jobs_days]))
    def wait_longer_than_it_is_kept(self, account: Account, count: int, worker: str, days: int) -> None:
        """Draw what no bot hands over before its time is over: it stays as it is until one has."""
        self.submit(account, SCHNELL, count, None, CALM, answered=True, again=False, fate="well")
        self.everything_is_right()
        self.claim(worker, [SCHNELL, TINY], "well")
        self.everything_is_right()
        if not self.hands[worker]:
            return
        job = self.model.jobs[self.hands[worker].pop()]
        self._end(worker, job, "well", "well")
        self.everything_is_right()
        self._set(days * DAY + 1)
        for delivered in (False, True):
            self.untouched = False
            self._let_go_of_the_old()
            self.everything_is_right()
            if delivered or not job.awaited:
                return
            self._claim(BOTS[0], job, "well")
            self.everything_is_right()
            posting = [(one, id) for one in BOTS for id in self.posting[one]]
            self.hand_over(posting.index((BOTS[0], job.id)), "posted", "well")
            self.everything_is_right()

    @deed(2, account=account, count=counts)
    def pay_with_what_expires(self, account: Account, count: int) -> None:
        """Order with credits that have expired by the time at which nothing comes of it."""
        known = set(self.model.jobs)
        self.grant(account, 1_500, 1)
        self.everything_is_right()
        self.submit(account, SCHNELL, count, None, CALM, answered=True, again=False, fate="well")
        self.everything_is_right()
        self._set(3_601)
        for id in self.model.jobs.keys() - known:
            listed = [*self.model.of(QUEUED, RUNNING), *self.model.jobs.values()]
            self.cancel(listed.index(self.model.jobs[id]), "well")

    @deed(3, account=account, worker=hosted, known=st.booleans())
    def go_away_with_an_order(self, account: Account, worker: str, known: bool) -> None:
        """Order at a provider whose workers then stay away until what was ordered there is given up."""
        self.submit(account, SCHNELL, 1, HOSTED[worker], CALM, answered=True, again=False, fate="well")
        self.everything_is_right()
        self.claim_hosted(worker, "well")
        self.everything_is_right()
        if not self.hands[worker]:
            return
        mine = [(name, id) for name in HOSTED for id in self.hands[name]]
        self.order(mine.index((worker, self.hands[worker][-1])), known, "well")
        self.everything_is_right()
        self.hands[worker].clear()
        self._set(LEASE + 1)
        self.rescue(fate="well")
        self.everything_is_right()
        self._abandon()
        self.everything_is_right()
        self._set(ABANDONED + 1)
        self.untouched = False
        self._abandon()

    @deed(2, worker=card, times=st.integers(2, MOST_ATTEMPTS + 1))
    def die_again_and_again(self, worker: str, times: int) -> None:
        """Claim a job, and die of it."""
        for _ in range(times):
            self.claim(worker, [SCHNELL, TINY], "well")
            self.everything_is_right()
            if self.hands[worker]:
                self.hands[worker].clear()
                self._set(LEASE + 1)
                self.rescue(fate="well")
                self.everything_is_right()

    def _set(self, seconds: float) -> None:
        super()._set(seconds)
        for bot in BOTS:  # who was too late stays too late, also when the clocks are set back
            self.posting[bot] = {job: until for job, until in self.posting[bot].items() if until > self.now}

    def teardown(self) -> None:
        """Count what there was, to see that lives are lives."""
        for row in self.seen.jobs.values():
            self.met.update([row.state, f"{row.error_code}", f"kept {row.kept}", f"{row.attempts} attempts"])
            self.met.update(["relaxed"] if row.lane else [])
            self.met.update(["delivered"] if row.delivered_at is not None else [])
            self.met.update(["ordered"] if row.provider_job_id else [])
        self.met.update(row.kind for row in self.seen.ledger)
        self.met.update(row.purse[:4] for row in self.seen.ledger)
        self.met.update("pooled" for row in self.seen.ledger if row.pool)


@contextmanager
def grounds(kind: Literal["sqlite", "postgresql"]) -> Iterator[Ground]:
    """Make a database for examples, and let go of it."""
    with TemporaryDirectory() as folder:
        ground = Ground(kind, Path(folder))
        try:
            yield ground
        finally:
            ground.close()


def live(
    kind: Literal["sqlite", "postgresql"],
    *,
    examples: int,
    steps: int,
    from_seed: int | None = None,
    shortest: bool = True,
) -> None:
    """Play ``examples`` lives of up to ``steps`` steps; raises AssertionError with the program that fails.

    Without a seed they are the same ones every time. ``shortest``: look for the shortest program, which may take
    minutes.
    """
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=from_seed is None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if shortest else (Phase.generate,),
        print_blob=False,
    )
    with grounds(kind) as ground:
        kind_of_life = type("Life", (Life,), {"ground": ground})
        run_state_machine_as_test(kind_of_life if from_seed is None else seed(from_seed)(kind_of_life), settings=how)
