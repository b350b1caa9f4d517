"""A row that nobody can read costs its own job, or its own guild's next orders, and stops nobody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.batching import shape_of
from flux_core.database import members, policies, retention
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.tables import jobs
from flux_core.database.tables import members as members_table
from flux_core.database.tables import policies as policies_table
from flux_core.database.unreadable import WORDS
from flux_core.errors import InvalidPolicy, JobUnreadable, RulesUnreadable
from flux_core.jobs import NOWHERE, Account, Job, JobState
from flux_core.policy.guild import GuildPolicy, Limits, OutputRule
from flux_core.variations import reroll_request, variation_request
from tests.database.scene import (
    ABROAD,
    ANNE,
    BERT,
    CATALOGUE,
    CLEO,
    DAY,
    DEV,
    SCHNELL,
    TINY,
    Scene,
    a_reply,
    a_request,
    pictures,
)

NOT_JSON = '{"prompt": "a red cir'
NEWER = a_request().model_dump(mode="json") | {"mode": "dream"}
DAMAGES: list[dict[str, str]] = [
    {"request": NOT_JSON},
    {"request": "[]"},
    {"request": json.dumps(NEWER)},
    {"tried": "["},
    {"remarks": "[7]"},
    {"error_facts": "{", "origin": "dream"},
]


async def damage(scene: Scene, job: Job, **columns: Any) -> None:
    await scene.db.write(_set, sa.update(jobs).where(jobs.c.id == job.id).values(columns))


def _set(connection: Connection, statement: sa.Update) -> None:
    assert connection.execute(statement).rowcount == 1


async def is_given_up(scene: Scene, job: Job) -> None:
    after = await scene.studio.job(job.id)
    assert (after.state, after.error_code, after.unreadable) == (JobState.FAILED, "order_unreadable", True)
    assert [(kind, amount) for kind, _, amount in await scene.ledger(job)] == [
        ("reserve", -job.cost),
        ("refund", job.cost),
    ]
    assert await scene.db.read(discrepancies) == []


async def test_its_own_job_is_given_up_and_the_others_are_drawn(scene: Scene) -> None:
    await scene.worker()
    lost = [await scene.submit(ANNE) for _ in DAMAGES]
    sound = await scene.submit(BERT)
    lost.append(await scene.submit(CLEO))
    for job, damaged in zip(lost, [*DAMAGES, DAMAGES[0]], strict=True):
        await damage(scene, job, **damaged)
    assert (await scene.claim()).id == sound.id
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    for job in lost:
        await is_given_up(scene, job)


async def test_also_where_jobs_are_claimed_for_models_in_memory(scene: Scene) -> None:
    await scene.worker("w1", SCHNELL, DEV)
    await scene.submit(ANNE)
    lost, sound = await scene.submit(BERT, DEV), await scene.submit(CLEO, DEV)
    await damage(scene, lost, request=NOT_JSON)
    job = await scene.queue.claim("w1", [SCHNELL, DEV], {DEV})
    assert job is not None
    assert job.id == sound.id
    await is_given_up(scene, lost)


async def test_also_beside_jobs_that_are_drawn_together(scene: Scene) -> None:
    await scene.worker("w1", TINY)
    shape = shape_of(a_request(TINY))
    assert shape is not None
    for number, seconds in ((1, 1.0), (2, 1.1)):
        for _ in range(5):
            await scene.queue.record_pace("cpu", shape, number, float(number), seconds)
    sound, lost, other = [await scene.submit(account, TINY) for account in (ANNE, BERT, CLEO)]
    await damage(scene, lost, request=NOT_JSON)
    together = await scene.queue.claim_together("w1", [TINY], "cpu", 8)
    assert lost.id not in [job.id for job in together]
    assert together[0].id == sound.id
    left = [job.id for job in [await scene.queue.claim("w1", [TINY]) for _ in range(2)] if job is not None]
    assert {*left, *(job.id for job in together)} == {sound.id, other.id}
    await is_given_up(scene, lost)


@pytest.mark.parametrize("asked", [None, "acme"])
async def test_also_where_hosted_providers_draw(scene: Scene, asked: str | None) -> None:
    await scene.vendor("acme", cents=3)
    await scene.vendor("bolt", cents=1)
    request = a_request().model_copy(update={"provider": asked})
    lost, sound = await scene.submit(ANNE, request=request), await scene.submit(BERT, request=request)
    await damage(scene, lost, request=NOT_JSON)
    claimed = [await scene.queue.claim_hosted(worker) for worker in ("acme", "bolt")]
    assert [job.id for job in claimed if job] == [sound.id]
    await is_given_up(scene, lost)
    assert set((await scene.spent(lost)).values()) <= {0}


async def test_what_was_ordered_for_it_before_it_was_damaged_still_counts_as_spent(scene: Scene) -> None:
    await scene.vendor("acme", cents=3)
    lost = await scene.submit(ANNE)
    await scene.claim_hosted()
    await scene.queue.submitted("acme", lost.id, "acme", "theirs-1")
    await scene.queue.hand_back("acme", lost.id)
    await damage(scene, lost, request=NOT_JSON)
    assert await scene.queue.claim_hosted("acme") is None
    await is_given_up(scene, lost)
    assert await scene.spent(lost) == {"acme": 30_000}


async def test_its_worker_dies_and_it_is_rescued_all_the_same(scene: Scene) -> None:
    lost, sound = await scene.submit(ANNE), await scene.submit(BERT)
    await scene.claim()
    await scene.claim()
    await damage(scene, lost, request=NOT_JSON)
    scene.clock.now += 31
    assert {job.id for job in await scene.queue.rescue()} == {lost.id, sound.id}
    assert (await scene.claim("w2")).id == sound.id
    await is_given_up(scene, lost)


async def test_every_list_goes_on(scene: Scene) -> None:
    await scene.worker()
    lost = await scene.submit(ANNE, reply_to=a_reply(), request=a_request(prompt="a blue circle"))
    sound = await scene.submit(ANNE, reply_to=a_reply())
    await damage(scene, lost, request=NOT_JSON)
    both = [sound.id, lost.id]
    assert [job.id for job in await scene.studio.jobs_of(ANNE)] == both
    assert [job.id for job in await scene.studio.line.in_turn(7)] == both[::-1]
    assert [one.job.id for one in await scene.studio.live_jobs()] == both[::-1]
    assert [(await scene.studio.place(id)).position for id in both] == [2, 1]
    assert await scene.studio.recent_prompts(ANNE, "a") == ["a red circle"]
    assert [job.id for job in (await scene.studio.personal.history(ANNE)).jobs] == both
    assert [job.id for job in (await scene.studio.personal.history(ANNE, words="circle")).jobs] == [sound.id]
    shown = await scene.studio.job(lost.id)
    assert (shown.request.prompt, shown.request.model) == (WORDS, SCHNELL)
    exported = (await scene.studio.personal.export(ANNE))["jobs"]
    assert exported[0]["request"] == NOT_JSON
    assert exported[1]["request"]["prompt"] == "a red circle"
    assert (await scene.studio.cancel(lost.id, by=1, moderator=False)).state is JobState.CANCELLED
    assert await scene.db.read(discrepancies) == []


async def test_it_can_be_forgotten(scene: Scene) -> None:
    old, taken_back = await scene.submit(ANNE), await scene.submit(BERT)
    for job in (old, taken_back):
        await damage(scene, job, request=NOT_JSON)
        await scene.studio.cancel(job.id, by=job.account.user_id, moderator=False)
    await scene.studio.personal.forget(BERT)
    scene.clock.now += DAY
    assert await scene.db.write(retention.forget_jobs, scene.clock.now, scene.clock.now, 10) == 1
    for job in (old, taken_back):
        assert (await scene.column(job, "request"), await scene.column(job, "kept")) == ("{}", "nothing")


async def test_nobody_draws_it_again(scene: Scene) -> None:
    lost = await scene.submit()
    drawn = pictures(lost)[0]
    await damage(scene, lost, request=NOT_JSON)
    lost = await scene.studio.job(lost.id)
    with pytest.raises(JobUnreadable):
        reroll_request(lost)
    with pytest.raises(JobUnreadable):
        variation_request(lost, drawn, CATALOGUE)


# What a guild has decided

DECIDED = GuildPolicy(models_denied=(DEV,), dollars_a_day=5, moderators_channel=12, output=OutputRule(action="spoiler"))


async def decide(scene: Scene, **spoilt: Any) -> None:
    """Let guild 7 have a policy, with ``spoilt`` in it."""
    await scene.studio.policies.change(7, lambda _: DECIDED, by=1, action="test")
    text = json.dumps(DECIDED.model_dump(mode="json", exclude_defaults=True) | spoilt) if spoilt else NOT_JSON
    await scene.db.write(_set, sa.update(policies_table).where(policies_table.c.guild_id == 7).values(policy=text))


async def refused(scene: Scene, account: Account = ANNE) -> str:
    """Order something that must be refused; return whose rules cannot be read."""
    with pytest.raises(RulesUnreadable) as told:
        await scene.submit(account)
    with pytest.raises(RulesUnreadable):
        await scene.studio.check(account, a_request())
    return str(told.value.facts["whose"])


@pytest.mark.parametrize("spoilt", [{}, {"prompt_rules": [{"kind": "word"}]}])
async def test_a_guild_whose_policy_is_damaged_orders_nothing(scene: Scene, spoilt: dict[str, Any]) -> None:
    await decide(scene, **spoilt)
    assert await refused(scene) == "server"
    assert (await scene.submit(ABROAD)).account == ABROAD
    found = await scene.db.read(discrepancies)
    assert [(one.problem, one.example) for one in found] == [("policy", "7")]


async def test_what_can_be_read_of_it_holds_and_the_rest_is_shut(scene: Scene) -> None:
    await decide(scene, output={"action": "show everything"}, routing={"first": "whoever"})
    kept = await scene.studio.policies.of(7)
    assert (kept.models_denied, kept.dollars_a_day, kept.moderators_channel) == ((DEV,), 5, 12)
    assert (kept.output, kept.routing) == (policies.CLOSED.output, policies.CLOSED.routing)
    assert [one.partition(":")[0] for one in await scene.studio.policies.problems(7)] == [
        "routing.first",
        "output.action",
    ]


async def test_nothing_that_waits_costs_a_guild_money_that_its_policy_may_forbid(scene: Scene) -> None:
    await scene.vendor()
    waiting, abroad = await scene.submit(ANNE), await scene.submit(ABROAD)
    await decide(scene)
    claimed = await scene.claim_hosted()
    assert claimed.id == abroad.id
    assert await scene.queue.claim_hosted("acme") is None
    await scene.worker()
    assert (await scene.claim()).id == waiting.id


async def test_its_moderators_replace_it_and_change_no_part_of_it(scene: Scene) -> None:
    await decide(scene, channels="all")
    with pytest.raises(InvalidPolicy) as told:
        await scene.studio.policies.change(
            7, lambda now: now.model_copy(update={"pool": 5.0}), by=1, action="quota server"
        )
    assert told.value.facts["problems"] == [policies.DAMAGED]
    await scene.studio.policies.change(7, lambda _: DECIDED, by=1, action="policy import", whole=True)
    assert await scene.studio.policies.problems(7) == ()
    await scene.submit()
    assert await scene.db.read(discrepancies) == []


async def test_limits_of_a_member_that_are_damaged_shut_out_that_member(scene: Scene) -> None:
    await scene.studio.members.change_limits(BERT, lambda _: Limits(max_waiting=1), by=9)
    of_bert = sa.update(members_table).where(members_table.c.user_id == BERT.user_id)
    await scene.db.write(_set, of_bert.values(limits='{"credits": "many"}'))
    assert await refused(scene, BERT) == "member"
    await scene.submit(ANNE)
    both = (scene.studio.personal.circumstances(who, NOWHERE) for who in (ANNE, BERT))
    hers, his = await asyncio.gather(*both, return_exceptions=True)
    assert hers == await scene.studio.personal.circumstances(ANNE, NOWHERE)
    assert isinstance(his, RulesUnreadable)
    assert [one.problem for one in await scene.db.read(discrepancies)] == ["limits"]
    assert (await scene.studio.personal.export(BERT))["limits"] == "they cannot be read"
    await scene.studio.members.change_limits(BERT, lambda _: Limits(), by=9)
    assert await scene.db.read(members.limits_of, BERT) == Limits()
    await scene.studio.members.change_limits(BERT, lambda now: now.model_copy(update={"max_waiting": 2}), by=9)
    assert await scene.db.read(members.limits_of, BERT) == Limits(max_waiting=2)
    assert (await scene.submit(BERT)).account == BERT
