"""Jobs claimed together: alike, each on its own account, and nobody else's turn comes later for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from flux_core.batching import TRIALS, WINDOW, shape_of
from flux_core.database import alike, batches, leases, members, pauses
from flux_core.database.places import Place
from flux_core.database.tables import guilds
from flux_core.jobs import Account, Job, JobState, Lane
from flux_core.policy.guild import GuildPolicy, Limits
from flux_core.router import LOCAL
from tests.database.scene import ANNE, BERT, DEV, SCHNELL, Scene, a_request
from tests.database.turn_taking import LONG, Turns, play

MOST = 8
CARD = "a card"
ABROAD = Account(guild_id=8, user_id=1)


def learn(turns: Turns, *, fixed: float = 0.8) -> None:
    """Have seen a card that spends this part of a picture's time once per drawing."""
    shape = shape_of(a_request())
    assert shape is not None
    for pictures in range(1, MOST + 1):
        for _ in range(TRIALS):
            seconds = fixed + pictures * (1 - fixed)
            batches.record(turns.connection, CARD, SCHNELL, shape.scale, pictures, float(pictures), seconds)


def claim_together(turns: Turns, most: int = MOST, models: Sequence[str] = (SCHNELL,)) -> list[Job]:
    """Claim as a worker does."""
    job = turns.claim(models=models)
    if job is None:
        return []
    party = alike.Party(job, models, CARD, most)
    assert alike.find(turns.connection, party) == bool(alike._look(turns.connection, party)[1])
    return [job, *alike.take(turns.connection, party, LONG)]


def finishes(turns: Turns) -> dict[int, float]:
    """Return where each guild's next turn starts."""
    return {row.guild_id: row.finish for row in turns.connection.execute(guilds.select())}


def test_alike_jobs_are_claimed_with_the_one_whose_turn_it_is() -> None:
    def game(turns: Turns) -> None:
        learn(turns)
        first = turns.submit(ANNE, prompt="a red circle")
        alikes = [turns.submit(Account(7, user), count, prompt="a star") for user, count in ((2, 1), (3, 2))]
        turns.submit(Account(7, 4), steps=3)
        turns.submit(Account(7, 5), size="512x512")
        taken = claim_together(turns)
        assert {job.id for job in taken} == {job.id for job in (first, *alikes)}
        for job in taken:
            now = turns.find(job)
            assert (now.state, now.worker_id, now.attempts) == (JobState.RUNNING, "w1", 1)
            assert now.started_at == taken[0].started_at
            assert now.lease_until == turns.now + LONG
        for job in taken:
            turns.succeed(job)
        assert [turns.spent(Account(7, user)) for user in (1, 2, 3)] == [1000, 1000, 2000]
        assert sorted(len(claim_together(turns)) for _ in range(3)) == [0, 1, 1]

    play(game)


@pytest.mark.parametrize(
    "options", [{"steps": 3}, {"size": "512x512"}, {"model": DEV, "steps": 4}], ids=["steps", "size", "model"]
)
def test_what_is_not_alike_waits(options: dict[str, Any]) -> None:
    def game(turns: Turns) -> None:
        learn(turns)
        turns.submit(ANNE, steps=4)
        for user in range(2, 9):
            turns.submit(Account(7, user), **options)
        assert len(claim_together(turns, models=(SCHNELL, DEV))) == 1

    play(game)


def test_a_job_is_drawn_alone_where_nothing_was_seen_or_nothing_is_gained() -> None:
    def game(turns: Turns) -> None:
        for user in range(1, 20):
            turns.submit(Account(7, user))
        assert len(claim_together(turns)) == 1
        learn(turns, fixed=0.0)
        assert len(claim_together(turns)) == 1

    play(game)


def test_no_more_pictures_are_drawn_at_once_than_allowed() -> None:
    def game(turns: Turns) -> None:
        learn(turns)
        for user in range(1, 20):
            turns.submit(Account(7, user), 2)
        assert len(claim_together(turns, most=5)) == 2
        assert len(claim_together(turns, most=2)) == 1
        assert len(claim_together(turns, most=8)) == 4

    play(game)


def test_a_job_that_is_tried_again_is_drawn_alone() -> None:
    """Whatever it does to its worker, it does to no other job."""

    def game(turns: Turns) -> None:
        learn(turns)
        ill = [turns.submit(ANNE), turns.submit(BERT)]
        for job in (turns.next(), turns.next()):
            alike_now = turns.find(job)
            assert alike_now.worker_id is not None

            leases.requeue(turns.connection, alike_now.worker_id, job.id, counted=True)
        for user in range(3, 12):
            turns.submit(Account(7, user))
        first, second, third = (claim_together(turns) for _ in range(3))
        assert [job.id for job in (*first, *second)] == [job.id for job in ill]
        assert len(third) > 1
        assert not {job.id for job in third} & {job.id for job in ill}

    play(game)


def test_a_members_most_running_holds_in_company_too() -> None:
    def game(turns: Turns) -> None:
        learn(turns)
        turns.decide(7, GuildPolicy(everybody=Limits(max_running=2)))
        for _ in range(6):
            turns.submit(ANNE)
        turns.submit(BERT)
        taken = claim_together(turns)
        assert sorted(job.account.user_id for job in taken) == [1, 1, 2]
        assert turns.claim() is None
        turns.succeed(taken[0])
        assert turns.next().account == ANNE

    play(game)


def test_a_paused_guild_keeps_no_company() -> None:
    def game(turns: Turns) -> None:
        learn(turns)
        for user in range(1, 5):
            turns.submit(Account(7, user))
            turns.submit(Account(8, user))
        pauses.pause(turns.connection, 8, 1, "a break", turns.now)
        assert {job.account.guild_id for job in claim_together(turns)} == {7}

    play(game)


def test_each_guild_pays_for_its_own_jobs() -> None:
    def game(turns: Turns) -> None:
        learn(turns)
        for _ in range(3):
            turns.submit(ANNE)
            turns.submit(ABROAD, 2)
        turns.submit(Account(9, 1), steps=3)
        before = finishes(turns)
        taken = claim_together(turns)
        after = finishes(turns)
        for guild in (7, 8, 9):
            price = sum(job.price for job in taken if job.account.guild_id == guild)
            assert after[guild] - before[guild] == price
        assert after[9] == before[9], "who was passed over has the first turn"
        assert turns.next().account.guild_id == 9

    play(game)


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 10**6))
def test_nobody_waits_for_more_drawings_than_there_were_jobs_before_theirs(seed: int) -> None:
    """And those who are left stand in the line as they stood before."""
    chance = random.Random(seed)

    def game(turns: Turns) -> None:
        learn(turns)
        accounts = [Account(guild, user) for guild in range(7, 7 + chance.randint(1, 3)) for user in range(1, 4)]
        for account in accounts:
            members.put_limits(turns.connection, account, Limits(weight=chance.choice([0.5, 1.0, 3.0])))
        for _ in range(40):
            turns.submit(chance.choice(accounts), chance.randint(1, 3), steps=chance.choice([3, 4, 4]))
            if chance.random() < 0.2:
                claim_together(turns)
        aside = turns.connection.begin_nested()
        foreseen = [job.id for job in iter(turns.claim, None)]
        aside.rollback()
        looked = alike.first_in_line(turns.connection, (SCHNELL,), Lane.FAST)
        assert [waiting.id for waiting in looked] == foreseen[:WINDOW]
        drawings = [[job.id for job in jobs] for jobs in iter(lambda: claim_together(turns), [])]
        drawn = [job for jobs in drawings for job in jobs]
        assert sorted(drawn) == sorted(foreseen), "each is drawn, and once"
        line = foreseen
        for number, jobs in enumerate(drawings):
            assert all(number <= foreseen.index(job) for job in jobs)
            assert jobs[0] == line[0], "it is drawn whose turn it is"
            line = [job for job in line if job not in jobs]

    play(game)


async def test_the_queue_claims_together_and_remembers_paces(scene: Scene) -> None:
    shape = shape_of(a_request())
    assert shape is not None
    for user in range(1, 12):
        await scene.submit(Account(7, user))
    assert [len(await scene.queue.claim_together("w1", [SCHNELL], CARD, MOST)) for _ in range(2)] == [1, 1]
    for pictures in range(1, MOST + 1):
        for seconds in (1.0, 2.0, 3.0):
            await scene.queue.record_pace(CARD, shape, pictures, 4.0 * pictures, seconds)
    known = await scene.db.read(batches.known, CARD, SCHNELL, shape.scale)
    assert {pictures: pace.samples for pictures, pace in known.items()} == dict.fromkeys(range(1, MOST + 1), 3)
    assert known[2].seconds == pytest.approx(2.0 / 8)
    assert await scene.db.read(batches.known, "another card", SCHNELL, shape.scale) == {}
    assert [len(await scene.queue.claim_together("w1", [SCHNELL], CARD, 1)) for _ in range(1)] == [1]
    taken = await scene.queue.claim_together("w1", [SCHNELL], CARD, MOST)
    assert len(taken) > 1
    assert await scene.queue.heartbeat("w1", [job.id for job in taken]) == {job.id: False for job in taken}
    assert await scene.queue.claim_together("w1", [], CARD, MOST) == []


async def test_each_of_a_company_is_told_what_all_of_them_take(scene: Scene) -> None:
    shape = shape_of(a_request())
    assert shape is not None
    await scene.worker("w1")
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 2.0)
    for pictures in range(1, MOST + 1):
        for _ in range(TRIALS):
            await scene.queue.record_pace(CARD, shape, pictures, 4.0 * pictures, 2.0)
    for user in range(1, 5):
        await scene.submit(Account(7, user))
    behind = await scene.submit(Account(7, 5), model=DEV)
    taken = await scene.queue.claim_together("w1", [SCHNELL], CARD, MOST)
    assert len(taken) == 4
    scene.clock.now += 0.5
    waiting = await scene.submit(Account(7, 6))
    assert [await scene.studio.place(job.id) for job in taken] == [Place(0, 8.0, 1)] * 4
    assert await scene.studio.place(waiting.id) == Place(1, 10.0, 1)
    for job in taken:
        await scene.queue.progress("w1", job.id, 2, 4)
    assert [await scene.studio.place(job.id) for job in taken] == [Place(0, 4.0, 1)] * 4
    assert await scene.studio.place(waiting.id) == Place(1, 6.0, 1)
    assert (await scene.studio.place(behind.id)).seconds is None
