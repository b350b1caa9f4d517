"""Answer an interaction privately, whatever happened, and never with more than the member should know."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import discord
from discord import app_commands

from bot.layouts.cards import Card, note
from bot.words.wording import NOT_IN_TIME, OUTDATED, incident, sentence
from flux_core.errors import FluxError, MemberError

log = logging.getLogger(__name__)

UNKNOWN_INTERACTION = 10062
"""Discord's answer to an acknowledgement after 3 seconds."""
ALREADY_ACKNOWLEDGED = 40060
"""Discord's answer to a second acknowledgement."""
_THINKS = "thinks"


@contextmanager
def sent_once() -> Iterator[None]:
    """Go on where Discord has the acknowledgement already.

    Where Discord's receipt gets lost, discord.py sends the acknowledgement again, and Discord refuses that one.
    """
    try:
        yield
    except discord.HTTPException as refused:
        if refused.code != ALREADY_ACKNOWLEDGED:
            raise


async def think(interaction: discord.Interaction[Any]) -> None:
    """Acknowledge at once what takes longer than Discord waits for a first answer; the answer will be private."""
    with sent_once():
        await interaction.response.defer(ephemeral=True, thinking=True)
    interaction.extras[_THINKS] = True


def is_acknowledged(interaction: discord.Interaction[Any]) -> bool:
    """Say whether Discord has a first answer; discord.py does not know of one whose receipt was lost."""
    return interaction.response.is_done() or _THINKS in interaction.extras


async def answer(interaction: discord.Interaction[Any], card: Card | str) -> None:
    """Send a private card, as the first answer to the interaction or as a further one."""
    view = note(card) if isinstance(card, str) else card
    if is_acknowledged(interaction):
        await interaction.followup.send(view=view, ephemeral=True)
    else:
        with sent_once():
            await interaction.response.send_message(view=view, ephemeral=True)


def explain(error: BaseException) -> str:
    """Return what the member reads about any exception; what nobody foresaw is logged under the number they read."""
    if isinstance(error, app_commands.CommandInvokeError):
        error = error.original
    if isinstance(error, MemberError):
        return sentence(error)
    if type(error) in (
        app_commands.AppCommandError,
        app_commands.CommandNotFound,
        app_commands.CommandSignatureMismatch,
    ):
        log.warning("a command came in a form that is not ours: %s", error)
        return OUTDATED
    if isinstance(error, FluxError):
        log.error("%s: %s", type(error).__name__, error)
        return sentence(error)
    if isinstance(error, TimeoutError):
        log.error("an answer took too long", exc_info=error)
        return NOT_IN_TIME
    id = secrets.token_hex(4)
    log.error("incident %s", id, exc_info=error)
    return incident(id)


async def report(interaction: discord.Interaction[Any], error: BaseException) -> None:
    """Tell the member privately what ``error`` means for them."""
    cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
    if isinstance(cause, discord.NotFound) and cause.code == UNKNOWN_INTERACTION:
        # Discord has told the member already, and takes no further answer.
        interaction.client.rush.late.count()
        return
    if isinstance(cause, TimeoutError):
        interaction.client.rush.unanswered.count(cause)
        told = NOT_IN_TIME
    else:
        told = explain(cause)
    try:
        await answer(interaction, told)
    except discord.HTTPException as failure:
        if failure.code == UNKNOWN_INTERACTION:
            interaction.client.rush.late.count()
        else:
            log.warning("could not explain a failure: %s (code %s)", failure.status, failure.code)
