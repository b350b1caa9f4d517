"""What is chosen on messages and members: Picture details, Vary, Member usage."""

from __future__ import annotations

import pytest

from bot.layouts.member_card import usage
from bot.sandbox import driver
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from flux_core.errors import Refused
from flux_core.jobs import JobState
from flux_core.service import Ban
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, draw, finished, is_private, order, press
from tests.bot.test_cards import DONE, FULL_QUOTA, check_limits, job, texts


async def menu(person: Person, name: str, message: RawMessage) -> RawMessage:
    return await person.response(await person.message_menu(name, message))


async def test_details_of_a_message(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="a fox", seed=41, count=1)
    seen = await linus.wait_for(lambda m: m["id"] == done["id"])
    told = await linus.response(await linus.message_menu("Picture details", seen))
    assert is_private(told)
    assert "**Seed:** 41" in text_of(told)
    waiting = await order(stage, ada, prompt="an owl")
    assert "an owl" in text_of(await menu(ada, "Picture details", waiting))


async def test_the_menus_know_only_messages_of_one_job(stage: Stage, ada: Person, linus: Person) -> None:
    await draw(stage, ada, prompt="a", count=1)
    await draw(stage, ada, prompt="b", count=1)
    plain = await ada.response(await ada.command("help"))
    listed = await ada.response(await ada.command("jobs"))
    for message in (plain, listed):
        for name in ("Picture details", "Vary"):
            assert "I don't know this picture here" in text_of(await menu(ada, name, message)), name
    # Neither do they show what is private to others: they cannot see it, and could not by its id.
    private = await draw(stage, ada, prompt="c", count=1, private=True)
    with pytest.raises(driver.Refused, match="no such message"):
        await linus.message_menu("Vary", private)


async def test_vary_a_single_picture_at_once(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="a fox", count=1)
    answer = await menu(linus, "Vary", await linus.wait_for(lambda m: m["id"] == done["id"]))
    assert not is_private(answer)
    varied = await stage.easel.take()
    assert varied.account == account_of(linus)
    assert varied.parent_position == 0
    await stage.easel.finish(varied)
    await finished(linus, answer["id"])


async def test_vary_asks_which_of_several(stage: Stage, ada: Person) -> None:
    done = await draw(stage, ada, prompt="a fox", count=3)
    asked = await menu(ada, "Vary", done)
    assert is_private(asked)
    assert labels_of(asked) == ["V1", "V2", "V3"]
    await press(ada, asked, "V2")
    assert (await stage.easel.take()).parent_position == 1


async def test_vary_tells_what_is_in_the_way(stage: Stage, ada: Person) -> None:
    waiting = await order(stage, ada, prompt="a fox", count=1)
    assert "not drawn yet" in text_of(await menu(ada, "Vary", waiting))
    await stage.easel.finish(await stage.easel.take())
    done = await finished(ada, waiting["id"])
    found = (await stage.studio.personal.history(account_of(ada))).jobs[0]
    await stage.studio.delete_pictures(found.id, by=int(ada.id), moderator=False)
    assert "was deleted" in text_of(await menu(ada, "Vary", done))


async def test_moderators_see_how_it_stands_with_a_member(stage: Stage, ada: Person, grace: Person) -> None:
    done = await draw(stage, ada, prompt="a public fox", count=1)
    await draw(stage, ada, prompt="a private owl", count=1, private=True)
    told = await grace.response(await grace.user_menu("Member usage", ada.id))
    assert is_private(told)
    text = text_of(told)
    assert f"<@{ada.id}>" in text
    assert "credits left" in text
    assert "“a public fox” · Done" in text
    assert f"/{done['id']})" in text
    assert "asked for privately" in text
    assert "owl" not in text
    assert "Banned" not in text
    refused = await ask(ada, prompt="a private crow", count=1, private=True)
    await stage.easel.queue.fail("easel", (await stage.easel.take()).id, Refused(reason="no private crows"))
    await ada.wait_for(lambda m: m["id"] == refused["id"] and "Details" in labels_of(m))
    told = await grace.response(await grace.user_menu("Member usage", ada.id))
    assert "asked for privately · refused" in text_of(told)
    assert "crow" not in text_of(told)
    await stage.studio.members.ban(account_of(ada), by=int(grace.id), reason="*spam*", until=None)
    told = await grace.response(await grace.user_menu("Member usage", ada.id))
    assert f"**Banned** until it is lifted by <@{grace.id}>" in text_of(told)
    assert r"“\*spam\*”" in text_of(told)


async def test_member_usage_is_for_moderators(stage: Stage, ada: Person, linus: Person) -> None:
    with pytest.raises(driver.Refused, match="permission"):
        await ada.user_menu("Member usage", linus.id)
    # A server can show the command to anybody; that alone must not be enough.
    command = stage.sandbox.world.commands.named("Member usage", 2)
    assert command is not None
    command["default_member_permissions"] = None
    told = await ada.response(await ada.user_menu("Member usage", linus.id))
    assert "Only moderators" in text_of(told)
    assert is_private(told)


async def test_menus_draw_on_the_account_of_whoever_chooses(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="a fox", count=1)
    await stage.studio.members.ban(account_of(linus), by=1, reason="", until=None)
    told = await menu(linus, "Vary", await linus.wait_for(lambda m: m["id"] == done["id"]))
    assert "do not let you draw" in text_of(told)
    assert is_private(told)
    refused = await ask(linus, prompt="a")
    assert "do not let you draw" in text_of(refused)


def test_the_card_keeps_the_limits() -> None:
    ban = Ban(user_id=2, until=1_800_000_000.0, reason="@everyone " * 40, by=1, since=1_700_000_000.0)
    refusal = {"error_code": "refused", "error_facts": {"reason": "_" * 900}}
    refused = job(JobState.REFUSED, prompt="`" * 2000, **DONE | refusal)
    card = usage(2**63 - 1, FULL_QUOTA, ban, [refused] * 9)
    check_limits(card)
    assert "@everyone" not in texts(card)
    check_limits(usage(1, FULL_QUOTA, None, []))
    assert "Nothing yet." in texts(usage(1, FULL_QUOTA, None, []))
