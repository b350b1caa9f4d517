"""/admin models: which models this server uses."""

from __future__ import annotations

from typing import Any

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.reading import text_of
from flux_core.errors import StorageUnavailable
from flux_core.policy.guild import GuildPolicy
from tests.bot.conftest import Stage
from tests.bot.governing import GUILD, decided, log, nothing_changes, offered, open_admin, say
from tests.bot.scenes import ask, order


async def test_a_denied_model_is_not_drawn_with_until_it_is_allowed_again(
    stage: Stage, grace: Person, ada: Person
) -> None:
    assert "`flux-dev`: allowed" in await say(grace, "models show")
    told = await say(grace, "models deny", model="FLUX-dev")
    assert "`flux-dev`: denied" in told
    assert "`flux-tiny`: allowed" in told
    assert "You can't use `flux-dev` in this server" in text_of(await ask(ada, prompt="a", model="flux-dev"))
    await order(stage, ada, prompt="a", model="flux-tiny", count=1)
    await say(grace, "models allow", model="flux-dev")
    assert (await decided(stage)).models_denied == ()
    await order(stage, ada, prompt="a", model="flux-dev", count=1)
    assert [(entry.action, entry.facts) for entry in await log(stage)] == [
        ("models allow", {"model": "flux-dev"}),
        ("models deny", {"model": "flux-dev"}),
    ]


async def test_bad_models_are_explained_and_change_nothing(stage: Stage, grace: Person) -> None:
    known = [spec.id for spec in stage.studio.catalogue]
    for id in known[1:]:
        await say(grace, "models deny", model=id)
    bad: list[tuple[str, dict[str, Any], str]] = [
        ("models deny", {"model": known[0]}, "this server would have no model left"),
        ("models deny", {"model": known[1]}, f"`{known[1]}` is denied already"),
        ("models allow", {"model": known[0]}, f"`{known[0]}` is allowed already"),
        ("models deny", {"model": "sdxl"}, "There is no model “sdxl” here"),
        ("models allow", {"model": "sdxl"}, "There is no model “sdxl” here"),
        ("models allow", {"model": "m" * 61}, "must be 1 to 60 characters"),
    ]
    async with nothing_changes(stage):
        for command, options, sentence in bad:
            assert sentence in await say(grace, command, **options), (command, options)


async def test_a_model_that_is_not_offered_any_more_can_be_allowed(stage: Stage, grace: Person) -> None:
    await stage.studio.policies.change(
        GUILD, lambda before: before.model_copy(update={"models_denied": ("flux-old",)}), by=1, action="policy import"
    )
    assert "`flux-old`: denied, and not offered any more" in await say(grace, "models show")
    assert await offered(grace, "models allow", "model") == [("flux-old", "flux-old")]
    await say(grace, "models allow", model="flux-old")
    assert (await decided(stage)).models_denied == ()


async def test_a_member_without_the_right_sees_and_changes_nothing(
    stage: Stage, grace: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(grace, "models deny", model="flux-dev")
    open_admin(stage)
    async with nothing_changes(stage):
        for command, options in (
            ("models show", {}),
            ("models allow", {"model": "flux-dev"}),
            ("models deny", {"model": "flux-schnell"}),
        ):
            assert "Manage Server" in await say(ada, command, **options), command
        assert await offered(ada, "models allow", "model") == await offered(ada, "models deny", "model") == []
    assert await offered(grace, "models allow", "model", "DEV") == [("flux-dev", "flux-dev")]
    assert "flux-dev" not in [value for _, value in await offered(grace, "models deny", "model")]
    assert "flux-schnell" in [value for _, value in await offered(grace, "models deny", "model")]
    # While the database is away, nothing is offered, and nobody is disturbed.
    with monkeypatch.context() as away:

        async def of(_: int) -> GuildPolicy:
            raise StorageUnavailable()

        away.setattr(stage.studio.policies, "of", of)
        assert await offered(grace, "models deny", "model") == []
        assert "can't reach my storage" in await say(grace, "models show")
