"""/admin usage: who drew how much with what."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import TYPE_CHECKING, Literal

import discord
from discord import app_commands, ui

from bot.commands.admin.check import check
from bot.interactions.answers import think
from bot.layouts import usage_chart, usage_table
from flux_core.database.usage import Report

if TYPE_CHECKING:
    from bot.client import FluxBot

log = logging.getLogger(__name__)

MOST_DAYS = 90
NAMED = 25
"""Members whose names are asked for: those at the top. The others are told by the end of their id."""
NAMES_WITHIN = 5.0
"""Seconds after which the report goes without the names that are still missing."""


@app_commands.command(description="Who drew how much: a table, a chart and a CSV file.")
@app_commands.describe(
    days="Today and the days before (7 when left out)",
    by="Counted by (day when left out)",
    everywhere="Of every server (owner only)",
)
async def usage(
    interaction: discord.Interaction[FluxBot],
    days: app_commands.Range[int, 1, MOST_DAYS] = 7,
    by: Literal["day", "member", "model", "provider"] = "day",
    everywhere: bool = False,
) -> None:
    """Sum up, draw, and show it privately."""
    check(interaction, everywhere=everywhere)
    # Summing up a large server and drawing take longer than Discord waits for a first answer.
    await think(interaction)
    guild_id = None if everywhere else interaction.guild_id or 0
    report = await interaction.client.studio.usage.report(guild_id, days=days, by=by)
    members = await _members(interaction, report) if by == "member" else {}
    names = usage_table.names_of(report, by, members)
    where = "Every server" if everywhere or interaction.guild is None else interaction.guild.name
    picture = None
    if report.total.jobs:
        picture = await usage_chart.draw(usage_table.chart(report, by, names, where))
    sheet = f"usage-by-{by}-{report.first}-{report.last}.csv"
    data = usage_table.sheet(report, by, members if by == "member" else names)
    files = [discord.File(io.BytesIO(data), sheet)]
    if picture is not None:
        files.append(discord.File(io.BytesIO(picture), usage_table.CHART))
    card = usage_table.card(
        report, by, names, charted=picture is not None, everywhere=everywhere, file=ui.File(f"attachment://{sheet}")
    )
    await interaction.edit_original_response(view=card, attachments=files)


async def _members(interaction: discord.Interaction[FluxBot], report: Report) -> dict[str, str]:
    """Return the names of the members who drew most: user id → name, where Discord tells it in time.

    The bot keeps no list of members, so they are asked for one by one.
    """
    ids = [int(key) for key, _ in report.uses[:NAMED]]
    asked = [asyncio.create_task(_name(interaction, id), name=f"name-{id}") for id in ids]
    if asked:
        await asyncio.wait(asked, timeout=NAMES_WITHIN)
    for task in asked:
        task.cancel()
    found = await asyncio.gather(*asked, return_exceptions=True)
    return {str(id): name for id, name in zip(ids, found, strict=True) if isinstance(name, str)}


async def _name(interaction: discord.Interaction[FluxBot], user_id: int) -> str | None:
    try:
        if interaction.guild is not None:
            return (await interaction.guild.fetch_member(user_id)).display_name
    except discord.NotFound:
        pass  # of another server, or gone: the account may still be there
    except discord.HTTPException as failure:
        log.warning("a member's name could not be asked for: %s", failure.status)
        return None
    try:
        return (await interaction.client.fetch_user(user_id)).display_name
    except discord.HTTPException as failure:
        log.info("a user's name could not be asked for: %s", failure.status)
        return None
