"""/admin queue: what waits and what is being drawn; hold it, let it run dry, take jobs out of it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.interactions.answers import answer
from bot.interactions.confirmation import confirm
from bot.interactions.paging import page_buttons, paged
from bot.layouts import queue_card
from bot.layouts.cards import Card
from bot.words.phrasing import counted, credits, escape
from flux_core.errors import JobAlreadyEnded, JobNotFound, NotThere
from flux_core.service import Studio

if TYPE_CHECKING:
    from bot.client import FluxBot

LONGEST_REASON = 200
"""Characters: members read it within one sentence, and its echo has to fit a message."""
PAGE = 8
"""Jobs shown at once."""
LOOKED_AT = 200
"""Jobs among which autocomplete looks for what was typed."""

Reason = app_commands.Range[str, 1, LONGEST_REASON]

queue = app_commands.Group(name="queue", description="What waits and what is being drawn.")


@queue.command(description="What waits and is being drawn, in the order of the turns.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """Tell how long the queue is and who is in it."""
    await answer(interaction, await _page(interaction, ""))


@paged("queue")
async def _page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    check(interaction)
    studio: Studio = interaction.client.studio
    guild_id = interaction.guild_id or 0
    crowd, stops = await studio.line.crowd(guild_id), await studio.line.stops(guild_id)
    skipped = int(cursor) if cursor.isdecimal() and len(cursor) < 9 else 0
    all_jobs = crowd.running + crowd.all_waiting
    if skipped >= all_jobs:  # the queue has become shorter since the button was made
        skipped = max(0, all_jobs - 1) // PAGE * PAGE
    jobs = await studio.line.in_turn(guild_id, skipped=skipped, limit=PAGE)
    last = await studio.line.in_turn(guild_id, skipped=all_jobs - 1, limit=1) if all_jobs else []
    places = await studio.places([*jobs, *last])
    rest = places[-1].seconds if last else None
    buttons = page_buttons(
        "queue",
        back=str(max(0, skipped - PAGE)) if skipped else None,
        on=str(skipped + PAGE) if skipped + PAGE < all_jobs else None,
    )
    shown = list(zip(jobs, places[: len(jobs)], strict=True))
    return queue_card.queue(crowd, stops, shown, skipped, rest, buttons, now=time.time())


@queue.command(description="Refuse new jobs and hold the waiting ones.")
@app_commands.describe(reason="What members read", everywhere="In every server (owner only)")
async def pause(
    interaction: discord.Interaction[FluxBot], reason: Reason | None = None, everywhere: bool = False
) -> None:
    """Pause this server's queue, or all of them."""
    await _stop(interaction, reason, everywhere, drains=False)


@queue.command(description="Refuse new jobs, and draw what waits already.")
@app_commands.describe(reason="What members read", everywhere="In every server (owner only)")
async def drain(
    interaction: discord.Interaction[FluxBot], reason: Reason | None = None, everywhere: bool = False
) -> None:
    """Let this server's queue, or all of them, run dry."""
    await _stop(interaction, reason, everywhere, drains=True)


async def _stop(
    interaction: discord.Interaction[FluxBot], reason: str | None, everywhere: bool, *, drains: bool
) -> None:
    check(interaction, everywhere=everywhere)
    line, guild_id = interaction.client.studio.line, None if everywhere else interaction.guild_id
    reason = (reason or "").strip()
    await line.pause(guild_id, by=interaction.user.id, reason=reason, drains=drains)
    done = f"Paused {_where(everywhere)}."
    if drains:
        done = f"New jobs are refused {_where(everywhere)}; what waits is still drawn."
    why = f" Members read: “{escape(reason)}”" if reason else ""
    resumed_by = "`/admin queue resume everywhere:True`" if everywhere else "`/admin queue resume`"
    await answer(interaction, f"{done} {resumed_by} lets it go on.{why}")


@queue.command(description="Let a paused or drained queue go on.")
@app_commands.describe(everywhere="In every server (owner only)")
async def resume(interaction: discord.Interaction[FluxBot], everywhere: bool = False) -> None:
    """End a pause, or a drain."""
    check(interaction, everywhere=everywhere)
    line, guild_id = interaction.client.studio.line, None if everywhere else interaction.guild_id
    ended = await line.resume(guild_id, by=interaction.user.id)
    left = [] if everywhere else await line.stops(guild_id)
    done = "Resumed here" if ended else f"Nothing was paused {_where(everywhere)}"
    if left:
        what = "drains" if left[0].drains else "has paused"
        await answer(interaction, f"{done}, but the bot's owner {what} every server for now.")
    elif ended:
        await answer(interaction, f"Drawing goes on {_where(everywhere)}.")
    else:
        await answer(interaction, f"{done}.")


@queue.command(description="Stop a job, or all of a member's.")
@app_commands.describe(job="Which one", member="All of this member's")
async def cancel(
    interaction: discord.Interaction[FluxBot], job: str | None = None, member: discord.User | None = None
) -> None:
    """Ask, and then take jobs out of the queue."""
    check(interaction)
    if (job is None) == (member is None):
        await answer(interaction, "Name either a `job` or a `member`.")
    elif member is not None:
        await _cancel_all_of(interaction, member)
    else:
        await _cancel_one(interaction, job or "")


async def _cancel_one(interaction: discord.Interaction[FluxBot], text: str) -> None:
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    found = await studio.job(text.strip())
    if found.account.guild_id != guild_id:
        raise JobNotFound(job=found.id)
    if found.state.ended:
        raise JobAlreadyEnded(state=found.state.value)

    async def act() -> str:
        stopped = await studio.line.cancel(guild_id, found.id, by=interaction.user.id)
        if stopped.state.ended:
            return f"Cancelled. {credits(stopped.cost)} went back to <@{stopped.account.user_id}>."
        return "It is being stopped; its cost goes back as soon as it has."

    question = f"Stop this job of <@{found.account.user_id}>?\n{queue_card.gist(found)}"
    await confirm(interaction, question, act, label="Stop it", guard=check)


async def _cancel_all_of(interaction: discord.Interaction[FluxBot], member: discord.User) -> None:
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    held = await studio.line.of_member(guild_id, member.id)
    if not held:
        raise NotThere(what="job of that member that waits or is being drawn")

    async def act() -> str:
        removed = await studio.line.cancel_of(guild_id, member.id, by=interaction.user.id)
        return f"Of <@{member.id}>: {queue_card.removed(removed)}"

    question = f"Stop {_all(len(held))} of <@{member.id}>? What was not drawn is not charged."
    await confirm(interaction, question, act, label="Stop them", guard=check)


@queue.command(description="Cancel everything that waits.")
@app_commands.describe(everywhere="In every server (owner only)")
async def clear(interaction: discord.Interaction[FluxBot], everywhere: bool = False) -> None:
    """Ask, and then empty the queue."""
    check(interaction, everywhere=everywhere)
    line, guild_id = interaction.client.studio.line, None if everywhere else interaction.guild_id or 0
    waiting = await line.waiting(guild_id)
    if not waiting:
        raise NotThere(what="waiting job")

    async def act() -> str:
        removed = await line.clear(guild_id, by=interaction.user.id)
        return f"Cleared {_where(everywhere)}: {queue_card.removed(removed)}"

    question = (
        f"Cancel {_all(waiting)} waiting {_where(everywhere)}? "
        "What waits for approval goes, too, and the credits go back. "
        "New jobs may come in meanwhile: `/admin queue pause` keeps them out."
    )
    await confirm(interaction, question, act, label="Clear the queue", guard=partial(check, everywhere=everywhere))


@cancel.autocomplete("job")
@choosing.for_moderators
async def offer_jobs(interaction: discord.Interaction[Any], typed: str) -> list[app_commands.Choice[str]]:
    """Offer what waits and runs here, in the order of the turns."""
    found = await interaction.client.studio.line.in_turn(interaction.guild_id or 0, limit=LOOKED_AT)
    wanted = typed.strip().lower()
    named = [(queue_card.name(job), job.id) for job in found]
    return [choosing.choice(name, id) for name, id in named if wanted in name.lower() or wanted in id]


def _all(jobs: int) -> str:
    return "the one job" if jobs == 1 else f"all {counted(jobs, 'job')}"


def _where(everywhere: bool) -> str:
    return "in every server" if everywhere else "in this server"
