"""The Discord client: what it registers, what it hears, and how it closes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
from collections.abc import Sequence
from typing import Any

import discord
from discord import app_commands

from bot.answers import report
from bot.attachments import AttachmentReader
from bot.buttons import KINDS, refuse_foreign, refuse_lost
from bot.confirmation import Questions
from bot.delivery import Delivery
from bot.permissions import owners
from bot.removals import Removing
from bot.reviews.posting import Posting
from bot.skipping import skip_unreadable
from bot.traffic import counted_requests
from flux_core.errors import NotThere, StorageUnavailable
from flux_core.metrics import definitions as m
from flux_core.service import Studio
from flux_core.settings import Settings

log = logging.getLogger(__name__)

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


class FluxBot(discord.AutoShardedClient):
    """The studio's face on Discord. It holds no state that a restart could lose."""

    def __init__(self, settings: Settings, studio: Studio, commands: Sequence[Command]) -> None:
        # discord.py warns at the start that it cannot speak; this bot has nothing to say.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        intents = discord.Intents.none()
        intents.guilds = True
        super().__init__(
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            # Interactions bring along all the bot needs to know; nothing is cached of members and messages.
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            http_trace=counted_requests(),
        )
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
        self.this_run = secrets.token_hex(8)
        """Tells forms that this bot has opened from those of one before it."""
        self.owners: frozenset[int] = settings.owner_ids
        self._delivery: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._away: set[int] = set()
        """Shards whose connection ended and has not come back yet."""

    async def setup_hook(self) -> None:
        """Upload the commands and start delivering; runs after login and before the gateway."""
        self.owners = owners(self.application, self.settings.owner_ids)
        await self._sync()
        self._delivery = asyncio.create_task(Delivery(self, self.studio).run(), name="delivery")
        self._loops = [
            asyncio.create_task(Posting(self, self.studio).run(), name="reviews"),
            asyncio.create_task(Removing(self, self.studio).run(), name="removals"),
        ]

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
        """End deliveries in flight, then the connections."""
        self.questions.close()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        if self._delivery is not None:
            self._delivery.cancel()
            await asyncio.gather(self._delivery, return_exceptions=True)
            self._delivery = None
        await self.attachments.close()
        await super().close()

    async def _sync(self) -> None:
        """Upload the commands when they differ from those uploaded last, by this bot and to this API."""
        payload = [command.to_dict(self.tree) for command in self.tree.get_commands()]
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        note = self.settings.data_dir / f"commands-{self.application_id}.json"
        registered = sorted(command.id for command in await self.tree.fetch_commands())
        if registered and _read(note) == {"digest": digest, "ids": registered}:
            return
        uploaded = await self.tree.sync()
        log.info("uploaded %d commands", len(uploaded))
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"digest": digest, "ids": sorted(command.id for command in uploaded)}))


def _read(note: Any) -> object:
    try:
        return json.loads(note.read_text())
    except (OSError, ValueError):
        return None
