"""Every option of every command below /admin is given what does not belong there, as far as Discord's client sends it.

Whatever it is: the answer comes privately, within Discord's limits, foreseen and harmless to read; and what was refused
has changed nothing. A change that was made has exactly one entry in the audit log.
"""

from __future__ import annotations

from typing import Any

import pytest
from discord import app_commands

from bot.sandbox.community import GRACE_ID, LINUS_ID, MODERATOR_ROLE_ID, PATRON_ROLE_ID
from bot.sandbox.driver import Person, Refused
from bot.sandbox.reading import RawMessage, text_of
from flux_core.database.audit import Wanted
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Origin
from flux_core.service import Submission
from tests.bot.conftest import Stage
from tests.bot.governing import GUILD, held, say
from tests.bot.scenes import is_private
from tests.bot.test_admin_doors import DOORS, Option

NASTY = {
    "nothing": " ",
    "a number": "7",
    "no number": "nan",
    "endless": "-inf",
    "below": "-1",
    "much": "1e999",
    "digits": "9" * 5000,
    "unknown": "00000000-0000-0000-0000-000000000000",
    "an id": "99999999999999999",
    "signs": "🦊🏳️‍🌈 ٣ ５",
    "a long s": "5ſ",
    "foreign digits": "٠٣:٠٠",
    "markdown": "**`|| <@&1> <@1> @everyone @here [x](https://x.example) # ~~",
    "lines": "a\n# b\n> c\n```d",
    "commas": ", , ,,",
    "turned": "\u202egnp.exe\u200b\u2066",
    "zero": "a\x00b",
    "sql": "'; DROP TABLE bans; --",
    "much space": f"1{' ' * 5000}s",
    "long": "x" * 6000,
    "wide": "😀" * 3000,
}
WORDS = {
    ("blocklist add", "pattern"),
    ("quota grant", "reason"),
    ("ban", "reason"),
    ("queue pause", "reason"),
    ("queue drain", "reason"),
    ("blocklist remove", "rule"),  # one that was added with the same words
}
"""Options that take any words."""
MEANT = {("provider cap", "dollars", NASTY["a number"]), ("quota server", "cooldown", NASTY["much space"])}
"""What makes sense after all."""
NUMBERS = (float("nan"), float("inf"), -1e300, -1, -0.0, 0, 1e-9, 0.0000001, 0.5, 1e300, 2**53, 10**30)


def wrong(option: app_commands.Parameter) -> list[Any]:
    """Return values of the option's own type that it cannot use, and some that it can, just."""
    match option.type:
        case Option.string:
            return list(NASTY.values())
        case Option.integer | Option.number:
            edges = [edge for edge in (option.min_value, option.max_value) if edge is not None]
            return [*NUMBERS, *edges, *(edge - 1 for edge in edges), *(edge + 1 for edge in edges)]
        case Option.boolean:
            return [False, True]
    return ["0", "-1", "99999999999999999", str(2**64), "x", GRACE_ID, PATRON_ROLE_ID, str(GUILD)]


SET_ASIDE: dict[str, dict[str, Any]] = {
    "quota grant": {"member": LINUS_ID},
    "quota set": {"weight": 2},
    "tier add": {"role": MODERATOR_ROLE_ID, "weight": 2},
    "tier edit": {"tier": PATRON_ROLE_ID, "count": 3},
    "blocklist add": {"kind": "phrase"},
    "channel defaults": {"count": 2},
}
"""What else is said, so that a command gets as far as the option in question."""


async def others(person: Person, command: app_commands.Command[Any, ..., Any], without: str) -> dict[str, Any]:
    """Return fitting values for the options that a command cannot be given without."""
    channel = (await person.world())["channels"][0]["id"]
    fitting: dict[Any, Any] = {
        Option.string: "7d",
        Option.boolean: True,
        Option.user: LINUS_ID,
        Option.role: PATRON_ROLE_ID,
        Option.channel: channel,
        Option.number: 1.0,
        Option.integer: 1,
    }
    given = {
        option.display_name: option.choices[0].value if option.choices else fitting[option.type]
        for option in command.parameters
        if option.required and option.display_name != without
    }
    given |= SET_ASIDE.get(command.qualified_name.removeprefix("admin "), {})
    given.pop(without, None)
    return given


async def entries(stage: Stage) -> int:
    page = await stage.studio.audit.page(Wanted(guild_id=GUILD), limit=10_000)
    everywhere = await stage.studio.audit.page(Wanted(guild_id=None), limit=10_000)
    return len(page.entries) + len(everywhere.entries)


def is_clear(answer: RawMessage, what: object) -> None:
    """Fail for what nobody foresaw, what nobody can read, and what would ping."""
    text = text_of(answer)
    assert is_private(answer)
    assert 0 < len(text) <= 4000, (what, text)
    assert "read: “”" not in text, (what, text)
    for unwanted in ("Something went wrong", "Traceback", "None", "@everyone", "@here", "<@&1>", "](https://x"):
        assert unwanted not in text, (what, text)


SUBJECTS = sorted({command.qualified_name.split()[1] for command in DOORS})


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_bad_input_is_told_and_changes_nothing(stage: Stage, grace: Person, subject: str) -> None:
    await say(grace, "tier add", role=PATRON_ROLE_ID, credits=5)
    for command in DOORS:
        name = command.qualified_name.removeprefix("admin ")
        if name.split()[0] != subject:
            continue
        for option in command.parameters:
            if option.type is Option.attachment:
                continue  # files have tests of their own
            given = await others(grace, command, option.display_name)
            before, noted = await held(stage), await entries(stage)
            for value in wrong(option):
                what = (name, option.display_name, value)
                try:
                    sent = await grace.command(f"admin {name}", {**given, option.display_name: value})
                except (Refused, ValueError):  # Discord's own client says no, or no JSON has such a number
                    continue
                is_clear(await grace.response(sent), what)
                was, before, had, noted = before, await held(stage), noted, await entries(stage)
                changed = before != was
                assert noted - had == int(changed), what
                assert not changed or option.type is not Option.string or what[:2] in WORDS or what in MEANT, what


async def test_suggestions_for_whatever_is_typed_fit_discord(
    stage: Stage, grace: Person, caplog: pytest.LogCaptureFixture
) -> None:
    await say(grace, "tier add", role=PATRON_ROLE_ID, credits=5)
    await say(grace, "blocklist add", kind="phrase", pattern=f"a{'*' * 298}b")
    for number in range(30):
        request = resolve(RequestOptions(prompt="**@everyone** " * 20, count=1), stage.studio.catalogue)
        account = Account(GUILD, 100 + number)
        await stage.studio.submit(Submission(account=account, request=request, origin=Origin.SHELL))
    for command in DOORS:
        for option in command.parameters:
            if not option.autocomplete:
                continue
            name = (command.qualified_name, option.display_name)
            for typed in ("", "a", "flux-tiny, ", "*", *NASTY.values()):
                offered = await grace.autocomplete(*name, typed)
                assert len(offered) <= 25, name
                assert all(0 < len(choice["name"].strip()) <= 100 for choice in offered), name
                assert all(0 < len(choice["value"]) <= 100 for choice in offered), name
    assert "could not be offered" not in caplog.text
    assert "nothing could be offered" not in caplog.text
