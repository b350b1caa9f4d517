"""/admin audit: what moderators changed, who did it, when and why."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands, ui

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.interactions.answers import answer
from bot.interactions.choices import MOST_CHOICES
from bot.interactions.paging import page_buttons, paged
from bot.layouts.cards import BLURPLE, Card
from bot.words.audit_wording import told
from flux_core.database.audit import Wanted
from flux_core.errors import NotAllowed, NotThere
from flux_core.service import Studio
from flux_core.service.audit import AuditPage

if TYPE_CHECKING:
    from bot.client import FluxBot

log = logging.getLogger(__name__)

PAGE = 8
MOST_DAYS = 3650
DAY = 86_400
EVERYWHERE = "e"

_CURSOR = re.compile(
    r"(?P<place>e?)\|(?P<user>(?:[0-7]?[0-9a-f]{15})?|[0-9a-f]{0,14})\|(?P<action>[a-z_]{0,24})\|(?P<since>[0-9]{0,7})"
    r"(?:\|(?P<way>[ba])(?P<id>[0-9a-f]{1,12}))?"
)
"""Whose log, which member (hexadecimal), action and first hour since 1970; and the entry before or after the page."""


@app_commands.command(description="What moderators changed, the newest first.")
@app_commands.describe(
    member="Who did it, or to whom it was done",
    action="Only this command",
    days="Only so many days back",
    everywhere="What was done to every server (owner only)",
)
async def audit(
    interaction: discord.Interaction[FluxBot],
    member: discord.User | None = None,
    action: str | None = None,
    days: app_commands.Range[int, 1, MOST_DAYS] | None = None,
    everywhere: bool = False,
) -> None:
    """Show the newest entries."""
    check(interaction, everywhere=everywhere)
    guild_id = None if everywhere else interaction.guild_id or 0
    studio = interaction.client.studio
    chosen = None if action is None else " ".join(action.strip().lower().removeprefix("/admin ").split())
    if chosen is not None and chosen not in await studio.audit.actions(guild_id):
        raise NotThere(what="entry in the audit log about", name=action)
    # In whole hours, so that the cursor of the next page says the same.
    since = 0 if days is None else int(time.time() - days * DAY) // 3600 * 3600
    wanted = Wanted(guild_id=guild_id, user_id=None if member is None else member.id, action=chosen, since=since)
    await answer(interaction, _card(await studio.audit.page(wanted, limit=PAGE), wanted))


@paged("audit")
async def _page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    read = _CURSOR.fullmatch(cursor)
    everywhere = read is not None and read["place"] == EVERYWHERE
    check(interaction, everywhere=everywhere)
    guild_id = None if everywhere else interaction.guild_id or 0
    studio: Studio = interaction.client.studio
    if read is None:
        wanted = Wanted(guild_id=guild_id)
        return _card(await studio.audit.page(wanted, limit=PAGE), wanted)
    wanted = Wanted(
        guild_id=guild_id,
        user_id=int(read["user"], 16) if read["user"] else None,
        action=read["action"].replace("_", " ") or None,
        since=int(read["since"] or 0) * 3600,
    )
    edge = {"before" if read["way"] == "b" else "after": int(read["id"], 16)} if read["id"] else {}
    return _card(await studio.audit.page(wanted, limit=PAGE, **edge), wanted)


def _card(page: AuditPage, wanted: Wanted) -> Card:
    where = "every server" if wanted.guild_id is None else "this server"
    about = "" if wanted.user_id is None else f" about <@{wanted.user_id}>"
    head = f"### Audit log of {where}{about}"
    lines = [told(entry) for entry in page.entries] or ["Nothing was changed in this time."]
    start = _cursor(wanted)
    buttons = page_buttons(
        "audit",
        back=f"{start}|a{page.entries[0].id:x}" if page.newer and page.entries else start if page.newer else None,
        on=f"{start}|b{page.entries[-1].id:x}" if page.older else None,
    )
    return Card(ui.Container(ui.TextDisplay(head), ui.TextDisplay("\n".join(lines)), accent_colour=BLURPLE), *buttons)


def _cursor(wanted: Wanted) -> str:
    place = EVERYWHERE if wanted.guild_id is None else ""
    user = "" if wanted.user_id is None else f"{wanted.user_id:x}"
    since = "" if not wanted.since else str(int(wanted.since) // 3600)
    return f"{place}|{user}|{(wanted.action or '').replace(' ', '_')}|{since}"


@audit.autocomplete("action")
async def offer_actions(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the actions that the log tells of."""
    try:
        everywhere = bool(interaction.namespace.everywhere)
        check(interaction, everywhere=everywhere)
        known = await interaction.client.studio.audit.actions(None if everywhere else interaction.guild_id or 0)
    except NotAllowed:
        return []
    except Exception:
        log.warning("the actions could not be offered", exc_info=True)
        return []
    wanted = typed.strip().lower()
    return [choosing.choice(action) for action in known if wanted in action][:MOST_CHOICES]
