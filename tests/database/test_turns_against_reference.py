"""Every claim of the real queue is the one that the reference makes, whatever happened before."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flux_core.database import members
from flux_core.database.lineup import Look, ahead_of, for_us
from flux_core.jobs import Account, Job, Lane
from flux_core.policy.guild import GuildPolicy, Limits
from tests.database.scene import SCHNELL, TINY
from tests.database.turn_oracle import Reference
from tests.database.turn_taking import Turns, play

GUILDS = (7, 8, 9)
ACCOUNTS = [Account(guild, user) for guild in GUILDS for user in (1, 2, 3)]
BROKE = {Account(7, 3), Account(8, 3)}
"""Members without credits: their jobs are relaxed ones."""
LIMITED = {Account(7, 2): 1, Account(9, 1): 2}
"""How many jobs these may have running."""

_accounts = st.sampled_from(ACCOUNTS)
_places = st.integers(0, 30)
_steps = st.one_of(
    st.tuples(st.just("submit"), _accounts, st.integers(1, 4), st.sampled_from([SCHNELL, SCHNELL, TINY])),
    st.tuples(st.just("claim"), st.sampled_from([(SCHNELL,), (TINY,), (SCHNELL, TINY)])),
    st.tuples(st.just("claim"), st.just((SCHNELL, TINY))),
    st.tuples(st.just("cancel"), _places),
    st.tuples(st.just("end"), _places),
)
_weights = st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=len(ACCOUNTS), max_size=len(ACCOUNTS))


class Comparison:
    """The real queue and the reference, side by side."""

    def __init__(self, turns: Turns, weights: list[float]) -> None:
        self.turns = turns
        self.reference = Reference()
        self.waiting: dict[str, Job] = {}
        self.running: list[Job] = []
        self.weights = dict(zip(ACCOUNTS, weights, strict=True))
        for guild in GUILDS:
            turns.decide(guild, GuildPolicy(relaxed=True))
        for account, weight in self.weights.items():
            credits = 0.0 if account in BROKE else None
            most = LIMITED.get(account)
            own = Limits(weight=weight, credits=credits, max_running=most)
            members.put_limits(turns.connection, account, own)
            self.reference.most_running[account] = most

    def submit(self, account: Account, count: int, model: str) -> None:
        job = self.turns.submit(account, count, model=model)
        assert (job.lane is Lane.RELAXED) == (account in BROKE) == (job.cost == 0)
        expected = self.reference.submit(job.id, account, job.lane, model, job.price, self.weights[account])
        assert (job.start_tag, job.finish_tag) == (expected.start, expected.end)
        self.waiting[job.id] = job

    def claim(self, models: tuple[str, ...]) -> None:
        expected = self.reference.claim(models)
        job = self.turns.claim("w1", models)
        assert (job and job.id) == (expected and expected.id)
        if job is not None and expected is not None:
            assert (job.start_tag, job.finish_tag) == (expected.start, expected.end)
            del self.waiting[job.id]
            self.running.append(job)

    def cancel(self, place: int) -> None:
        if self.waiting:
            job = list(self.waiting.values())[place % len(self.waiting)]
            del self.waiting[job.id]
            self.turns.cancel(self.turns.find(job))
            self.reference.cancel(job.id)

    def end(self, place: int) -> None:
        if self.running:
            job = self.running.pop(place % len(self.running))
            self.turns.succeed(job)
            self.reference.ended(job.account)


@settings(max_examples=15, deadline=None)
@given(weights=_weights, steps=st.lists(_steps, min_size=20, max_size=80))
def test_the_queue_does_what_the_reference_does(weights: list[float], steps: list[tuple[Any, ...]]) -> None:
    def game(turns: Turns) -> None:
        both = Comparison(turns, weights)
        for name, *arguments in steps:
            getattr(both, name)(*arguments)
        # Whatever is left comes out in the reference's order as well.
        while both.running:
            both.end(0)
        while both.waiting:
            both.claim((SCHNELL, TINY))
            both.end(0)

    play(game)


@settings(max_examples=20, deadline=None)
@given(weights=_weights, steps=st.lists(_steps, min_size=20, max_size=60))
def test_the_place_that_members_are_told_is_the_place_they_get(
    weights: list[float], steps: list[tuple[Any, ...]]
) -> None:
    """As long as nobody else comes: whatever happened before, the line is foreseen job by job."""
    models = (SCHNELL, TINY)

    def game(turns: Turns) -> None:
        both = Comparison(turns, weights)
        for name, *arguments in steps:
            getattr(both, name)(*arguments)
        # Jobs of members who have as many running as they may are not in the line.
        while both.running:
            both.end(0)
        waiting = [id for id, job in both.waiting.items() if job.account not in LIMITED]
        for id, job in list(both.waiting.items()):
            if job.account in LIMITED:
                turns.cancel(turns.find(job))
                del both.waiting[id]
        told = {id: sum(count for count, _ in ahead_of(turns.connection, id, models).values()) for id in waiting}
        look = Look(waiting)
        assert {id: look.ahead_of(turns.connection, id, models) for id in waiting} == {
            id: ahead_of(turns.connection, id, models) for id in waiting
        }
        line = for_us(turns.connection, models, len(waiting))
        foreseen = [row.id for row in line]
        for most in range(1, len(waiting)):
            # Too long a line to be sorted: those that are looked at stand where they stand, the first one among them.
            short = for_us(turns.connection, models, most)
            assert 1 <= len(short) <= most
            assert short[0].id == foreseen[0]
            stands = {row.id: (row.turn, row.finish) for row in line}
            assert [(row.turn, row.finish) for row in short] == [stands[row.id] for row in short]
            assert [row.id for row in short] == [id for id in foreseen if id in {row.id for row in short}]
        claimed = [taken.id for _ in waiting if (taken := turns.claim("w1", models)) is not None]
        assert foreseen == claimed
        assert sorted(told, key=told.__getitem__) == claimed
        assert sorted(told.values()) == list(range(len(claimed)))

    play(game)
