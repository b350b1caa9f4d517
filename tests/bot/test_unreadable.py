"""What members and moderators meet where something that was kept cannot be read any more."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.database.tables import jobs, policies
from flux_core.policy.guild import GuildPolicy
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, finished, is_private, order, press, spent
from tests.bot.test_admin_policy import agree

GUILD = int(GUILD_ID)


async def spoil(stage: Stage, table: sa.Table, **columns: Any) -> None:
    """Damage every row of a table."""
    statement = sa.update(table).values(columns)
    await stage.easel.queue._db.write(lambda connection: connection.execute(statement))


async def test_an_order_that_cannot_be_read_ends_with_its_credits_back(stage: Stage, ada: Person) -> None:
    card = await order(stage, ada, prompt="a fox", count=1)
    [job] = await stage.studio.jobs_of(account_of(ada))
    await spoil(stage, jobs, request='{"prompt": "a f')
    assert "An order that cannot be read" in text_of(await ada.response(await ada.command("jobs")))
    assert await stage.easel.queue.claim("somebody", [job.request.model]) is None
    ended = await finished(ada, card["id"])
    assert "I can't read any more what was asked for" in text_of(ended)
    assert "seed" not in text_of(ended)
    assert labels_of(ended) == ["Details", "Delete"]
    assert "please give the command anew" in text_of(await press(ada, ended, "Details"))
    assert await spent(stage, ada) == 0


async def test_a_policy_that_cannot_be_read_is_replaced_by_its_moderators(
    stage: Stage, ada: Person, grace: Person
) -> None:
    denied = GuildPolicy(models_denied=("flux-dev",))
    await stage.studio.policies.change(GUILD, lambda _: denied, by=1, action="test")
    await spoil(stage, policies, policy='{"models_denied": ["flux-dev"], "prompt_rules": "all of them"}')
    refused = await ask(ada, prompt="a fox")
    assert is_private(refused)
    assert "I can't read what was decided for this server" in text_of(refused)
    shown = text_of(await grace.response(await grace.command("admin policy show")))
    assert "Not all of this can be read, so nothing is drawn here" in shown
    assert "**Models denied:** `flux-dev`" in shown
    part = text_of(await grace.response(await grace.command("admin quota server", pool=5)))
    assert "/admin policy import replaces it" in part
    question = await grace.response(await grace.command("admin policy reset"))
    assert "has decided nothing any more" in await agree(grace, question, "Forget it all")
    await order(stage, ada, prompt="a fox")
