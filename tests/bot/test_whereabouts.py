"""Where it is asked and as whom goes along with every order, and decides."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.sandbox.community import ADA_ID, MODERATOR_ROLE_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, text_of
from flux_core.jobs import Whereabouts
from flux_core.policy.guild import ChannelRule, Defaults, GuildPolicy, Limits, Tier
from flux_core.service import Submission
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, draw, finished, is_private, order, png, press


@pytest.fixture
def asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[Whereabouts]:
    """Where every order since then was given."""
    places: list[Whereabouts] = []
    submit = stage.studio.submit

    async def noted(submission: Submission) -> Any:
        places.append(submission.where)
        return await submit(submission)

    monkeypatch.setattr(stage.studio, "submit", noted)
    return places


async def place(person: Person, name: str) -> int:
    return int(next(one["id"] for one in (await person.world())["channels"] if one["name"] == name))


async def decide(stage: Stage, person: Person, **parts: Any) -> None:
    await stage.studio.policies.change(
        account_of(person).guild_id, lambda _: GuildPolicy(**parts), by=1, action="policy import"
    )


async def test_orders_tell_channel_and_roles(
    stage: Stage, ada: Person, grace: Person, asked: list[Whereabouts]
) -> None:
    studio = await place(ada, "studio")
    await order(stage, ada, prompt="a")
    await order(stage, grace, prompt="b")
    assert asked == [
        Whereabouts(channel_ids=(studio,)),
        Whereabouts(channel_ids=(studio,), role_ids=frozenset({int(MODERATOR_ROLE_ID)})),
    ]


async def test_buttons_and_uploads_tell_it_too(stage: Stage, ada: Person, asked: list[Whereabouts]) -> None:
    ada.channel = "age-restricted"
    done = await draw(stage, ada, prompt="a", count=1)
    await press(ada, done, "Reroll")
    await press(ada, done, "V1")
    picture = await ada.upload(png(), "red.png")
    first = await ask(ada, prompt="b", image=picture, count=1)
    assert asked[0].age_restricted
    for _ in range(3):
        job = await stage.easel.take()
        assert job.age_restricted
        await stage.easel.finish(job)
    await finished(ada, first["id"])
    assert asked == [Whereabouts(channel_ids=(await place(ada, "age-restricted"),), age_restricted=True)] * 4


async def test_a_thread_belongs_to_its_channel(stage: Stage, ada: Person, asked: list[Whereabouts]) -> None:
    thread, studio = await place(ada, "colour studies"), await place(ada, "studio")
    await decide(stage, ada, channels=(ChannelRule(channel_id=studio, defaults=Defaults(count=1)),))
    ada.channel = "colour studies"
    await order(stage, ada, prompt="a")
    assert asked == [Whereabouts(channel_ids=(thread, studio))]
    assert (await stage.studio.jobs_of(account_of(ada)))[0].request.count == 1


async def test_a_closed_channel_names_an_open_one(stage: Stage, ada: Person) -> None:
    studio = await place(ada, "studio")
    done = await draw(stage, ada, prompt="a", count=1)
    await decide(stage, ada, channels=(ChannelRule(channel_id=studio, allowed=True),))
    ada.channel = "general"
    for told in (
        await ask(ada, prompt="a"),
        await ask(ada, prompt="a", image=await ada.upload(png(), "red.png")),
    ):
        assert f"Pictures are not drawn in this channel. Try <#{studio}>." in text_of(told)
        assert is_private(told)
    # Where it is open, buttons go on.
    await press(ada, done, "Reroll")
    await decide(stage, ada, channels=(ChannelRule(channel_id=studio, allowed=False),))
    refused = await press(ada, done, "Reroll")
    assert "not drawn in this channel" in text_of(refused)
    assert is_private(refused)


async def test_a_tier_counts_for_those_who_have_its_role(stage: Stage, ada: Person, grace: Person) -> None:
    tier = Tier(role_id=int(MODERATOR_ROLE_ID), name="Keepers", credits=500, max_count=4, models=("flux-dev",))
    everybody = Limits(credits=10, max_count=1, models=("flux-tiny",), max_megapixels=0.25)
    await decide(stage, ada, everybody=everybody, tiers=(tier,), pool=1000, relaxed=True)
    hers = text_of(await grace.response(await grace.command("quota")))
    assert "500 credits" in hers
    assert "Tiers: **Keepers**" in hers
    other = text_of(await ada.response(await ada.command("quota")))
    assert "10 credits of today's 10 credits" in other
    assert "Tiers" not in other
    assert "The pool of all members has" in other
    assert "relaxed" in other
    assert {choice["value"] for choice in await grace.autocomplete("imagine", "model", "")} >= {"flux-dev"}
    assert [choice["value"] for choice in await ada.autocomplete("imagine", "model", "")] == ["flux-tiny"]
    assert "You can't use `flux-dev` in this server. You can use `flux-tiny`." in text_of(
        await ask(ada, prompt="a", model="flux-dev")
    )
    assert "you can have up to 1 at once here" in text_of(await ask(ada, prompt="a", count=2))
    # Left open, it is what they may have.
    await order(stage, ada, prompt="a")
    assert (await stage.studio.jobs_of(account_of(ada)))[0].request.count == 1


async def far_away(stage: Stage, ada: Person) -> RawMessage:
    """Return a picture that came by direct message."""
    await ask(ada, prompt="late", count=1, private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    direct = await ada.wait_for(lambda m: "where I could not answer" in text_of(m))
    stage.sandbox.inject(expire_tokens=False)
    return direct


async def test_an_order_by_direct_message_counts_as_from_the_member(
    stage: Stage, ada: Person, asked: list[Whereabouts]
) -> None:
    direct = await far_away(stage, ada)
    stage.sandbox.world.community.people[ADA_ID].role_ids = (MODERATOR_ROLE_ID,)
    await ada.press(direct, "Reroll")
    await stage.easel.take()
    assert asked[-1] == Whereabouts(role_ids=frozenset({int(MODERATOR_ROLE_ID)}))


async def test_whoever_left_the_server_draws_no_more_on_its_account(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = await far_away(stage, ada)
    response = SimpleNamespace(status=404, reason="Not Found")

    async def gone(*_: object) -> None:
        raise discord.NotFound(response, {"code": 10007, "message": "Unknown Member"})  # type: ignore[arg-type]

    monkeypatch.setattr(discord.Guild, "fetch_member", gone)
    told = await press(ada, direct, "Reroll")
    assert "a server that you are not in" in text_of(told)
    assert await stage.studio.live_jobs() == []


async def test_an_order_whose_giver_is_not_known_in_time_is_refused_in_time(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = await far_away(stage, ada)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(discord.Guild, "fetch_member", never)
    assert "too long" in text_of(await press(ada, direct, "Reroll"))
    assert await stage.studio.live_jobs() == []
