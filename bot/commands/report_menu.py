"""Report: what members choose on a picture that the moderators should see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.interactions.answers import answer, sent_once
from bot.interactions.message_jobs import job_id_on
from bot.reviews.modals import ReportModal
from flux_core.errors import JobNotFound
from flux_core.jobs import Account

if TYPE_CHECKING:
    from bot.client import FluxBot

THANKS = "Thank you. The moderators of this server have your report now, and decide what becomes of the picture."
KEPT = (
    "Thank you, your report is kept. This server has not chosen a channel for its moderators yet; "
    "they get it as soon as it has."
)


@app_commands.context_menu(name="Report")
@app_commands.guild_only()
async def report(interaction: discord.Interaction[FluxBot], message: discord.Message) -> None:
    """Ask what is wrong with a picture, and tell the moderators."""
    bot = interaction.client.user
    job_id = job_id_on(message, None if bot is None else bot.id)
    if job_id is None or interaction.guild_id is None:
        raise JobNotFound()
    account = Account(interaction.guild_id, interaction.user.id)
    studio = interaction.client.studio
    await studio.reviews.check_report(job_id, account=account)

    async def act(sent: discord.Interaction[FluxBot], reason: str) -> None:
        channel = await studio.reviews.report(job_id, account=account, reason=reason)
        await answer(sent, KEPT if channel is None else THANKS)

    with sent_once():
        await interaction.response.send_modal(ReportModal(interaction.client.this_run, act))
