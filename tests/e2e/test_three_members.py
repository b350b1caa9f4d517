"""A community in order: a moderator, a patron and a member, with the real bot and a real worker."""

from __future__ import annotations

import json
import re

import pytest

from bot.sandbox.community import ADA_ID, LINUS_ID, PATRON_ROLE_ID
from bot.sandbox.reading import labels_of, pictures_of, text_of
from tests.e2e.installation import kill

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
LONG = 240


async def say(person, command, /, **options):
    """Give a command and return what its private answer says, without the backslashes that keep markdown away."""
    answer = await person.response(await person.command(command, options), LONG)
    assert answer["ephemeral_for"] == person.id
    return as_read(answer)


def as_read(message):
    return re.sub(r"\\([^\w\s])", r"\1", text_of(message))


async def became(person, message, what):
    """Wait until a message has what a person waits for: words, or a button."""
    return await person.wait_for(
        lambda m: m["id"] == message["id"] and (what in labels_of(m) or what in as_read(m)), LONG
    )


async def place(person, name):
    return next(channel["id"] for channel in (await person.world())["channels"] if channel["name"] == name)


async def test_a_day_of_a_community_in_order(installation, sandbox, ada, linus, grace):
    bot = await installation.bot()
    await installation.worker()

    # Grace writes the rules. A picture of flux-tiny costs half a credit.
    await say(grace, "admin quota set", credits=1, renews="day", at="06:00", timezone="Europe/Berlin", waiting=5)
    assert "Patron" in await say(grace, "admin tier add", role=PATRON_ROLE_ID, credits=20, weight=2)
    await say(grace, "admin channel deny", channel=await place(grace, "general"))
    await say(grace, "admin moderation channel", channel=await place(grace, "moderators"))
    await say(grace, "admin blocklist add", kind="word", pattern="dragon", action="approve")
    assert "dragon" in await say(grace, "admin blocklist test", prompt="a red d r a g o n")

    # Nobody draws where it is denied, and members cannot govern.
    elsewhere = await ada.command("imagine", {"prompt": "a boat", "count": 1}, channel="general")
    assert "not drawn in this channel" in as_read(await ada.response(elsewhere))
    with pytest.raises(Exception, match="permission"):
        await ada.command("admin quota set", credits=100)

    # Ada's prompt needs a moderator's yes, which outlives the bot.
    first = await ada.response(await ada.command("imagine", prompt="a red dragon --seed 4", count=1), LONG)
    waiting = await became(ada, first, "Waits for a moderator")
    asked = await grace.wait_for(lambda m: "Approve" in labels_of(m), LONG)
    assert "a red dragon" in text_of(asked)
    assert await ada.message(asked["id"]) is None, "only moderators see it"
    await kill(bot)
    await installation.bot()
    await grace.press(asked, "Approve")
    await became(grace, asked, "Approved")
    dragon = await became(ada, waiting, "Reroll")
    assert len(pictures_of(dragon)) == 1

    # Ada's allowance ends where Linus's does not.
    boat = await ada.response(await ada.command("imagine", prompt="a boat", count=1), LONG)
    boat = await became(ada, boat, "Reroll")
    assert "credit" in await say(ada, "imagine", prompt="a star", count=1)
    assert "Patron" in await say(linus, "quota")
    four = await linus.response(await linus.command("imagine", prompt="a yellow star", count=4), LONG)
    assert len(pictures_of(await became(linus, four, "Reroll"))) == 4
    await say(grace, "admin quota grant", member=ADA_ID, credits=2, reason="for the dragon", expires="7d")

    # Linus reports two pictures; Grace deletes one, and bans for the other.
    for picture, verdict in ((dragon, "Delete"), (boat, "Ban")):
        seen = await linus.wait_for(lambda m, id=picture["id"]: m["id"] == id and pictures_of(m), LONG)
        opened = await linus.message_menu("Report", seen)
        thanks = await linus.submit_modal(opened, {"What is wrong with it?": f"I do not like {verdict}."})
        assert "moderators" in as_read(await linus.response(thanks, LONG))
        report = await grace.wait_for(
            lambda m, v=verdict: f"I do not like {v}" in as_read(m) and "Dismiss" in labels_of(m), LONG
        )
        pressed = await grace.press(report, verdict)
        if verdict == "Ban":
            await grace.submit_modal(pressed, {"How long": ["1 day"], "Reason": "the boat"})
        await linus.wait_gone(picture["id"], LONG)
    assert "the boat" in await say(ada, "imagine", prompt="a star", count=1)
    assert "Ada" in await say(grace, "admin bans") or f"<@{ADA_ID}>" in await say(grace, "admin bans")
    await say(grace, "admin unban", member=ADA_ID)
    star = await ada.response(await ada.command("imagine", prompt="a star", count=1), LONG)
    await became(ada, star, "Reroll")

    # The rules leave as a file, are edited, and come back after a look at what changes.
    exported = await grace.response(await grace.command("admin policy export"), LONG)
    policy = json.loads(await grace.download(exported["attachments"][0]["url"]))
    assert policy["everybody"]["credits"] == 1
    assert [(tier["role_id"], tier["credits"]) for tier in policy["tiers"]] == [(PATRON_ROLE_ID, 20)]
    assert policy["prompt_rules"][0]["pattern"] == "dragon"
    broken = await grace.upload(json.dumps(policy | {"colour": "red"}).encode(), "broken.json")
    assert "colour" in await say(grace, "admin policy import", file=broken)
    policy["everybody"]["credits"] = 30
    edited = await grace.upload(json.dumps(policy).encode(), "policy.json")
    question = await grace.response(await grace.command("admin policy import", file=edited), LONG)
    assert "30" in as_read(question)
    await grace.press(question, "Apply")
    await became(grace, question, "Applied")
    assert "30" in await say(ada, "quota")

    # What was drawn, and what was decided.
    usage = await grace.response(await grace.command("admin usage", by="member"), LONG)
    assert "Linus" in as_read(usage)
    kinds = {file["filename"].rpartition(".")[2] for file in usage["attachments"]}
    assert kinds == {"csv", "png"}
    assert "Ada" in as_read(usage)
    audit = as_read(await grace.response(await grace.command("admin audit"), LONG))
    assert f"<@{ADA_ID}>" in audit
    more = await grace.response(await grace.command("admin audit", action="quota grant"), LONG)
    assert "for the dragon" in as_read(more)
    for action in ("quota set", "tier add", "channel deny", "moderation channel", "blocklist add", "policy import"):
        assert await say(grace, "admin audit", action=action), action
    assert LINUS_ID not in await say(grace, "admin audit", member=ADA_ID)
