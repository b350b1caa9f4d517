"""/admin channel: where pictures are drawn, and with which options."""

from __future__ import annotations

from typing import Any

from bot.sandbox.community import STUDIO_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.policy.guild import ChannelRule, Defaults
from tests.bot.conftest import Stage
from tests.bot.governing import GUILD, answered, as_read, decided, log, nothing_changes, offered, open_admin, say
from tests.bot.scenes import order

STUDIO = int(STUDIO_ID)


async def channel_id(person: Person, name: str) -> str:
    return next(str(channel["id"]) for channel in (await person.world())["channels"] if channel["name"] == name)


async def test_pictures_are_drawn_only_in_allowed_channels_and_never_in_denied_ones(
    stage: Stage, grace: Person, ada: Person
) -> None:
    general = await channel_id(ada, "general")
    told = await say(grace, "channel deny", channel=general)
    assert f"No pictures are drawn in <#{general}> any more." in told
    assert "in every channel that is not denied" in told
    refusal = text_of(await ada.response(await ada.command("imagine", prompt="a", channel="general")))
    assert "not drawn in this channel" in refusal
    await order(stage, ada, prompt="a", count=1)
    told = await say(grace, "channel allow")
    assert f"Pictures are drawn in <#{STUDIO}>. Pictures are drawn in the allowed channels alone." in told
    refusal = text_of(await ada.response(await ada.command("imagine", prompt="a", channel="age-restricted")))
    assert f"Try <#{STUDIO}>" in refusal
    assert (await decided(stage)).channels == (
        ChannelRule(channel_id=int(general), allowed=False),
        ChannelRule(channel_id=STUDIO, allowed=True),
    )
    shown = await say(grace, "channel show")
    assert f"<#{general}>: not drawn here" in shown
    assert f"<#{STUDIO}>: drawn here" in shown
    assert "has no rules of its own any more" in await say(grace, "channel reset")
    await say(grace, "channel reset", channel=general)
    assert (await decided(stage)).channels == ()
    assert "No channel has rules." in await say(grace, "channel show")
    assert [(entry.action, entry.facts) for entry in (await log(stage))[::-1]] == [
        ("channel deny", {"channel": general}),
        ("channel allow", {"channel": STUDIO_ID}),
        ("channel reset", {"channel": STUDIO_ID}),
        ("channel reset", {"channel": general}),
    ]


async def test_a_thread_is_its_channel_unless_it_is_named(stage: Stage, grace: Person) -> None:
    thread = await channel_id(grace, "colour studies")
    await say(grace, "channel deny", within="colour studies")
    assert [rule.channel_id for rule in (await decided(stage)).channels] == [STUDIO]
    await say(grace, "channel allow", channel=thread)
    assert [rule.channel_id for rule in (await decided(stage)).channels] == [STUDIO, int(thread)]


async def test_options_of_a_channel_are_taken_where_a_member_names_none(
    stage: Stage, grace: Person, ada: Person
) -> None:
    told = await say(grace, "channel defaults", model="flux-dev", count=1, steps=20, format="png", aspect="16:9")
    for part in ("model flux-dev", "count 1", "steps 20", "format png", "aspect 16:9"):
        assert part in told
    await order(stage, ada, prompt="a")
    job = (await stage.studio.live_jobs())[0].job
    assert (job.request.model, job.request.count, job.request.steps) == ("flux-dev", 1, 20)
    assert job.request.output_format == "png"
    assert job.request.width > job.request.height
    await order(stage, ada, prompt="a", model="flux-tiny", count=2)
    chosen = [one.job.request for one in await stage.studio.live_jobs()]
    assert ("flux-tiny", 2) in [(request.model, request.count) for request in chosen]
    await say(grace, "channel defaults", spoiler=True, private=False)
    [rule] = (await decided(stage)).channels
    assert rule == ChannelRule(
        channel_id=STUDIO,
        defaults=Defaults(
            model="flux-dev", count=1, steps=20, output_format="png", aspect="16:9", spoiler=True, private=False
        ),
    )
    assert "spoiler yes · private no" in await say(grace, "channel show")
    told = await say(grace, "channel defaults", clear=True, count=2)
    assert (await decided(stage)).channels == (ChannelRule(channel_id=STUDIO, defaults=Defaults(count=2)),)
    assert "has no options of its own" in await say(grace, "channel defaults", clear=True)
    assert (await decided(stage)).channels == ()
    assert (await log(stage))[0].facts == {"channel": STUDIO_ID, "clear": True}


async def test_bad_channels_are_explained_and_change_nothing(stage: Stage, grace: Person) -> None:
    await say(grace, "channel deny")
    await say(grace, "channel defaults", model="flux-schnell")
    bad: list[tuple[str, dict[str, Any], str]] = [
        ("channel deny", {}, f"<#{STUDIO}> is denied already"),
        ("channel reset", {"channel": "general"}, "There is no rule for the channel “general” here"),
        ("channel defaults", {}, "say at least one option"),
        ("channel defaults", {"model": "sdxl"}, "There is no model “sdxl” here"),
        ("channel defaults", {"steps": 50}, "`steps` can be"),
        ("channel defaults", {"steps": 500}, "200"),
        ("channel defaults", {"count": 9}, "`count` can be 1 to 4 here, not 9."),
        ("channel defaults", {"aspect": "1:7"}, "choice"),
        ("channel defaults", {"format": "gif"}, "choice"),
        ("channel defaults", {"model": "flux-schnell"}, "That is so already."),
        ("channel defaults", {"channel": "general", "clear": True}, "That is so already."),
        ("channel allow", {"channel": "12"}, "names no channel that exists here"),
    ]
    general = await channel_id(grace, "general")
    async with nothing_changes(stage):
        for command, options, sentence in bad:
            given = options | ({"channel": general} if options.get("channel") == "general" else {})
            assert sentence in await say(grace, command, **given), (command, options)


async def test_many_channels_are_shown_in_pages(stage: Stage, grace: Person) -> None:
    rules = tuple(ChannelRule(channel_id=1000 + n, allowed=False) for n in range(11))
    await stage.studio.policies.change(
        GUILD, lambda before: before.model_copy(update={"channels": rules}), by=1, action="policy import"
    )
    page = await answered(grace, "channel show")
    assert labels_of(page) == ["More"]
    await grace.press(page, "More")
    page = await grace.wait_for(lambda m: m["id"] == page["id"] and "<#1010>" in text_of(m))
    assert "11 to 11 of 11" in as_read(page)
    assert labels_of(page) == ["Back"]
    # Who has lost the right meanwhile turns no page.
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    stage.sandbox.world.community.people[grace.id].role_ids = ()
    refusal = await grace.response(await grace.press(page, "Back"))
    assert "Manage Server" in text_of(refusal)


async def test_a_member_without_the_right_sees_and_changes_nothing(stage: Stage, grace: Person, ada: Person) -> None:
    await say(grace, "channel defaults", count=1)
    open_admin(stage)
    async with nothing_changes(stage):
        for command in ("channel show", "channel allow", "channel deny", "channel reset"):
            assert "Manage Server" in await say(ada, command), command
        assert "Manage Server" in await say(ada, "channel defaults", count=4)
        assert await offered(ada, "channel defaults", "model") == []
    assert [value for _, value in await offered(grace, "channel defaults", "model", "dev")] == ["flux-dev"]
