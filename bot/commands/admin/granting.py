"""/admin quota grant, reset: credits that moderators give, take back, or give back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import discord
from discord import app_commands

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.commands.admin.quota import quota
from bot.interactions.answers import answer, think
from bot.interactions.confirmation import confirm
from bot.interactions.whereabouts import roles_of
from bot.words import durations
from bot.words.phrasing import counted, credits, moment
from flux_core.errors import InvalidPolicy, OutOfRange
from flux_core.jobs import Account
from flux_core.models import CREDIT

if TYPE_CHECKING:
    from bot.client import FluxBot

MOST_GRANTED = 100_000.0
"""Credits in one grant: a slip of the finger stays repairable."""
LONGEST_REASON = 200
"""Characters: members read it within one sentence, and its echo has to fit a message."""
_BUT = ", apart from what is reserved for jobs that wait or run"

Reason = app_commands.Range[str, 1, LONGEST_REASON]
Granted = app_commands.Range[float, -MOST_GRANTED, MOST_GRANTED]


@quota.command(description="Give credits to a member, a role or everybody; a negative amount takes a member's back.")
@app_commands.describe(
    amount="How many",
    member="Who gets them",
    role="Everybody with this role who has drawn here",
    server="Everybody who has drawn here",
    reason="Why; kept with the grant",
    expires="When they are gone, such as 7d or 2026-12-31; left out: they do not expire",
)
@app_commands.rename(amount="credits")
@app_commands.autocomplete(expires=choosing.lengths)
async def grant(
    interaction: discord.Interaction[FluxBot],
    amount: Granted,
    member: discord.User | None = None,
    role: discord.Role | None = None,
    server: bool = False,
    reason: Reason | None = None,
    expires: str | None = None,
) -> None:
    """Add to granted credits, or take them back; to many, after a question."""
    check(interaction)
    _exactly_one(member, role, server)
    millicredits, why = _whole(amount), (reason or "").strip()
    studio, guild_id, by = interaction.client.studio, interaction.guild_id or 0, interaction.user.id
    ends = None
    if expires is not None:
        renewal = (await studio.policies.of(guild_id)).everybody.renewal
        zone = studio.rules.zone if renewal is None or renewal.zone is None else ZoneInfo(renewal.zone)
        ends = durations.parse_end(expires, time.time(), zone)
    if millicredits < 0 and (member is None or ends is not None):
        raise InvalidPolicy(problems=["credits are taken back from one member at a time, and at once"])
    until = "" if ends is None else f", until {moment(ends, 'f')}"
    if member is None:

        async def act() -> str:
            reached = await studio.members.grant_all(
                guild_id, _role_of(role), millicredits, by=by, reason=why, expires_at=ends
            )
            return f"Gave {credits(millicredits)} each to {_reached(reached, role)}{until}."

        many = await studio.members.reach(guild_id, _role_of(role))
        question = (
            f"Give {credits(millicredits)} each to {_reached(many, role)}{until}? "
            "They can be taken back from one member at a time only."
        )
        await confirm(interaction, question, act, label="Give", guard=check)
        return
    account = Account(guild_id, member.id)
    # Whoever is told by Discord that nobody answered gives the credits once more.
    await think(interaction)
    try:
        left = await studio.members.grant(
            account, millicredits, by=by, reason=why, expires_at=ends, role_ids=roles_of(member)
        )
    except OutOfRange as error:
        held = credits(-error.facts["low"])
        await answer(interaction, f"<@{member.id}> has {held} left of what was granted; no more can be taken back.")
        return
    done = f"Gave {credits(millicredits)} to" if millicredits > 0 else f"Took {credits(-millicredits)} back from"
    await answer(
        interaction,
        f"{done} <@{member.id}>{until}. Granted credits now: {credits(left.granted)}; {credits(left.left)} in all.",
    )


@quota.command(description="Make this period's allowance full again, of a member, a role or everybody.")
@app_commands.describe(
    member="Whose", role="Everybody's with this role who has drawn here", server="Everybody's who has drawn here"
)
async def reset(
    interaction: discord.Interaction[FluxBot],
    member: discord.User | None = None,
    role: discord.Role | None = None,
    server: bool = False,
) -> None:
    """Give back what was spent of the allowance; of many, after a question."""
    check(interaction)
    _exactly_one(member, role, server)
    members, guild_id, by = interaction.client.studio.members, interaction.guild_id or 0, interaction.user.id
    if member is not None:
        given = await members.reset(Account(guild_id, member.id), by=by, role_ids=roles_of(member))
        await answer(
            interaction, f"Gave {credits(given)} back to <@{member.id}>: this period's allowance is full again{_BUT}."
        )
        return

    async def act() -> str:
        reached = await members.reset_all(guild_id, _role_of(role), by=by)
        return f"The allowance of {_reached(reached, role)} is full again{_BUT}."

    who = "everybody who has drawn here" if role is None else f"everybody with <@&{role.id}> who has drawn here"
    await confirm(
        interaction,
        f"Give back to {who} what they have spent of their allowance in this period?",
        act,
        label="Reset",
        guard=check,
    )


def _exactly_one(member: discord.User | None, role: discord.Role | None, server: bool) -> None:
    if sum((member is not None, role is not None, server)) != 1:
        raise InvalidPolicy(problems=["say for whom: one of member, role, and server: True"])


def _whole(amount: float) -> int:
    """Return thousandths of a credit; raises OutOfRange, and InvalidPolicy for nothing."""
    if not -MOST_GRANTED <= amount <= MOST_GRANTED:  # what is no number is not between them, either
        raise OutOfRange(field="credits", value=amount, low=-MOST_GRANTED, high=MOST_GRANTED)
    millicredits = round(amount * CREDIT)
    if millicredits == 0:
        raise InvalidPolicy(problems=[f"that gives nothing: {credits(1)} is the least"])
    return millicredits


def _role_of(role: discord.Role | None) -> int | None:
    return None if role is None or role.is_default() else role.id


def _reached(number: int, role: discord.Role | None) -> str:
    who = counted(number, "member")
    return who if role is None or role.is_default() else f"{who} who had <@&{role.id}> when they ordered last"
