"""What members choose on a message or a member, under Apps: Picture details, Vary, Member usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands, ui

from bot.interactions.answers import answer
from bot.interactions.controls import tell_details, vary, visible
from bot.interactions.message_jobs import job_id_on
from bot.interactions.permissions import administers, moderates
from bot.interactions.whereabouts import roles_of
from bot.layouts.cards import Card, variations
from bot.layouts.member_card import JOBS_SHOWN, usage
from flux_core.errors import JobNotFound, NotAllowed, PictureGone
from flux_core.jobs import Account

if TYPE_CHECKING:
    from bot.client import FluxBot


@app_commands.context_menu(name="Picture details")
@app_commands.guild_only()
async def picture_details(interaction: discord.Interaction[FluxBot], message: discord.Message) -> None:
    """Tell everything about the job of a message, privately."""
    await tell_details(interaction.client.studio, interaction, _job_on(interaction, message))


@app_commands.context_menu(name="Vary")
@app_commands.guild_only()
async def vary_picture(interaction: discord.Interaction[FluxBot], message: discord.Message) -> None:
    """Vary the picture of a message; of several, ask privately which."""
    studio = interaction.client.studio
    job = await visible(studio, interaction, _job_on(interaction, message))
    if not job.state.ended:
        await answer(interaction, "These pictures are not drawn yet. Try again when they are there.")
        return
    there = [one for one in await studio.pictures(job.id) if one.key is not None]
    if not there:
        raise PictureGone()
    if len(there) == 1:
        await vary(studio, interaction, job, there[0].position)
        return
    await answer(interaction, Card(ui.TextDisplay("Which picture shall be varied?"), variations(job, there)))


@app_commands.context_menu(name="Member usage")
@app_commands.guild_only()
@app_commands.default_permissions(manage_messages=True)
async def member_usage(interaction: discord.Interaction[FluxBot], member: discord.Member) -> None:
    """Tell moderators how it stands with a member, privately."""
    held = interaction.permissions
    if interaction.guild_id is None or not (
        moderates(held) or administers(held) or interaction.user.id in interaction.client.owners
    ):
        raise NotAllowed(action="watch")
    studio, account = interaction.client.studio, Account(interaction.guild_id, member.id)
    await answer(
        interaction,
        usage(
            member.id,
            await studio.quota(account, roles_of(member)),
            await studio.members.ban_of(account),
            await studio.jobs_of(account, active_only=False, limit=JOBS_SHOWN),
        ),
    )


def _job_on(interaction: discord.Interaction[FluxBot], message: discord.Message) -> str:
    """Return the job that a message of ours is about; raises JobNotFound."""
    bot = interaction.client.user
    job_id = job_id_on(message, None if bot is None else bot.id)
    if job_id is None:
        raise JobNotFound()
    return job_id
