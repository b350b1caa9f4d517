"""Take an order: check it, acknowledge it in public, put it in the queue.

The order of these steps is what keeps refusals private and nothing charged: an answer is public or private for good
once it is acknowledged, so everything quick is checked before, and what fails afterwards takes the placeholder away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import discord

from bot.answers import answer, explain
from bot.cards import note, preparing
from bot.permissions import missing_to_post
from bot.wording import missing_permissions
from flux_core.generation import GenerationRequest
from flux_core.jobs import Account, Job, Origin, ReplyTo
from flux_core.service import Studio, Submission

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.5
"""How long the check before the acknowledgement may take: Discord gives 3 seconds for both. Submitting checks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a member asks for with one command or button."""

    account: Account
    request: GenerationRequest
    """Exact but for an input picture that is still to be fetched."""
    origin: Origin
    private: bool = False
    spoiler: bool = False
    parent_id: str | None = None
    parent_position: int | None = None


async def take(
    studio: Studio,
    interaction: discord.Interaction[Any],
    order: Order,
    complete: Callable[[], Awaitable[GenerationRequest]] | None = None,
) -> Job | None:
    """Put ``order`` in the queue and return its job, or None where the member got a private refusal instead.

    ``complete`` does the slow part after the acknowledgement and returns the final request. Raises the MemberError of
    the quick checks, while nothing has been answered yet.
    """
    in_thread = isinstance(interaction.channel, discord.Thread)
    lacking = missing_to_post(interaction.app_permissions, private=order.private, in_thread=in_thread)
    if lacking and interaction.guild_id is not None:
        await answer(interaction, missing_permissions(lacking))
        return None
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await studio.check(order.account, order.request)
    except TimeoutError:
        log.warning("the check before an acknowledgement took more than %s s", CHECK_SECONDS)
    card = preparing(order.request, order.account.user_id)
    acknowledged = await interaction.response.send_message(view=card, ephemeral=order.private)
    try:
        request = order.request if complete is None else await complete()
        return await studio.submit(_submission(interaction, order, request, acknowledged.message_id))
    except Exception as error:
        await _take_back(interaction, explain(error), private=order.private)
        return None


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
        key=str(interaction.id),
    )


async def _take_back(interaction: discord.Interaction[Any], text: str, *, private: bool) -> None:
    """Put a private sentence in the place of the placeholder."""
    try:
        if private:
            await interaction.edit_original_response(view=note(text))
            return
        await interaction.delete_original_response()
        await answer(interaction, text)
    except discord.HTTPException as failure:
        log.warning("could not take a placeholder back: %s (code %s)", failure.status, failure.code)
