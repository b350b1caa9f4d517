"""The moderators' buttons. Each carries a review's id and nothing else, so it works after any restart, at any age."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import ui

from bot.interactions.answers import report, sent_once
from bot.interactions.permissions import administers, moderates
from bot.reviews.custom_ids import CUSTOM_ID, Choice, Press, from_match
from bot.reviews.modals import BanModal, RejectModal
from flux_core.errors import NotAllowed

Interaction = discord.Interaction[Any]


class ReviewButton(ui.DynamicItem[ui.Button[Any]], template=CUSTOM_ID):
    """Any button under a moderators' message, rebuilt from its custom_id when it is pressed."""

    def __init__(self, button: ui.Button[Any], press: Press) -> None:
        super().__init__(button)
        self.press = press

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> ReviewButton:
        """Read the press out of the custom_id."""
        assert isinstance(item, ui.Button)
        return cls(item, from_match(match))

    async def callback(self, interaction: Interaction) -> None:
        """Do what the button says, or tell the moderator privately why not."""
        try:
            allow(interaction)
            if interaction.message is not None:
                reviews, message = interaction.client.studio.reviews, interaction.message
                await reviews.seen(self.press.review_id, interaction.guild_id, message.channel.id, message.id)
            await _HANDLERS[self.press.choice](interaction, self.press.review_id)
        except Exception as error:
            await report(interaction, error)


def allow(interaction: Interaction) -> None:
    """Raise NotAllowed unless the member keeps order in this channel, or runs this server."""
    held = interaction.permissions
    if interaction.guild_id is None or not (moderates(held) or administers(held)):
        raise NotAllowed(action="review")


async def _approve(interaction: Interaction, review_id: str) -> None:
    await interaction.client.studio.reviews.approve(review_id, guild_id=interaction.guild_id, by=interaction.user.id)
    await _decided(interaction)


async def _reject(interaction: Interaction, review_id: str) -> None:
    # A review that is no longer open says so before anybody writes a reason.
    await interaction.client.studio.reviews.job_of(review_id, guild_id=interaction.guild_id, kind="approval")

    async def act(pressed: Interaction, reason: str) -> None:
        allow(pressed)
        await pressed.client.studio.reviews.reject(
            review_id, guild_id=pressed.guild_id, by=pressed.user.id, reason=reason
        )
        await _decided(pressed)

    with sent_once():
        await interaction.response.send_modal(RejectModal(interaction.client.this_run, act))


async def _delete(interaction: Interaction, review_id: str) -> None:
    await interaction.client.studio.reviews.delete(review_id, guild_id=interaction.guild_id, by=interaction.user.id)
    await _decided(interaction)


async def _ban(interaction: Interaction, review_id: str) -> None:
    reviews = interaction.client.studio.reviews
    job = await reviews.job_of(review_id, guild_id=interaction.guild_id, kind="report")
    member = job.account.user_id
    if member == interaction.user.id:
        raise NotAllowed(action="ban yourself")
    if member in interaction.client.owners:
        raise NotAllowed(action="ban the owner")

    async def act(pressed: Interaction, reason: str, seconds: float | None) -> None:
        allow(pressed)
        until = None if seconds is None else pressed.created_at.timestamp() + seconds
        await pressed.client.studio.reviews.ban(
            review_id, guild_id=pressed.guild_id, by=pressed.user.id, reason=reason, until=until
        )
        await _decided(pressed)

    with sent_once():
        await interaction.response.send_modal(BanModal(interaction.client.this_run, act))


async def _dismiss(interaction: Interaction, review_id: str) -> None:
    await interaction.client.studio.reviews.dismiss(review_id, guild_id=interaction.guild_id, by=interaction.user.id)
    await _decided(interaction)


async def _decided(interaction: Interaction) -> None:
    # The loop, woken by this change, tells the verdict on the message itself.
    with sent_once():
        await interaction.response.defer()


_HANDLERS: dict[Choice, Callable[[Interaction, str], Awaitable[None]]] = {
    Choice.APPROVE: _approve,
    Choice.REJECT: _reject,
    Choice.DELETE: _delete,
    Choice.BAN: _ban,
    Choice.DISMISS: _dismiss,
}
