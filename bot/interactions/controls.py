"""The buttons under a card. Each carries a job's id and nothing else, so it works after any restart, at any age."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import discord
from discord import ui
from structlog.contextvars import bound_contextvars

from bot.delivery import uploads
from bot.delivery.posting import limits_from, too_large
from bot.interactions import orders
from bot.interactions.answers import answer, report, sent_once, think
from bot.interactions.job_lists import jobs_page
from bot.interactions.permissions import moderates
from bot.interactions.whereabouts import roles_of, whereabouts
from bot.layouts import panels
from bot.layouts.cards import result
from bot.layouts.custom_ids import CUSTOM_ID, Action, Press, from_match
from flux_core.errors import (
    AlreadySo,
    JobAlreadyEnded,
    JobNotFound,
    JobUnreadable,
    NotAllowed,
    PictureGone,
    UnknownProvider,
)
from flux_core.generation import GenerationRequest
from flux_core.jobs import Account, Job, Origin, Whereabouts
from flux_core.service import Studio
from flux_core.variations import reroll_request, variation_request

log = logging.getLogger(__name__)

KNOWN_WITHIN = 1.0
"""Seconds for looking up who orders, before the acknowledgement: Discord gives 3 for all of it."""

Interaction = discord.Interaction[Any]


class JobButton(ui.DynamicItem[ui.Button[Any]], template=CUSTOM_ID):
    """Any button of ours, rebuilt from its custom_id when it is pressed."""

    def __init__(self, button: ui.Button[Any], press: Press) -> None:
        super().__init__(button)
        self.press = press

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str], /) -> JobButton:
        """Read the press out of the custom_id."""
        assert isinstance(item, ui.Button)
        return cls(item, from_match(match))

    async def callback(self, interaction: Interaction) -> None:
        """Do what the button says, or tell the member privately why not."""
        with bound_contextvars(job=self.press.job_id):
            try:
                await _HANDLERS[self.press.action](interaction.client.studio, interaction, self.press)
            except Exception as error:
                await report(interaction, error)


async def visible(studio: Studio, interaction: Interaction, job_id: str) -> Job:
    """Return a job that this member may know of here; raises JobNotFound for any other.

    A job belongs to its server, and for others than its member to its channel, since not everybody sees every channel.
    A private one is its member's alone, and one that was not approved also the moderators'. Its member also meets it
    in direct messages.
    """
    job = await studio.job(job_id)
    if job.account.user_id == interaction.user.id:
        if interaction.guild_id in (None, job.account.guild_id):
            return job
        raise JobNotFound()
    reply = job.reply_to
    if job.account.guild_id != (interaction.guild_id or 0) or reply is None or reply.private:
        raise JobNotFound()
    if reply.channel_id != interaction.channel_id or (job.held is not None and not moderates(interaction.permissions)):
        raise JobNotFound()
    return job


async def _own(studio: Studio, interaction: Interaction, job_id: str) -> Job:
    job = await visible(studio, interaction, job_id)
    if job.account.user_id != interaction.user.id:
        raise JobNotFound()
    return job


async def _reroll(studio: Studio, interaction: Interaction, press: Press) -> None:
    job = await visible(studio, interaction, press.job_id)
    await _follow(studio, interaction, job, reroll_request(job), Origin.REROLL)


async def _vary(studio: Studio, interaction: Interaction, press: Press) -> None:
    assert press.position is not None
    await vary(studio, interaction, await visible(studio, interaction, press.job_id), press.position)


async def vary(studio: Studio, interaction: Interaction, job: Job, position: int) -> None:
    """Order a variation of the picture ``position`` (0-based) of ``job``; raises PictureGone."""
    picture = next((one for one in await studio.pictures(job.id) if one.position == position), None)
    if picture is None or picture.key is None:
        raise PictureGone()
    request = variation_request(job, picture, studio.catalogue)
    await _follow(studio, interaction, job, request, Origin.VARIATION, position=picture.position)


async def _follow(
    studio: Studio,
    interaction: Interaction,
    parent: Job,
    request: GenerationRequest,
    origin: Origin,
    *,
    position: int | None = None,
) -> None:
    """Order a job that comes from ``parent``, on the account of whoever pressed."""
    account = Account(parent.account.guild_id, interaction.user.id)
    async with asyncio.timeout(KNOWN_WITHIN):
        own = await studio.personal.preferences(account)
        where = await _where(interaction, account.guild_id)
    order = orders.Order(
        account=account,
        request=request,
        origin=origin,
        where=where,
        notify=bool(own.notify),
        # On somebody else's picture nobody has said how their own shall be shown, but for their settings.
        private=(parent.reply_to is not None and parent.reply_to.private)
        or (parent.account != account and own.private is True),
        spoiler=parent.reply_to is not None and parent.reply_to.spoiler,
        parent_id=parent.id,
        parent_position=position,
    )
    try:
        await orders.take(studio, interaction, order)
    except UnknownProvider:
        # It was asked for once and has gone. Nobody can take the wish out of a button.
        await orders.take(studio, interaction, replace(order, request=request.model_copy(update={"provider": None})))


async def _where(interaction: Interaction, guild_id: int) -> Whereabouts:
    """Return where an order is given, and as whom; raises NotAllowed for those who have left the server ``guild_id``.

    A direct message does not say what its reader is in the server, so the server is asked.
    """
    if interaction.guild_id is not None or guild_id == 0:
        return whereabouts(interaction)
    guild = interaction.client.get_guild(guild_id)
    try:
        if guild is None:
            raise NotAllowed(action="draw from outside")
        return Whereabouts(role_ids=roles_of(await guild.fetch_member(interaction.user.id)))
    except discord.NotFound:
        raise NotAllowed(action="draw from outside") from None


async def _details(studio: Studio, interaction: Interaction, press: Press) -> None:
    await tell_details(studio, interaction, press.job_id)


async def tell_details(studio: Studio, interaction: Interaction, job_id: str) -> None:
    """Tell everything about a job, privately.

    Raises JobNotFound for one that this member may not know of here, JobUnreadable.
    """
    job = await visible(studio, interaction, job_id)
    if job.unreadable:
        raise JobUnreadable(job=job_id)
    parent = None
    if job.parent_id is not None:
        with suppress(JobNotFound):
            parent = await visible(studio, interaction, job.parent_id)
    await answer(interaction, panels.details(job, await studio.pictures(job.id), parent=parent))


async def _cancel(studio: Studio, interaction: Interaction, press: Press) -> None:
    job = await visible(studio, interaction, press.job_id)
    await studio.cancel(job.id, by=interaction.user.id, moderator=moderates(interaction.permissions))
    # The outbox, woken by this change, tells the outcome on the card itself.
    with sent_once():
        await interaction.response.defer()


async def _stop(studio: Studio, interaction: Interaction, press: Press) -> None:
    job = await _own(studio, interaction, press.job_id)
    # It may have ended while the list was open; the new list tells how.
    with suppress(JobAlreadyEnded):
        await studio.cancel(job.id, by=interaction.user.id, moderator=False)
    listed = await jobs_page(studio, job.account)
    with sent_once():
        await interaction.response.edit_message(view=listed)


async def _up(studio: Studio, interaction: Interaction, press: Press) -> None:
    job = await _own(studio, interaction, press.job_id)
    # It may be the first by now, or be drawn; the new list tells.
    with suppress(AlreadySo, JobAlreadyEnded):
        await studio.move_up(job.id, by=interaction.user.id)
    listed = await jobs_page(studio, job.account)
    with sent_once():
        await interaction.response.edit_message(view=listed)


async def _delete(studio: Studio, interaction: Interaction, press: Press) -> None:
    job = await visible(studio, interaction, press.job_id)
    moderator = moderates(interaction.permissions)
    if job.account.user_id != interaction.user.id and not moderator:
        raise NotAllowed(action="delete")
    with sent_once():
        await interaction.response.defer()
    if not job.state.ended:
        await studio.cancel(job.id, by=interaction.user.id, moderator=moderator)
    # A job without pictures still has a message to remove.
    with suppress(PictureGone):
        await studio.delete_pictures(job.id, by=interaction.user.id, moderator=moderator)
    if job.delivered_at is None:
        await studio.delivered(job.id)
    reply = job.reply_to
    public = None if reply is None or reply.private else reply.message_id
    if reply is not None and public is not None:
        # It shows the pictures, so it goes over any restart and any refusal, also where another card was pressed.
        await studio.removals.note(job.account.guild_id, reply.channel_id, public)
    try:
        await interaction.delete_original_response()
    except discord.NotFound:
        pass  # gone already
    except discord.HTTPException as failure:
        if public is None:
            raise
        log.info("the message of a deleted job goes later: %s (code %s)", failure.status, failure.code)


async def _show(studio: Studio, interaction: Interaction, press: Press) -> None:
    job = await _own(studio, interaction, press.job_id)
    await think(interaction)
    loaded: list[uploads.Upload] = []
    limits = limits_from(interaction.filesize_limit)
    for limit in limits:
        loaded = await uploads.load(studio, job, limit=limit)
        if not loaded:
            break
        card = result(job, [one.shown for one in loaded])
        try:
            await interaction.edit_original_response(view=card, attachments=uploads.files(loaded))
            break
        except discord.HTTPException as refused:
            if not too_large(refused) or limit == limits[-1]:
                raise
    # Only what was given up: others still wait for the public answer, which is on its way.
    await studio.looked_up(job.id)
    if not loaded:
        raise PictureGone()


_HANDLERS: dict[Action, Callable[[Studio, Interaction, Press], Awaitable[None]]] = {
    Action.REROLL: _reroll,
    Action.VARY: _vary,
    Action.DETAILS: _details,
    Action.CANCEL: _cancel,
    Action.STOP: _stop,
    Action.DELETE: _delete,
    Action.SHOW: _show,
    Action.UP: _up,
}
