"""Take an order: check it, put it in the queue, and answer in public.

An answer is public or private for good once it is acknowledged. So an order of words alone, which the database takes in
a millisecond, is in the queue before the acknowledgement: a refusal is private, and the member never sees an answer to
a job that does not exist, whatever happens to this process in between. An order with something slow to it, such as a
picture to fetch, is checked, acknowledged with a placeholder and then completed; a failure takes the placeholder away.
That is Discord's own "thinking…", which ends by itself where this process dies before there is a job. Where many
order at the same moment, those of words alone get it as well (``bot.rush``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import discord
from structlog.contextvars import bind_contextvars

from bot.connection.rush import Rush
from bot.interactions.answers import answer, explain, sent_once
from bot.interactions.permissions import missing_to_post
from bot.layouts.cards import Card, note, waiting
from bot.words.wording import missing_permissions
from flux_core.errors import JobAlreadyEnded, StorageUnavailable
from flux_core.generation import GenerationRequest
from flux_core.insistence import insist
from flux_core.jobs import NOWHERE, Account, Job, Origin, ReplyTo, Whereabouts
from flux_core.service import Studio, Submission

log = logging.getLogger(__name__)

TAKEN_BACK = "Nothing came of this."
QUICK_SECONDS = 0.75
"""How long the database may take before the acknowledgement goes out without it: Discord gives 3 seconds for all, of
which the look before may have taken ``bot.commands.imagine.KNOWN_WITHIN``."""
HANGS_AFTER = 10.0
"""Seconds after which an acknowledgement is sent once more: a dead connection would keep its place among those on their
way for minutes, and where Discord has it already, Discord says so."""

UNHEARD = (discord.HTTPException, aiohttp.ClientError, OSError)
"""What a request that did not reach Discord, or was refused there, raises; a connection that hangs is a TimeoutError,
which is an OSError."""

_unsettled: set[asyncio.Task[None]] = set()
"""What has to be kept from being forgotten by asyncio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a member asks for with one command or button."""

    account: Account
    request: GenerationRequest
    """Exact but for an input picture that is still to be fetched."""
    origin: Origin
    where: Whereabouts = NOWHERE
    private: bool = False
    spoiler: bool = False
    notify: bool = False
    """Whether a direct message shall tell that the pictures are there."""
    parent_id: str | None = None
    parent_position: int | None = None


async def take(
    studio: Studio,
    interaction: discord.Interaction[Any],
    order: Order,
    complete: Callable[[], Awaitable[GenerationRequest]] | None = None,
) -> Job | None:
    """Put ``order`` in the queue and return its job, or None where the member got a private refusal instead.

    ``complete`` does what is slow and returns the final request. Raises the MemberError of what is quick, while nothing
    has been answered yet.
    """
    in_thread = isinstance(interaction.channel, discord.Thread)
    lacking = missing_to_post(interaction.app_permissions, private=order.private, in_thread=in_thread)
    if lacking and interaction.guild_id is not None:
        await answer(interaction, missing_permissions(lacking))
        return None
    rush: Rush = interaction.client.rush
    if complete is not None:
        return await _placeholder_first(studio, interaction, order, complete, rush)
    # A provider that was asked for may have gone: that is known in the queue alone, and may be asked without an answer.
    if rush.on and order.request.provider is None:
        return await _acknowledged_first(studio, interaction, order, rush)
    return await _in_queue_first(studio, interaction, order, rush)


async def _in_queue_first(
    studio: Studio, interaction: discord.Interaction[Any], order: Order, rush: Rush
) -> Job | None:
    with rush.owing():
        submitting = asyncio.ensure_future(studio.submit(_submission(interaction, order, order.request, None)))
        await asyncio.wait({submitting}, timeout=QUICK_SECONDS)
        if submitting.done():
            if isinstance(submitting.exception(), StorageUnavailable):
                _disown(studio, interaction)
            card = waiting(submitting.result(), None)
            bind_contextvars(job=submitting.result().id)  # discord.py gives every interaction a task of its own
        else:
            rush.slow.count()
            card = None
        try:
            message_id = await _acknowledge(interaction, card, rush, private=order.private)
        except UNHEARD:
            # Discord tells the member that nothing came of it, so nothing may; what is drawn already is posted anew.
            try:
                await studio.cancel((await submitting).id, by=order.account.user_id, moderator=False)
            except JobAlreadyEnded:
                pass
            except StorageUnavailable:
                _disown(studio, interaction)
            raise
    try:
        job = await submitting
    except Exception as error:
        await _nothing_came_of_it(studio, interaction, order, error)
        return None
    if message_id is not None:
        # Without it the token still finds the answer; that the database is away for a moment is nothing to tell.
        with suppress(StorageUnavailable):
            await studio.attach_message(job.id, message_id)
    return job


async def _acknowledged_first(
    studio: Studio, interaction: discord.Interaction[Any], order: Order, rush: Rush
) -> Job | None:
    with rush.owing():
        message_id = await _acknowledge(interaction, None, rush, private=order.private)
    try:
        async with rush.filing():
            return await studio.submit(_submission(interaction, order, order.request, message_id))
    except Exception as error:
        await _nothing_came_of_it(studio, interaction, order, error)
        return None


async def _placeholder_first(
    studio: Studio,
    interaction: discord.Interaction[Any],
    order: Order,
    complete: Callable[[], Awaitable[GenerationRequest]],
    rush: Rush,
) -> Job | None:
    with rush.owing():
        try:
            async with asyncio.timeout(QUICK_SECONDS):
                await studio.check(order.account, order.request, origin=order.origin, where=order.where)
        except TimeoutError:
            rush.slow.count()
        message_id = await _acknowledge(interaction, None, rush, private=order.private)
    try:
        request = await complete()
        return await studio.submit(_submission(interaction, order, request, message_id))
    except Exception as error:
        await _nothing_came_of_it(studio, interaction, order, error)
        return None


async def _nothing_came_of_it(
    studio: Studio, interaction: discord.Interaction[Any], order: Order, error: Exception
) -> None:
    """Tell a member who was acknowledged already why there is no job."""
    if isinstance(error, StorageUnavailable):
        _disown(studio, interaction)
    await _take_back(interaction, explain(error), private=order.private)


async def _acknowledge(
    interaction: discord.Interaction[Any], card: Card | None, rush: Rush, *, private: bool
) -> int | None:
    """Answer with ``card``, or that there will be one, and return the message's id, if Discord tells it."""
    for again in (True, False):
        try:
            async with rush.sending, asyncio.timeout(HANGS_AFTER):
                with sent_once():
                    if card is not None:
                        return (await interaction.response.send_message(view=card, ephemeral=private)).message_id
                    if (deferred := await interaction.response.defer(ephemeral=private, thinking=True)) is not None:
                        return deferred.message_id
            break
        except (aiohttp.ClientError, OSError):
            # discord.py does not repeat what a closing or a dead connection swallowed.
            if not again:
                raise
    try:
        return (await interaction.original_response()).id
    except UNHEARD:
        # Its token reaches the answer without an id, too.
        return None


def _disown(studio: Studio, interaction: discord.Interaction[Any]) -> None:
    """See to it that nothing comes of an order that is refused because the database went away: it may have got there.

    That goes on in the background for as long as ``insist`` is patient. Where even that is too short, the order is
    drawn and posted as though nobody had said anything.
    """

    async def disown() -> None:
        with suppress(StorageUnavailable):
            await insist(lambda: studio.disown(_key(interaction)))

    task = asyncio.create_task(disown(), name="disown an order")
    _unsettled.add(task)
    task.add_done_callback(_unsettled.discard)


def _key(interaction: discord.Interaction[Any]) -> str:
    return str(interaction.id)


def _submission(
    interaction: discord.Interaction[Any], order: Order, request: GenerationRequest, message_id: int | None
) -> Submission:
    return Submission(
        account=order.account,
        request=request,
        origin=order.origin,
        reply_to=ReplyTo(
            application_id=interaction.application_id,
            channel_id=interaction.channel_id or 0,
            interaction_token=interaction.token,
            token_expires_at=interaction.expires_at.timestamp(),
            message_id=message_id,
            upload_limit=interaction.filesize_limit,
            private=order.private,
            spoiler=order.spoiler,
        ),
        parent_id=order.parent_id,
        parent_position=order.parent_position,
        where=order.where,
        notify=order.notify,
        key=_key(interaction),
    )


async def _take_back(interaction: discord.Interaction[Any], text: str, *, private: bool) -> None:
    """Put a private sentence in the place of the placeholder."""
    if private:
        await _tried(interaction.edit_original_response(view=note(text)))
        return
    if not await _tried(interaction.delete_original_response()):
        # The first follow-up takes the place of a "thinking…" that is still there, and is as public.
        await _tried(interaction.followup.send(view=note(TAKEN_BACK)))
    # Whatever became of the placeholder, the member is told.
    await _tried(interaction.followup.send(view=note(text), ephemeral=True))


async def _tried(request: Awaitable[object]) -> bool:
    """Say whether Discord took ``request``."""
    try:
        await request
    except UNHEARD as failure:
        log.warning("could not take a placeholder back: %s", failure)
        return False
    return True
