"""/admin blocklist: rules about prompts are added, tried, listed and taken out, and members meet them."""

from __future__ import annotations

from typing import Any

import pytest

from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.moderation.rule_edits import name_of
from flux_core.policy.guild import MOST_RULES, GuildPolicy, PromptRule
from tests.bot.conftest import Stage
from tests.bot.governing import answered, as_read, decided, log, nothing_changes, offered, open_admin, say
from tests.bot.scenes import ask, is_private

GUILD = int(GUILD_ID)


async def keep(stage: Stage, **policy: Any) -> None:
    await stage.studio.policies.change(GUILD, lambda _: GuildPolicy(**policy), by=1, action="policy import")


async def test_a_rule_is_added_met_and_taken_out(stage: Stage, ada: Person, grace: Person) -> None:
    assert await say(grace, "blocklist add", kind="word", pattern=" bomb ") == (
        "From now on: the word “bomb”: is refused. `/admin blocklist test` tries it out."
    )
    refusal = await ask(ada, prompt="a b.0.m.b on a table")
    assert is_private(refusal)
    assert "do not allow that prompt (“b.0.m.b”)" in as_read(refusal)
    assert await stage.studio.live_jobs() == []
    ((name, value),) = await offered(grace, "blocklist remove", "rule", "BOM")
    assert name == "word: bomb (refuse)"
    assert await say(grace, "blocklist remove", rule=value) == "No rule any more: the word “bomb”: is refused."
    assert (await decided(stage)).prompt_rules == ()
    entries = [(entry.action, entry.by, dict(entry.facts)) for entry in await log(stage)]
    assert entries == [
        ("blocklist remove", int(grace.id), {"kind": "word", "pattern": "bomb"}),
        ("blocklist add", int(grace.id), {"kind": "word", "pattern": "bomb", "does": "refuse", "everywhere": True}),
    ]


async def test_a_rule_for_the_same_pattern_is_replaced(stage: Stage, ada: Person, grace: Person) -> None:
    await say(grace, "blocklist add", kind="word", pattern="gun")
    told = await say(grace, "blocklist add", kind="word", pattern="gun", action="spoiler", everywhere=False)
    assert "the word “gun”: hides the pictures until clicked, but not in age-restricted channels." in told
    assert (await decided(stage)).prompt_rules == (
        PromptRule(kind="word", pattern="gun", action="spoiler", everywhere=False),
    )
    await say(grace, "blocklist add", kind="regex", pattern="gun")
    assert len((await decided(stage)).prompt_rules) == 2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"kind": "regex", "pattern": "("}, "no regular expression in RE2's syntax (missing ): ()"),
        ({"kind": "regex", "pattern": "x*"}, "would match every prompt"),
        ({"kind": "word", "pattern": "two words"}, "more than one word: make it a phrase"),
        ({"kind": "word", "pattern": "?!"}, "no letters or digits"),
        ({"kind": "phrase", "pattern": "x"}, "single letter"),
        ({"kind": "phrase", "pattern": "x" * 301}, "300"),
        ({"kind": "sentence", "pattern": "abc"}, "kind"),
        ({"kind": "word", "pattern": "gun", "action": "approve"}, "with /admin moderation channel first"),
        ({"kind": "word", "pattern": "there"}, "Nothing to change: that rule is there already."),
    ],
)
async def test_what_makes_no_sense_changes_nothing(
    stage: Stage, grace: Person, options: dict[str, Any], why: str
) -> None:
    await keep(stage, prompt_rules=(PromptRule(kind="word", pattern="there"),))
    async with nothing_changes(stage):
        assert why in await say(grace, "blocklist add", **options)


async def test_no_more_rules_than_can_be_kept(stage: Stage, grace: Person) -> None:
    await keep(stage, prompt_rules=tuple(PromptRule(kind="word", pattern=f"no{n}x") for n in range(MOST_RULES)))
    async with nothing_changes(stage):
        assert f"there are {MOST_RULES} rules already" in await say(grace, "blocklist add", kind="word", pattern="last")
    assert len(await offered(grace, "blocklist remove", "rule", "no1")) == 25
    assert "is refused" in await say(grace, "blocklist add", kind="word", pattern="no7x", everywhere=False)


async def test_which_rule_to_remove_has_to_be_clear(stage: Stage, grace: Person) -> None:
    rules = (PromptRule(kind="word", pattern="gun"), PromptRule(kind="phrase", pattern="gun"))
    await keep(stage, prompt_rules=(*rules, PromptRule(kind="phrase", pattern="big gun" + "s" * 200)))
    async with nothing_changes(stage):
        assert "several rules have that pattern" in await say(grace, "blocklist remove", rule="gun")
        assert "There is no rule “pistol” here" in await say(grace, "blocklist remove", rule="pistol")
    names = await offered(grace, "blocklist remove", "rule", "phrase")
    assert [value for _, value in names] == [name_of(rule) for rule in (await decided(stage)).prompt_rules[1:]]
    assert all(len(name) <= 100 for name, _ in names)
    await say(grace, "blocklist remove", rule=name_of(rules[1]))
    assert "No rule any more: the word “gun”" in await say(grace, "blocklist remove", rule="gun")


async def test_the_rules_are_listed_in_pages(stage: Stage, grace: Person) -> None:
    assert "Any prompt is drawn." in await say(grace, "blocklist show")
    patterns = [f"no*{n}*{'x' * 280}" for n in range(25)]
    await keep(stage, prompt_rules=tuple(PromptRule(kind="phrase", pattern=pattern) for pattern in patterns))
    first = await answered(grace, "blocklist show")
    assert "1 to 10 of 25" in as_read(first)
    assert "the phrase “no*0*xxx" in as_read(first)
    assert "no\\*0\\*" in text_of(first)
    await grace.press(first, "More")
    second = await grace.wait_for(lambda m: m["id"] == first["id"] and "11 to 20 of 25" in text_of(m))
    assert labels_of(second) == ["Back", "More"]


async def test_a_prompt_is_tried_out(stage: Stage, grace: Person) -> None:
    await keep(
        stage,
        moderators_channel=5,
        prompt_rules=(
            PromptRule(kind="word", pattern="nude", everywhere=False),
            PromptRule(kind="phrase", pattern="big cat", action="approve"),
            PromptRule(kind="regex", pattern="g.n", action="spoiler"),
        ),
    )
    async with nothing_changes(stage):
        assert await say(grace, "blocklist test", prompt="a house") == "“a house” is drawn: no rule matches."
        assert await say(grace, "blocklist test", prompt="a B1G  cat") == (
            "“a B1G cat” waits for a moderator: “B1G cat” is the phrase “big cat”."
        )
        assert await say(grace, "blocklist test", prompt="n-u-d-e with a gun") == (
            "“n-u-d-e with a gun”\n"
            "- in most channels is refused: “n-u-d-e” is the word “nude”.\n"
            "- in age-restricted channels hides the pictures until clicked: “gun” is the expression “g.n”."
        )
    assert await stage.studio.live_jobs() == []


async def test_only_moderators_may(stage: Stage, ada: Person, grace: Person) -> None:
    await say(grace, "blocklist add", kind="word", pattern="secret")
    listed = await answered(grace, "blocklist show")
    open_admin(stage)
    async with nothing_changes(stage):
        for command, options in (
            ("blocklist add", {"kind": "word", "pattern": "gun"}),
            ("blocklist remove", {"rule": "secret"}),
            ("blocklist show", {}),
            ("blocklist test", {"prompt": "a secret"}),
        ):
            refusal = await say(ada, command, **options)
            assert "Manage Server" in refusal
            assert "secret" not in refusal
        assert await offered(ada, "blocklist remove", "rule") == []
    assert "“secret”" in as_read(listed)
