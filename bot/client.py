"""The Discord client: what it registers, what it hears, and how it closes."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import discord
import yarl
from discord import app_commands

from bot.buttons import KINDS, refuse_foreign, refuse_lost
from bot.connection.command_upload import upload
from bot.connection.in_hand import answered
from bot.connection.keeping import Keeping
from bot.connection.rush import Rush
from bot.connection.session_starts import SessionStarts
from bot.connection.skipping import skip_unreadable
from bot.connection.traffic import counted_requests
from bot.delivery.outbox import Delivery
from bot.delivery.posting import passing
from bot.delivery.removals import Removing
from bot.interactions.answers import report
from bot.interactions.attachments import AttachmentReader
from bot.interactions.confirmation import Questions
from bot.interactions.permissions import owners
from bot.reviews.posting import Posting
from flux_core.errors import NotThere, StorageUnavailable
from flux_core.jobs import Account
from flux_core.metrics import definitions as m
from flux_core.service import Studio
from flux_core.settings import Settings
from flux_core.shards import Keeper

log = logging.getLogger(__name__)

LONGEST_START = 900.0
"""Seconds that a shard may take to connect."""
ANSWERED_WITHIN = 6.0
"""Seconds that interactions get to be dealt with when the bot ends; container runtimes kill after ten."""

Command = app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu


class CommandTree(app_commands.CommandTree["FluxBot"]):
    """The commands; every error becomes a private sentence."""

    async def on_error(self, interaction: discord.Interaction[FluxBot], error: app_commands.AppCommandError, /) -> None:
        """Tell the member, and log what nobody foresaw."""
        if interaction.type is discord.InteractionType.autocomplete:
            log.warning("a request for suggestions could not be read: %s", error)  # it takes no sentence
            return
        await report(interaction, error)

    async def _call(self, interaction: discord.Interaction[FluxBot]) -> None:
        try:
            await super()._call(interaction)
        except app_commands.AppCommandError:
            raise
        except Exception as error:
            # Commands wrap what goes wrong in them; this is discord.py, stumbling over a form that it does not expect.
            raise app_commands.AppCommandError(f"{type(error).__name__} in reading it") from error


class _Again(Exception):
    """Ends an attempt to connect. discord.py makes the next one within it: after an hour they would be too deep."""


class FluxBot(discord.AutoShardedClient):
    """The studio's face on Discord. It holds no state that a restart could lose."""

    def __init__(self, settings: Settings, studio: Studio, commands: Sequence[Command]) -> None:
        # discord.py warns at the start that it cannot speak; this bot has nothing to say.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        intents = discord.Intents.none()
        intents.guilds = True
        kept = settings.kept_shards(socket.gethostname())
        super().__init__(
            intents=intents,
            shard_count=settings.shard_count or None,
            # A connection may be slow and then have to wait for its turn once more.
            shard_connect_timeout=LONGEST_START,
            allowed_mentions=discord.AllowedMentions.none(),
            # Interactions bring along all the bot needs to know; nothing is cached of members and messages.
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            http_trace=counted_requests(),
        )
        self.shard_ids = None if kept is None else list(kept)
        self.settings = settings
        self.studio = studio
        self.attachments = AttachmentReader(
            cdn=settings.discord_cdn, max_bytes=settings.max_upload_bytes, max_pixels=settings.max_upload_pixels
        )
        self.tree = CommandTree(self)
        for command in commands:
            self.tree.add_command(command)
        self.add_dynamic_items(*KINDS)
        skip_unreadable(self)
        self.questions = Questions()
        self.rush = Rush()
        self.this_run = secrets.token_hex(8)
        """Tells forms that this bot has opened from those of one before it."""
        self.owners: frozenset[int] = settings.owner_ids
        self.keeping: Keeping | None = None
        """Its place among the other processes; none before it has logged in."""
        self._starts = SessionStarts(self, studio)
        self._delivery: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._launching: set[int] = set()
        """Shards that connect for the first time."""
        self._away: set[int] = set()
        """Shards whose connection ended and has not come back yet."""
        self.exports = asyncio.Semaphore(1)
        """A file has all that a member ever did, and all of it is in memory while it is written: one at a time."""
        self.exporting: set[Account] = set()
        """Whose files are being written, or wait for that."""

    async def setup_hook(self) -> None:
        """Upload the commands and start delivering; runs after login and before the gateway."""
        assert self.application_id is not None
        self.owners = owners(self.application, self.settings.owner_ids)
        keeping = self.keeping = Keeping(self.studio, await self._introduction(self.application_id))
        await keeping.begin()
        await self._upload(self.application_id)
        self._delivery = asyncio.create_task(Delivery(self, self.studio, share=keeping.part).run(), name="delivery")
        self._loops = [
            asyncio.create_task(keeping.run(), name="keeping"),
            asyncio.create_task(Posting(self, self.studio, share=keeping.part).run(), name="reviews"),
            asyncio.create_task(Removing(self, self.studio, share=keeping.part).run(), name="removals"),
        ]

    async def _upload(self, application_id: int) -> None:
        """Upload the commands. Where Discord refuses them, go on: what was accepted is still to be delivered."""
        try:
            await upload(self.tree, self.studio, application_id=application_id, api=self.settings.discord_api_base)
        except discord.HTTPException as error:
            if passing(error):
                raise
            log.error("Discord refuses the bot's commands, so members keep those from before, if any: %s", error)

    async def _introduction(self, application_id: int) -> Keeper:
        """Settle how many shards there are, and return what the other processes are told of this one."""
        recommended, _, _ = await self.http.get_bot_gateway()
        if self.shard_count is None:
            self.shard_count = recommended
        elif self.shard_count < recommended:
            log.warning("SHARD_COUNT is %d, and Discord recommends %d shards", self.shard_count, recommended)
        now = time.time()
        return Keeper(
            id=self.this_run,
            application_id=application_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            shards=self.kept_shards,
            count=self.shard_count,
            started_at=now,
            seen_at=now,
        )

    @property
    def kept_shards(self) -> tuple[int, ...]:
        """Return the shards of this process, in order; none before it has logged in."""
        return tuple(self.shard_ids or range(self.shard_count or 0))

    async def connect(self, *, reconnect: bool = True) -> None:
        """Connect the shards, as soon as Discord allows so many sessions."""
        await self._starts.enough(len(self.kept_shards))
        await super().connect(reconnect=reconnect)

    async def launch_shard(self, gateway: yarl.URL, shard_id: int, *, initial: bool = False) -> None:
        """Connect a shard, once it may start a session, and again until it is connected."""
        if shard_id in self._launching:
            raise _Again
        self._launching.add(shard_id)
        try:
            while True:
                await self._starts.line_up(shard_id)
                with suppress(_Again):
                    await super().launch_shard(gateway, shard_id, initial=initial)
                    return
        finally:
            self._launching.discard(shard_id)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait until it is the shard's turn, among those of all processes."""
        await self._starts.turn(shard_id or 0)

    async def on_interaction(self, interaction: discord.Interaction[FluxBot]) -> None:
        """Answer the buttons that no handler of ours will take, and the forms that were opened before a restart."""
        if interaction.type is discord.InteractionType.component:
            await refuse_foreign(interaction)
        elif interaction.type is discord.InteractionType.modal_submit:
            await refuse_lost(interaction)

    async def on_shard_connect(self, shard: int) -> None:
        """Note that a shard is there, also after it was away."""
        self._away.discard(shard)

    async def on_shard_disconnect(self, shard: int) -> None:
        """Count what discord.py mends by itself; it may tell of one end twice."""
        if shard not in self._away:
            self._away.add(shard)
            m.GATEWAY_DROPS.inc()

    async def on_shard_resumed(self, shard: int) -> None:
        """Count connections after which nothing was missed."""
        self._away.discard(shard)
        m.GATEWAY_RESUMES.inc()

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Cancel what waits in a server that has removed the bot: nobody could see it; an outage is no removal."""
        assert self.user is not None
        try:
            removed = await self.studio.line.clear(guild.id, by=self.user.id)
        except NotThere:
            return
        except StorageUnavailable as error:
            log.warning("what waits in server %s is drawn although it has removed the bot: %s", guild.id, error)
            return
        log.info("server %s has removed the bot: %d waiting jobs are cancelled", guild.id, removed.waiting)

    async def close(self) -> None:
        """Hang up, end what members have begun and deliveries in flight, then the connections."""
        self.questions.close()
        await self._hang_up()
        for loop in self._loops:
            loop.cancel()
        if self._delivery is not None:
            self._delivery.cancel()
        await asyncio.gather(
            *self._loops, *filter(None, [self._delivery]), answered(ANSWERED_WITHIN), return_exceptions=True
        )
        self._loops, self._delivery = [], None
        self.rush.close()
        if self.keeping is not None:
            keeping, self.keeping = self.keeping, None
            await keeping.end()
        await self.attachments.close()
        await super().close()

    async def _hang_up(self) -> None:
        """Hear of no more interactions: Discord tells their members at once that nobody answers."""
        self._away.update(self.shards)  # this is no drop
        await asyncio.gather(*(shard.disconnect() for shard in self.shards.values()), return_exceptions=True)
