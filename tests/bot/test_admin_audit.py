"""/admin audit: who changed what, in sentences, in pages, for those who may see it."""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.admin.audit import _CURSOR, _cursor
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from bot.words.audit_wording import LONGEST, PHRASES, told
from flux_core.database import audit
from flux_core.database.audit import Entry, Wanted
from tests.bot.conftest import Stage
from tests.bot.scenes import is_private

GUILD = int(GUILD_ID)


def entry(action: str, target: int | None = None, **facts: Any) -> Entry:
    return Entry(id=1, at=1000.0, by=7, action=action, target=target, facts=facts)


async def note(
    stage: Stage, *actions: str, guild: int = GUILD, by: int = 7, now: float | None = None, **more: Any
) -> None:
    """Write entries into the log, as an hour ago where nothing else is said."""
    at = time.time() - 3600 if now is None else now
    for action in actions:
        write = partial(audit.note, guild_id=guild, by=by, action=action, now=at, **more)
        await stage.studio._db.write(write)


async def say(person: Person, **options: Any) -> RawMessage:
    return await person.response(await person.command("admin audit", **options))


def lines_of(message: RawMessage) -> list[str]:
    return [line.split(" · ", 1)[1] for line in text_of(message).splitlines() if line.startswith("<t:")]


async def turned(person: Person, message: RawMessage, button: str, until: str) -> RawMessage:
    await person.press(message, button)
    return await person.wait_for(lambda m: m["id"] == message["id"] and until in text_of(m))


async def test_changes_are_told_newest_first_with_who_and_why(stage: Stage, ada: Person, grace: Person) -> None:
    assert "Nothing was changed in this time." in text_of(await say(grace))
    await grace.response(await grace.command("admin queue pause", reason="a *storm*"))
    await grace.response(await grace.command("admin provider cap", dollars="2.50"))
    listed = await say(grace)
    assert is_private(listed)
    assert lines_of(listed) == [
        f"<@{grace.id}> let hosted providers have at most $2.50 a day",
        f"<@{grace.id}> paused the queue: “a \\*storm\\*”",
    ]


async def test_entries_are_found_by_member_action_and_time(stage: Stage, ada: Person, grace: Person) -> None:
    assert stage.bot is not None
    await note(stage, "ban", target=int(ada.id), reason="spam")
    await note(stage, "unban", by=int(ada.id), target=5)
    await note(stage, "queue resume")
    await note(stage, "queue clear", now=time.time() - 3 * 86_400, waiting=2, refunded=2000)
    await note(stage, "ban", guild=GUILD + 1)
    await note(stage, "queue pause", guild=-1)
    assert lines_of(await say(grace, member=ada.id)) == [
        f"<@{ada.id}> lifted the ban of <@5>",
        f"<@7> banned <@{ada.id}>: “spam”",
    ]
    assert lines_of(await say(grace, action="/admin Queue  Clear")) == [
        "<@7> cleared the queue: 2 jobs cancelled, 2 credits given back"
    ]
    assert len(lines_of(await say(grace, days=2))) == 3
    assert len(lines_of(await say(grace))) == 4
    assert lines_of(await say(grace, everywhere=True)) == ["<@7> paused the queue"]
    offered = await grace.autocomplete("admin audit", "action", "an")
    assert [choice["value"] for choice in offered] == ["ban", "unban"]
    offered = await grace.autocomplete("admin audit", "action", "", everywhere=True)
    assert [choice["value"] for choice in offered] == ["queue pause"]
    for unknown in ("queue drain", "=1+1", "@everyone"):
        assert "There is no entry in the audit log about" in text_of(await say(grace, action=unknown))


async def test_pages_keep_to_what_was_asked_for(stage: Stage, grace: Person) -> None:
    target = int(grace.id)
    for number in range(20):
        await note(stage, "ban", target=target, reason=f"number {number}")
        await note(stage, "unban", target=target)
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    first = await say(grace, action="ban", member=grace.id, days=1)
    assert [line[-3:-1] for line in lines_of(first)] == [str(number) for number in range(19, 11, -1)]
    assert labels_of(first) == ["More"]
    second = await turned(grace, first, "More", "number 11”")
    assert [line.split("number ")[1] for line in lines_of(second)] == [f"{number}”" for number in range(11, 3, -1)]
    assert labels_of(second) == ["Back", "More"]
    third = await turned(grace, second, "More", "number 3”")
    assert len(lines_of(third)) == 4
    assert labels_of(third) == ["Back"]
    again = await turned(grace, third, "Back", "number 11”")
    assert lines_of(again) == lines_of(second)
    await note(stage, "ban", target=target, reason="number 20")
    newest = await turned(grace, again, "Back", "number 19”")
    assert lines_of(newest) == lines_of(first), "the page before is the one next to it"
    assert labels_of(newest) == ["Back", "More"]
    assert "number 20" in text_of(await turned(grace, newest, "Back", "number 20"))


async def test_the_log_is_for_those_who_run_the_server(stage: Stage, ada: Person, grace: Person) -> None:
    for _ in range(9):
        await note(stage, "queue resume")
        await note(stage, "queue resume", guild=-1)
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
    refusal = await say(ada)
    assert "Manage Server" in text_of(refusal)
    assert is_private(refusal)
    assert await ada.autocomplete("admin audit", "action", "") == []
    everywhere = await say(grace, everywhere=True)
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    assert "Only the bot's owner" in text_of(await say(grace, everywhere=True))
    assert await grace.autocomplete("admin audit", "action", "", everywhere=True) == []
    told = await grace.response(await grace.press(everywhere, "More"))
    assert "Only the bot's owner" in text_of(told), "the right is asked for with every page"


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(guild_id=None),
        Wanted(guild_id=GUILD, user_id=2**63 - 1, action="provider disable", since=499_999 * 3600),
        Wanted(guild_id=GUILD, user_id=5),
    ],
)
def test_a_cursor_says_all_that_was_asked_for(wanted: Wanted) -> None:
    cursor = f"{_cursor(wanted)}|b{10**8:x}"
    assert len(cursor) <= 60
    read = _CURSOR.fullmatch(cursor)
    assert read is not None
    assert (int(read["user"], 16) if read["user"] else None) == wanted.user_id
    assert int(read["id"], 16) == 10**8


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (entry("quota grant", 5, millicredits=2500, reason="a prize"), "gave 2.5 credits to <@5>: “a prize”"),
        (entry("quota grant", 5, millicredits=-1000), "took 1 credit back from <@5>"),
        (entry("quota grant", role="9", millicredits=1000, members=3), "gave 1 credit to <@&9> (3 members)"),
        (entry("quota grant", millicredits=1000, members=1), "gave 1 credit to everybody (1 member)"),
        (entry("quota set", 5, credits=5, max_waiting=3), "set limits of <@5>: credits 5, max waiting 3"),
        (entry("quota set", 5, clear=True), "set limits of <@5>: nothing any more"),
        (entry("tier edit", role="9", clear=True, count=2), "changed the tier of <@&9> anew: count 2"),
        (entry("quota server", cooldown_seconds=90.0, pool=5), "set what all share: cooldown 1 min 30 s, pool 5"),
        (entry("channel defaults", channel="8", clear=True), "set the options of <#8>: nothing any more"),
        (entry("tier remove", role="9", name="Art*ists"), "removed the tier “Art\\*ists”"),
        (entry("ban", 5, reason="", until=2000.0), "banned <@5> until <t:2000:f>"),
        (entry("channel deny", channel="8"), "allowed no pictures in <#8>"),
        (entry("channel defaults", channel="8", model="flux-dev"), "set the options of <#8>: model “flux-dev”"),
        (
            entry("provider set", routing={"first": "local", "order": "fastest", "providers": None}),
            "changed who draws: this studio's own machines first, the fastest hosted provider before others, "
            "all hosted providers may draw",
        ),
        (
            entry("provider set", routing={"providers": [], "overflow_seconds": 90}),
            "after 1 min 30 s, no hosted provider",
        ),
        (entry("provider set", routing={"providers": ["one", "two"]}), "changed who draws: one, two may draw"),
        (entry("provider cap", dollars=0.004), "at most $0.004 a day"),
        (entry("provider cap", dollars=None), "took back the cap of money for hosted providers"),
        (entry("queue cancel", 5, job="abc", refunded=1), "stopped a job of <@5> (`abc`)"),
        (entry("queue cancel", 5, waiting=2, running=1), "stopped 3 jobs of <@5>"),
        (entry("policy import", changes=2, changed=["pool", "tiers"]), "imported a policy: 2 changes (pool, tiers)"),
        (entry("review reject", 5, job="abc", reason="no"), "did not approve a picture of <@5> (`abc`): “no”"),
        (
            entry("blocklist add", kind="word", pattern="b@d", does="refuse", everywhere=True),
            "set prompts with the word “b@\u200bd” to be refused",
        ),
        (
            entry("blocklist add", kind="phrase", pattern="a b", does="approve", everywhere=False),
            "set prompts with the phrase “a b” to wait for a moderator, but not in age-restricted channels",
        ),
        (entry("blocklist remove", kind="word", pattern="bad"), "removed the rule about the word “bad”"),
        (
            entry("moderation output", does="age_restricted", threshold=0.55),
            "decided: pictures that are not for everybody are shown in age-restricted channels only, "
            "and the check has to be 55% sure",
        ),
        (entry("moderation output", threshold=0.5), "decided: the check has to be 50% sure"),
        (entry("moderation prompts", told=False), "let picture files not tell their prompt"),
        (entry("moderation channel", channel="8"), "sent approvals and reports to <#8>"),
        (
            entry("picture praise", pattern="b@d", everywhere=False, reason="fine"),
            "used **picture praise** (pattern “b@\u200bd”, everywhere no): “fine”",
        ),
        (entry("odd", 5, channel="8", ids=[1, 2], more={"a": None}), "used **odd** for <@5> (channel <#8>, ids 1, 2"),
    ],
)
def test_actions_are_told_in_sentences(written: Entry, sentence: str) -> None:
    assert sentence in told(written)
    assert told(written).startswith("<t:1000:f> · <@7> ")


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300)
facts = st.dictionaries(
    st.sampled_from(["reason", "role", "channel", "name", "job", "model", "x"]),
    plain | st.lists(plain, max_size=12) | st.dictionaries(st.text(max_size=5), plain, max_size=3),
)


@given(st.sampled_from([*PHRASES, "something new"]), st.none() | st.integers(1, 2**63 - 1), facts)
def test_any_facts_make_one_line_that_fits(action: str, target: int | None, facts: dict[str, Any]) -> None:
    line = told(entry(action, target, **facts))
    assert len(line) <= LONGEST
    assert "@everyone" not in line
    assert "\n" not in line


def test_every_action_that_is_noted_has_a_phrase_of_its_own() -> None:
    subjects = "quota|tier|channel|models|provider|queue|policy|blocklist|moderation|review|job"
    action = re.compile(rf'"((?:{subjects}) [a-z]+|ban|unban)"')
    root = Path(__file__).parents[2]
    sources = [*(root / "bot" / "commands" / "admin").glob("*.py"), *(root / "flux_core").rglob("*.py")]
    written = {found for source in sources for found in action.findall(source.read_text())}
    assert len(written) > 30
    assert written <= set(PHRASES)
