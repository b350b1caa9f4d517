"""An ordinary discord.py bot, with one command for each thing the sandbox must carry."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import discord
from discord import app_commands, ui

from tests.sandbox.pictures import picture

COLOURS = ("red", "green", "blue", "yellow")


class Again(ui.DynamicItem[ui.Button[Any]], template=r"again:(?P<count>\d+)"):
    """A button that works on old messages and after restarts: all it needs is in its custom_id."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(ui.Button(label="Again", custom_id=f"again:{count}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Again:
        return cls(int(match["count"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        await interaction.response.edit_message(view=card(self.count + 1, interaction.message))


class Hide(ui.DynamicItem[ui.Button[Any]], template=r"hide"):
    """A button that answers privately."""

    def __init__(self) -> None:
        super().__init__(ui.Button(label="Details", custom_id="hide"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Hide:
        return cls()

    async def callback(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"Only for {interaction.user.display_name}", ephemeral=True)


def card(count: int, message: discord.Message | None = None) -> ui.LayoutView:
    """Build a card of text, four pictures and two buttons; from a message's own attachments when there is one."""
    view = ui.LayoutView(timeout=None)
    container: ui.Container[Any] = ui.Container(ui.TextDisplay(f"Drawn {count} times"), accent_colour=0x5865F2)
    if message is None:
        addresses = [f"attachment://{colour}.png" for colour in COLOURS]
    else:
        addresses = [attachment.url for attachment in message.attachments]
    container.add_item(ui.MediaGallery(*(discord.MediaGalleryItem(address) for address in addresses)))
    container.add_item(ui.ActionRow(Again(count), Hide()))
    view.add_item(container)
    return view


class Survey(ui.Modal, title="A survey"):
    name: ui.Label[Any] = ui.Label(text="Name", component=ui.TextInput(custom_id="name", max_length=20))
    mood: ui.Label[Any] = ui.Label(
        text="Mood",
        component=ui.Select(
            custom_id="mood", options=[discord.SelectOption(label=mood, value=mood) for mood in ("good", "bad")]
        ),
    )
    file: ui.Label[Any] = ui.Label(text="Picture", component=ui.FileUpload(custom_id="file", required=False))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        assert isinstance(self.name.component, ui.TextInput)
        assert isinstance(self.mood.component, ui.Select)
        assert isinstance(self.file.component, ui.FileUpload)
        sizes = [len(await file.read()) for file in self.file.component.values]
        await interaction.response.send_message(
            f"{self.name.component.value} feels {self.mood.component.values[0]}, files {sizes}"
        )


class ExampleBot(discord.AutoShardedClient):
    """Start it with `begin`, end it with `finish`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(intents=discord.Intents.default(), guild_ready_timeout=0.05, **options)
        self.tree = app_commands.CommandTree(self)
        self.seen: list[str] = []
        self.errors: list[Exception] = []
        self._running: asyncio.Task[None] | None = None
        add_commands(self)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Start shards at once; Discord's five seconds between them are not what is tested."""

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Again, Hide)
        await self.tree.sync()

    async def on_socket_event_type(self, event: str) -> None:
        self.seen.append(event)

    async def begin(self, token: str) -> None:
        await self.login(token)
        self._running = asyncio.create_task(self.connect(), name="example-bot")
        await asyncio.wait_for(self.wait_until_ready(), 20)

    async def finish(self) -> None:
        await self.close()
        if self._running is not None:
            await self._running


def add_commands(bot: ExampleBot) -> None:
    tree = bot.tree

    @tree.error
    async def remember(interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        bot.errors.append(error)

    @tree.command(description="Answer at once")
    async def say(interaction: discord.Interaction, text: str) -> None:
        await interaction.response.send_message(text)

    @tree.command(description="Defer, then answer")
    async def later(interaction: discord.Interaction, text: str, private: bool = False) -> None:
        await interaction.response.defer(ephemeral=private, thinking=True)
        await interaction.edit_original_response(content=text)
        await interaction.followup.send(f"{text}, again", ephemeral=private)

    @tree.command(description="Say nothing at all")
    async def silent(interaction: discord.Interaction) -> None:
        return

    @tree.command(name="card", description="Show a card")
    async def show_card(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        files = [discord.File(io.BytesIO(picture(colour)), f"{colour}.png") for colour in COLOURS]
        await interaction.edit_original_response(view=card(1), attachments=files)

    @tree.command(description="Open a modal")
    async def survey(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Survey())

    @tree.command(description="Look at a file")
    async def look(interaction: discord.Interaction, file: discord.Attachment, twice: bool = False) -> None:
        data = await file.read()
        await interaction.response.send_message(
            f"{file.filename} {file.content_type} {file.width}x{file.height} {len(data)} {twice}"
        )

    @tree.command(description="Choose a flavour")
    async def taste(interaction: discord.Interaction, flavour: str, spoons: app_commands.Range[int, 1, 5] = 1) -> None:
        await interaction.response.send_message(f"{spoons} of {flavour}")

    @taste.autocomplete("flavour")
    async def flavours(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        known = ("lemon", "lime", "mango")
        return [app_commands.Choice(name=name.title(), value=name) for name in known if name.startswith(typed)]

    @tree.command(description="Post in the channel, and privately")
    async def post(interaction: discord.Interaction, text: str) -> None:
        await interaction.response.defer(ephemeral=True)
        channel = bot.get_channel(interaction.channel_id or 0)
        assert isinstance(channel, discord.TextChannel)
        message = await channel.send(f"{interaction.user.mention} {text}", nonce=f"n{interaction.id}"[:25])
        await message.edit(content=f"{text}!")
        await interaction.user.send(f"privately: {text}")
        await interaction.delete_original_response()

    @tree.context_menu(name="Greet")
    async def greet(interaction: discord.Interaction, user: discord.Member) -> None:
        await interaction.response.send_message(f"Hello {user.display_name}")

    @tree.context_menu(name="Quote")
    async def quote(interaction: discord.Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"> {message.content}")

    admin = app_commands.Group(
        name="admin", description="For moderators", default_permissions=discord.Permissions(manage_guild=True)
    )

    @admin.command(description="Give credits")
    async def grant(interaction: discord.Interaction, to: discord.Member, credits: int) -> None:
        rights = interaction.permissions.manage_messages, interaction.app_permissions.send_messages
        await interaction.response.send_message(f"{to.display_name} +{credits} {rights}")

    tree.add_command(admin)
