"""/admin provider: moderators decide which hosted providers draw for their server, and for how much money."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.sandbox import driver
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, text_of
from flux_core.database.audit import Wanted
from flux_core.router import RoutingPolicy
from tests import vendors
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, finished, is_private
from tests.bot.test_providers import register, take

GUILD = int(GUILD_ID)


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure one hosted provider before the stage opens."""
    vendors.only_these(monkeypatch)
    monkeypatch.setenv("CLOUD_API_KEY", "key-of-the-cloud")


@pytest.fixture
async def admin(stage: Stage, grace: Person) -> Person:
    """Somebody who runs the server, and does not own the bot."""
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    return grace


async def say(person: Person, command: str, **options: Any) -> RawMessage:
    return await person.response(await person.command(f"admin provider {command}", **options))


async def offered(person: Person, command: str, typed: str = "") -> list[str]:
    return [choice["value"] for choice in await person.autocomplete(f"admin provider {command}", "name", typed)]


async def may_draw(stage: Stage) -> tuple[str, ...] | None:
    return (await stage.studio.routing_of(GUILD)).providers


async def log(stage: Stage) -> list[tuple[str, dict[str, Any]]]:
    page = await stage.studio.audit.page(Wanted(guild_id=GUILD))
    return [(one.action, dict(one.facts)) for one in page.entries]


async def test_providers_are_disabled_and_enabled(stage: Stage, admin: Person) -> None:
    await register(stage, "commons")
    assert await may_draw(stage) is None
    assert await offered(admin, "disable") == ["cloud", "commons"]
    assert await offered(admin, "disable", "nine") == ["cloud"], "by its title, too"
    assert await offered(admin, "enable") == []
    told = await say(admin, "disable", name=" Cloud ")
    assert is_private(told)
    assert "Hosted providers: **Commons** may draw" in text_of(told)
    assert await may_draw(stage) == ("commons",)
    assert await offered(admin, "enable") == ["cloud"]
    assert await offered(admin, "disable") == ["commons"]
    await say(admin, "disable", name="commons")
    assert await may_draw(stage) == ()
    await say(admin, "enable", name="commons")
    assert "**Cloud Nine**, **Commons** may draw" in text_of(await say(admin, "enable", name="cloud"))
    assert await may_draw(stage) == ("cloud", "commons"), "in the studio's own order"
    assert await log(stage) == [
        ("provider enable", {"provider": "cloud"}),
        ("provider enable", {"provider": "commons"}),
        ("provider disable", {"provider": "commons"}),
        ("provider disable", {"provider": "cloud"}),
    ]


async def test_the_rest_of_the_routing_stays(stage: Stage, admin: Person) -> None:
    routing = RoutingPolicy(first="hosted", order="fastest", providers=("cloud", "gone"))
    await stage.studio.set_routing(GUILD, routing, by=1)
    await say(admin, "disable", name="cloud")
    assert await stage.studio.routing_of(GUILD) == routing.model_copy(update={"providers": ("gone",)})


async def test_two_moderators_change_who_draws_at_once(stage: Stage, admin: Person) -> None:
    await asyncio.gather(
        say(admin, "set", first="hosted"), say(admin, "set", order="fastest"), say(admin, "set", overflow=7)
    )
    routing = await stage.studio.routing_of(GUILD)
    assert (routing.first, routing.order, routing.overflow_seconds) == ("hosted", "fastest", 7)
    assert sorted(str(facts["routing"]) for _, facts in await log(stage)) == [
        "{'first': 'hosted'}",
        "{'order': 'fastest'}",
        "{'overflow_seconds': 7}",
    ]
    assert "That is so already" in text_of(await say(admin, "set", first="hosted"))


async def test_providers_are_offered_for_a_list(stage: Stage, admin: Person) -> None:
    await register(stage, "commons")

    async def listed(typed: str) -> list[str]:
        found = await admin.autocomplete("admin provider set", "providers", typed)
        return [choice["value"] for choice in found]

    assert await listed("") == ["all", "none", "cloud", "commons"]
    assert await listed("NO") == ["none"]
    assert await listed("cloud, ") == ["cloud, commons"]
    for chosen, may in (("none", ()), ("cloud, commons", ("cloud", "commons")), ("all", None)):
        await say(admin, "set", providers=chosen)
        assert await may_draw(stage) == may


async def test_changes_that_change_nothing_or_name_nobody_are_refused(stage: Stage, admin: Person) -> None:
    assert "Cloud Nine may draw already" in text_of(await say(admin, "enable", name="cloud"))
    await say(admin, "disable", name="cloud")
    assert "Cloud Nine may not draw as it is" in text_of(await say(admin, "disable", name="cloud"))
    before = await log(stage)
    for command in ("enable", "disable"):
        for name in ("clout", "all", "none", "local", "*", "cloud, commons"):
            assert "There is no hosted provider" in text_of(await say(admin, command, name=name)), name
    assert await may_draw(stage) == ()
    assert await log(stage) == before


async def test_a_cap_is_set_shown_and_taken_back(stage: Stage, ada: Person, admin: Person) -> None:
    assert "This server spent **$0.00** today; this server has set no cap." in text_of(await say(admin, "show"))
    await register(stage)
    first = await ask(ada, prompt="a", model="flux-schnell", provider="cloud", count=1)
    job = await take(stage)
    await stage.easel.finish(job, provider="cloud", microdollars=30_000)
    await finished(ada, first["id"])
    told = await say(admin, "cap", dollars="$ 2.50")
    assert "This server spent **$0.03** today; at most **$2.50** a day." in text_of(told)
    assert (await stage.studio.policies.of(GUILD)).dollars_a_day == 2.5
    assert "That is so already" in text_of(await say(admin, "cap", dollars="2.5"))
    assert "at most **$0.00** a day" in text_of(await say(admin, "cap", dollars="0"))
    assert "has set no cap" in text_of(await say(admin, "cap", dollars="OFF"))
    assert (await stage.studio.policies.of(GUILD)).dollars_a_day is None
    assert await log(stage) == [
        ("provider cap", {"dollars": None}),
        ("provider cap", {"dollars": 0.0}),
        ("provider cap", {"dollars": 2.5}),
    ]


async def test_amounts_that_make_no_sense_change_nothing(stage: Stage, admin: Person) -> None:
    for amount, problem in (
        ("five", "`dollars` needs a number"),
        ("$", "`dollars` needs a number"),
        ("nan", "`dollars` needs a number"),
        ("inf", "`dollars` needs a number"),
        ("1e400", "`dollars` needs a number"),
        ("-1", "`dollars` can be 0 to 1000000 here, not -1."),
        ("1000001", "`dollars` can be 0 to 1000000 here"),
        ("@everyone", "“@\u200beveryone”"),
    ):
        assert problem in text_of(await say(admin, "cap", dollars=amount)), amount
    assert (await stage.studio.policies.of(GUILD)).dollars_a_day is None
    assert await log(stage) == []


async def test_who_draws_is_for_moderators_to_say(stage: Stage, ada: Person) -> None:
    with pytest.raises(driver.Refused, match="permission"):
        await ada.command("admin provider disable", name="cloud")
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
    for command, options in (
        ("enable", {"name": "cloud"}),
        ("disable", {"name": "cloud"}),
        ("cap", {"dollars": "1"}),
    ):
        refusal = await say(ada, command, **options)
        assert "Manage Server" in text_of(refusal)
        assert is_private(refusal)
    assert await offered(ada, "disable") == []
    assert await may_draw(stage) is None
    assert await log(stage) == []
