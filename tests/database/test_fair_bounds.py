"""What fair turns promise, measured at the real queue: bounds on being passed over, and shares.

Amounts are thousandths of a credit: a picture of these tests costs 1,000. The bounds are those of start-time fair
queueing (Goyal, Vin and Cheng, 1996, theorem 1): between two turns of one who always has work waiting, another gets
what the first one got last, by their weights, and one job more at most.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_core.database import members, submissions
from flux_core.jobs import Account, Job, Lane
from flux_core.policy.guild import GuildPolicy, Limits, PromptRule, Tier
from tests.database.turn_taking import Turns, play

PICTURE = 1000
PATRONS = 99
"""The id of a role."""

_few = settings(max_examples=6, deadline=None)
_weights = st.sampled_from([0.5, 1.0, 2.0, 3.0, 5.0])
_counts = st.integers(1, 4)


def weigh(turns: Turns, weights: dict[Account, float]) -> None:
    """Give members weights of their own."""
    for account, weight in weights.items():
        members.put_limits(turns.connection, account, Limits(weight=weight))


@dataclass
class Watch:
    """Looks on while jobs are claimed, and says when somebody with work waiting was passed over too often.

    ``of`` names whose turns are watched: the accounts of one guild, or the guilds.
    """

    weights: dict[Any, float]
    waiting: Counter[Any] = field(default_factory=Counter)
    owed: dict[Any, float] = field(default_factory=dict)
    """Who has work waiting: what their last turn cost by their weight; 0 for a newcomer."""
    passed: dict[Any, Counter[Any]] = field(default_factory=dict)
    """Who has work waiting: what each other one got since their last turn, or since they came."""
    largest: Counter[Any] = field(default_factory=Counter)

    def ordered(self, who: Any, price: int) -> None:
        self.waiting[who] += 1
        self.largest[who] = max(self.largest[who], price)
        if who not in self.passed:
            self.passed[who] = Counter()
            self.owed.setdefault(who, 0.0)

    def drawn(self, who: Any, price: int) -> None:
        for other, got in self.passed.items():
            if other != who:
                got[who] += price
                most = self.owed[other] + self.largest[who] / self.weights[who]
                assert got[who] / self.weights[who] <= most + 1e-6, f"{other} was passed over by {who}"
        self.waiting[who] -= 1
        self.owed[who] = price / self.weights[who]
        self.passed[who] = Counter()
        if self.waiting[who] == 0:
            del self.passed[who]


@_few
@given(weights=st.lists(_weights, min_size=2, max_size=5), data=st.data())
def test_no_member_with_work_waiting_is_passed_over_beyond_the_bound(weights: list[float], data: st.DataObject) -> None:
    """Members of one guild come and go as they like; another guild is in the way all the time."""
    ours = [Account(7, user) for user in range(len(weights))]
    theirs = Account(8, 1)
    steps = data.draw(
        st.lists(st.one_of(st.none(), st.tuples(st.sampled_from(ours), _counts)), min_size=30, max_size=120)
    )

    def game(turns: Turns) -> None:
        weigh(turns, dict(zip(ours, weights, strict=True)))
        watch = Watch(dict(zip(ours, weights, strict=True)))
        for _ in range(60):
            turns.submit(theirs, 2)
        for step in steps:
            if step is not None:
                account, count = step
                watch.ordered(account, turns.submit(account, count).price)
            elif (job := turns.claim()) is not None and job.account != theirs:
                watch.drawn(job.account, job.price)
        while (job := turns.claim()) is not None:
            if job.account != theirs:
                watch.drawn(job.account, job.price)
        assert not watch.passed, "everybody's work was drawn in the end"

    play(game)


@_few
@given(data=st.data(), sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_no_guild_with_work_waiting_is_passed_over_beyond_the_bound(data: st.DataObject, sizes: list[int]) -> None:
    """Guilds of different sizes, their members and weights do not matter to one another."""
    everybody = [Account(7 + number, user) for number, size in enumerate(sizes) for user in range(size)]
    steps = data.draw(
        st.lists(st.one_of(st.none(), st.tuples(st.sampled_from(everybody), _counts)), min_size=30, max_size=120)
    )

    def game(turns: Turns) -> None:
        weigh(turns, {account: 1.0 + account.user_id for account in everybody})
        watch = Watch({7 + number: 1.0 for number in range(len(sizes))})
        for step in steps:
            if step is not None:
                account, count = step
                watch.ordered(account.guild_id, turns.submit(account, count).price)
            elif (job := turns.claim()) is not None:
                watch.drawn(job.account.guild_id, job.price)
        while (job := turns.claim()) is not None:
            watch.drawn(job.account.guild_id, job.price)
        assert not watch.passed

    play(game)


@settings(max_examples=3, deadline=None)
@given(weights=st.lists(_weights, min_size=2, max_size=5), counts=st.lists(_counts, min_size=5, max_size=5))
def test_weights_give_shares_within_five_percent_over_a_thousand_jobs(weights: list[float], counts: list[int]) -> None:
    """By what is drawn, not by how many jobs: each member's jobs are of another size."""

    def game(turns: Turns) -> Counter[Account]:
        # Roles give the weights here: that is how communities set them.
        tiers = tuple(Tier(role_id=PATRONS + n, name=f"t{n}", weight=weight) for n, weight in enumerate(weights))
        turns.decide(7, GuildPolicy(everybody=Limits(weight=0.01), tiers=tiers))
        ours = [Account(7, user) for user in range(len(weights))]

        def order(account: Account) -> None:
            turns.submit(account, counts[account.user_id], roles=[PATRONS + account.user_id])

        for account in ours:
            order(account)
            order(account)
        got: Counter[Account] = Counter()
        for _ in range(1000):
            job = turns.next()
            got[job.account] += job.price
            order(job.account)
        return got

    got = play(game)
    for account, amount in got.items():
        share = weights[account.user_id] / sum(weights)
        assert amount / got.total() == pytest.approx(share, rel=0.05)
    assert len(got) == len(weights)


@_few
@given(
    drawn_before=st.integers(0, 30),
    size=_counts,
    others=st.lists(_counts, min_size=20, max_size=20),
    weight=st.sampled_from([1.0, 2.0]),
)
def test_a_flooder_delays_each_of_twenty_light_members_by_one_job_at_most(
    drawn_before: int, size: int, others: list[int], weight: float
) -> None:
    """Whatever their jobs cost, whenever they come, and even where the flooder has twice their weight."""
    flooder = Account(7, 1)

    def game(turns: Turns) -> None:
        weigh(turns, {flooder: weight})
        for _ in range(100):
            turns.submit(flooder, size)
        for _ in range(drawn_before):
            assert turns.next().account == flooder
        light = [Account(7, 100 + number) for number in range(len(others))]
        for account, count in zip(light, others, strict=True):
            turns.submit(account, count)
        order = [turns.next().account for _ in range(100 - drawn_before + len(light))]
        for account in light:
            assert order[: order.index(account)].count(flooder) <= 1

    play(game)


@_few
@given(size=_counts, drawn_before=st.integers(0, 40), orders=st.lists(_counts, min_size=1, max_size=6))
def test_a_huge_guild_delays_a_small_one_by_one_job_for_each_of_its_own(
    size: int, drawn_before: int, orders: list[int]
) -> None:
    """A hundred members who flood stand together before each job of a small guild with one job at most.

    With larger jobs on the small side: with as many as fit into its last one, and one more.
    """
    small = Account(8, 1)

    def game(turns: Turns) -> None:
        for user in range(100):
            turns.submit(Account(7, user), size)
            turns.submit(Account(7, user), size)
        for _ in range(drawn_before):
            turns.next()
        for count in orders:
            turns.submit(small, count)
        before, last = 0, 0
        left = len(orders)
        while left:
            job = turns.next()
            if job.account != small:
                before += 1
                continue
            assert before <= last / size + 1
            before, last, left = 0, job.request.count, left - 1

    play(game)


@_few
@given(weights=st.lists(_weights, min_size=2, max_size=4), counts=st.lists(_counts, min_size=4, max_size=4))
def test_weights_hold_within_a_guild_whatever_another_one_does(weights: list[float], counts: list[int]) -> None:
    """Both guilds get the same, and ours is shared by its own weights."""
    ours = [Account(7, user) for user in range(len(weights))]

    def game(turns: Turns) -> None:
        weigh(turns, dict(zip(ours, weights, strict=True)))
        weigh(turns, {Account(8, user): 100.0 for user in range(10)})
        for account, count in zip(ours, counts, strict=False):
            for _ in range(2):
                turns.submit(account, count)
        for user in range(10):
            for _ in range(2):
                turns.submit(Account(8, user), 1)
        got: Counter[Account] = Counter()
        by_guild: Counter[int] = Counter()
        for _ in range(120):
            job = turns.next()
            got[job.account] += job.price
            by_guild[job.account.guild_id] += job.price
            turns.submit(job.account, job.request.count)
            served = [got[account] / weight for account, weight in zip(ours, weights, strict=True)]
            # One job of each of the two that are furthest apart.
            apart = 2 * max(count * PICTURE / weight for count, weight in zip(counts, weights, strict=False))
            assert max(served) - min(served) <= apart + 1e-6
            assert abs(by_guild[7] - by_guild[8]) <= (max(counts) + 1) * PICTURE

    play(game)


@_few
@given(
    orders=st.lists(st.tuples(st.booleans(), st.integers(7, 8), _counts), min_size=5, max_size=40),
    pauses=st.lists(st.integers(0, 3), min_size=40, max_size=40),
)
def test_relaxed_jobs_are_never_drawn_before_paid_ones(orders: list[tuple[bool, int, int]], pauses: list[int]) -> None:
    """In no order of coming and going, and whichever guild they are from."""

    def game(turns: Turns) -> None:
        for guild in (7, 8):
            turns.decide(guild, GuildPolicy(relaxed=True))
            members.put_limits(turns.connection, Account(guild, 2), Limits(credits=0))
        paid: set[str] = set()
        relaxed: set[str] = set()

        def draw() -> None:
            job = turns.claim()
            if job is None:
                assert not paid
                assert not relaxed
            elif job.lane is Lane.RELAXED:
                assert not paid, "a paid job waited"
                relaxed.remove(job.id)
            else:
                paid.remove(job.id)

        for (pays, guild, count), claims in zip(orders, pauses, strict=False):
            job = turns.submit(Account(guild, 1 if pays else 2), count)
            assert (job.lane, job.cost) == ((Lane.FAST, job.price) if pays else (Lane.RELAXED, 0))
            (paid if pays else relaxed).add(job.id)
            for _ in range(claims):
                draw()
        while paid or relaxed:
            draw()

    play(game)


@_few
@given(
    most=st.lists(st.one_of(st.none(), st.integers(1, 3)), min_size=3, max_size=3),
    steps=st.lists(st.integers(0, 9), min_size=20, max_size=80),
)
def test_nobody_has_more_jobs_running_than_they_may(most: list[int | None], steps: list[int]) -> None:
    """No job is forgotten for it either, and nobody else is held up."""
    ours = [Account(7, user) for user in range(3)]

    def game(turns: Turns) -> None:
        for account, limit in zip(ours, most, strict=True):
            members.put_limits(turns.connection, account, Limits(max_running=limit))
        running: list[Job] = []
        waiting: Counter[Account] = Counter()

        def claim() -> None:
            job = turns.claim()
            if job is None:
                free = [account for account in ours if waiting[account] and may_run(account)]
                assert not free, "somebody could have been drawn"
                return
            assert may_run(job.account)
            waiting[job.account] -= 1
            running.append(job)

        def may_run(account: Account) -> bool:
            limit = most[account.user_id]
            return limit is None or sum(job.account == account for job in running) < limit

        for step in steps:
            if step < 5:
                turns.submit(ours[step % 3])
                waiting[ours[step % 3]] += 1
            elif step < 8:
                claim()
            elif running:
                turns.succeed(running.pop(step % len(running)))
        while waiting.total() or running:
            claim()
            if running:
                turns.succeed(running.pop(0))

    play(game)


@_few
@given(most=st.integers(1, 3), drawn_before=st.integers(0, 60), size=_counts)
def test_turns_are_not_saved_up_while_a_member_may_have_no_more_running(
    most: int, drawn_before: int, size: int
) -> None:
    """However long others went before what was held: afterwards it stands before nobody else's more than it would."""
    flooder, rival = Account(7, 1), Account(7, 2)

    def game(turns: Turns) -> None:
        members.put_limits(turns.connection, flooder, Limits(max_running=most))
        for _ in range(100):
            turns.submit(flooder, size)
            turns.submit(rival, size)
        running: list[Job] = []
        order: list[Account] = []

        def draw() -> None:
            """Six workers, each with its hands full."""
            while len(running) < 6:
                running.append(turns.next())
                order.append(running[-1].account)
            turns.succeed(running.pop(0))

        for _ in range(drawn_before):
            draw()
        order.clear()
        light = [Account(7, 100 + number) for number in range(20)]
        for account in light:
            turns.submit(account)
        while not set(light) <= set(order):
            draw()
        for account in light:
            # What it had claimable at once, and one more.
            assert order[: order.index(account)].count(flooder) <= most
        assert turns.agrees()

    play(game)


@_few
@given(held=st.integers(1, 40), drawn_before=st.integers(0, 40), size=_counts, backwards=st.booleans())
def test_what_moderators_let_go_in_one_go_delays_nobody_by_more_than_one_job(
    held: int, drawn_before: int, size: int, backwards: bool
) -> None:
    flooder, rival, newcomer = (Account(7, user) for user in (1, 2, 3))
    rule = PromptRule(kind="word", pattern="circle", action="approve")

    def game(turns: Turns) -> None:
        turns.decide(7, GuildPolicy(prompt_rules=(rule,), moderators_channel=5))
        waiting = [turns.submit(flooder, size) for _ in range(held)]
        turns.decide(7, GuildPolicy())
        for _ in range(50):
            turns.submit(rival)
        for _ in range(drawn_before):
            assert turns.next().account == rival
        for job in reversed(waiting) if backwards else waiting:
            assert submissions.approve(turns.connection, turns.find(job))
        turns.submit(newcomer)
        order = [turns.next().account for _ in range(held + 50 - drawn_before + 1)]
        assert order[: order.index(newcomer)].count(flooder) <= 1
        assert turns.agrees()

    play(game)


def test_the_past_turn_of_a_job_that_waits_for_a_moderator_cannot_be_taken_over() -> None:
    ann, bob = Account(7, 1), Account(7, 2)
    rule = PromptRule(kind="word", pattern="circle", action="approve")

    def game(turns: Turns) -> None:
        turns.decide(7, GuildPolicy(prompt_rules=(rule,), moderators_channel=5))
        for _ in range(5):
            turns.submit(ann)
        turns.decide(7, GuildPolicy())
        for _ in range(20):
            turns.submit(bob)
        for _ in range(10):
            assert turns.next().account == bob
        hers = [turns.submit(ann) for _ in range(5)]
        for job in reversed(hers):
            submissions.move_to_front(turns.connection, turns.find(job))
        order = [turns.next() for _ in range(15)]
        assert [job.id for job in order if job.account == ann] == [job.id for job in hers]
        assert [job.account for job in order[:4]].count(bob) >= 2
        assert turns.agrees()

    play(game)


@_few
@given(counts=st.lists(_counts, min_size=2, max_size=8), data=st.data())
def test_cancelling_leaves_the_queue_as_if_the_job_had_never_been(counts: list[int], data: st.DataObject) -> None:
    """The turns of the member's other jobs, the next one's, everybody else's, and the credits."""
    gone = data.draw(st.sets(st.integers(0, len(counts) - 1), min_size=1))
    ann, bob = Account(7, 1), Account(7, 2)

    def tags(job: Job) -> tuple[float, float]:
        return job.start_tag, job.finish_tag

    def game(turns: Turns, *, with_them: bool) -> list[tuple[float, float]]:
        turns.submit(bob, 2)
        turns.next()
        jobs = {}
        for number, count in enumerate(counts):
            if with_them or number not in gone:
                jobs[number] = turns.submit(ann, count)
            turns.submit(bob, 1)
        if with_them:
            for number in sorted(gone, key=lambda number: (number % 3, number)):
                turns.cancel(turns.find(jobs.pop(number)))
        assert turns.spent(ann) == sum(job.cost for job in jobs.values())
        last = [tags(turns.submit(ann, 1)), tags(turns.submit(bob, 1))]
        return [tags(turns.find(job)) for job in jobs.values()] + last

    assert play(lambda turns: game(turns, with_them=True)) == play(lambda turns: game(turns, with_them=False))


def test_a_refunded_job_has_had_its_turn_and_virtual_time_does_not_go_back() -> None:
    """Its drawing took the workers' time, whoever pays for it."""
    ann, bob = Account(7, 1), Account(7, 2)

    def game(turns: Turns) -> None:
        failed, second = turns.submit(ann), turns.submit(ann)
        assert turns.next().id == failed.id
        turns.fail(turns.find(failed))
        assert turns.spent(ann) == second.cost
        assert turns.next().id == second.id
        # Ann's second turn began at 1,000, so that is now: a newcomer neither comes before it nor after her third.
        newcomer, third = turns.submit(bob), turns.submit(ann)
        assert (newcomer.start_tag, third.start_tag) == (1000.0, 2000.0)

    play(game)
