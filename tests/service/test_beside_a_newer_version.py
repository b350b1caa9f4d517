"""What a newer version of the program writes beside this one: it is read as far as it is known, and never undone."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from flux_core.database import policies
from flux_core.database.tables import jobs, members, workers
from flux_core.database.tables import policies as documents
from flux_core.errors import InvalidPolicy
from flux_core.models import Mode
from flux_core.policy.guild import GuildPolicy, Limits
from tests.database.scene import ANNE, DEV, SCHNELL, Scene

NEW = {"frame": "golden"}


async def test_entries_of_a_policy_that_are_not_known_are_left_aside_and_kept(scene: Scene) -> None:
    kept = json.dumps({"everybody": {"credits": 3} | NEW, "tell_prompt": False} | NEW)
    row = {"guild_id": ANNE.guild_id, "policy": kept, "by_user": 1, "since": 0.0}
    await scene.db.write(lambda connection: connection.execute(sa.insert(documents), row).rowcount)
    assert await scene.studio.policies.of(ANNE.guild_id) == GuildPolicy(everybody=Limits(credits=3), tell_prompt=False)
    job = await scene.submit()
    await scene.succeed(await scene.claim())
    assert (await scene.studio.job(job.id)).state == "succeeded"
    with pytest.raises(InvalidPolicy) as refused:
        await scene.studio.policies.change(
            ANNE.guild_id, lambda before: before.model_copy(update={"relaxed": True}), by=1, action="quota server"
        )
    assert refused.value.facts["problems"] == [policies.NEWER]
    assert await scene.db.read(lambda connection: connection.execute(sa.select(documents.c.policy)).scalar()) == kept


async def test_limits_that_are_not_known_are_left_aside_and_kept(scene: Scene) -> None:
    await scene.studio.members.change_limits(ANNE, lambda before: Limits(max_waiting=2), by=1)
    kept = json.dumps({"max_waiting": 2} | NEW)
    await scene.db.write(lambda connection: connection.execute(sa.update(members).values(limits=kept)).rowcount)
    assert await scene.studio.members.limits(ANNE) == Limits(max_waiting=2)
    with pytest.raises(InvalidPolicy):
        await scene.studio.members.change_limits(ANNE, lambda before: Limits(max_waiting=3), by=1)
    assert await scene.db.read(lambda connection: connection.execute(sa.select(members.c.limits)).scalar()) == kept


async def test_what_is_not_known_of_an_order_is_left_aside(scene: Scene) -> None:
    job = await scene.submit()
    kept = json.dumps(json.loads(await scene.column(job, "request")) | NEW)
    await scene.db.write(lambda connection: connection.execute(sa.update(jobs).values(request=kept)).rowcount)
    assert (await scene.claim()).request == job.request


async def test_what_is_not_known_of_a_workers_offers_is_left_aside(scene: Scene) -> None:
    await scene.worker("newer")
    await scene.worker("own", DEV)
    schnell = {"theirs": "schnell", "modes": ["quality", "astral"]} | NEW
    kept = json.dumps({SCHNELL: schnell, "flux-next": {"theirs": "next", "image_input": "thought"}})
    newer = sa.update(workers).where(workers.c.id == "newer").values(offers=kept)
    await scene.db.write(lambda connection: connection.execute(newer).rowcount)
    offers = {one.id: one.offers for one in await scene.studio.venues()}
    assert set(offers["newer"]) == {SCHNELL}
    assert offers["newer"][SCHNELL].modes == (Mode.QUALITY,)
    assert set(offers["own"]) == {DEV}
    assert (await scene.submit()).request.model == SCHNELL
