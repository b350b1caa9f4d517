"""A small discord.py bot for the page's tests: every kind of answer the page has to draw, and nothing random.

Run as `python -m tests.sandbox_page.scripted_bot API_BASE GATEWAY_URL CDN_BASE TOKEN`.
"""

from __future__ import annotations

import asyncio
import io
import sys

import discord
import yarl
from discord import app_commands
from PIL import Image, ImageDraw

BLUES = ("#234a9f", "#1f3f8f", "#2b5fc0", "#193577")
MODELS = ("flux-schnell", "flux-dev", "flux-tiny")
MODERATORS = discord.Permissions(manage_guild=True)


def picture(number: int, width: int = 512, height: int = 288) -> discord.File:
    """Draw a red circle on a blue background, a different one for each number."""
    image = Image.new("RGB", (width, height), BLUES[number % len(BLUES)])
    radius = height // 3 + 6 * number
    x, y = width // 2 + 20 * number - 30, height // 2
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill="#d63a3a")
    data = io.BytesIO()
    image.save(data, "PNG")
    return discord.File(io.BytesIO(data.getvalue()), f"circle-{number}.png")


class Remix(discord.ui.Modal, title="Remix this picture"):
    prompt: discord.ui.Label[Remix] = discord.ui.Label(
        text="Prompt",
        description="What to draw this time",
        component=discord.ui.TextInput(style=discord.TextStyle.paragraph, custom_id="prompt", min_length=3),
    )
    model: discord.ui.Label[Remix] = discord.ui.Label(
        text="Model",
        component=discord.ui.Select(
            custom_id="model", options=[discord.SelectOption(label=name, value=name) for name in MODELS]
        ),
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        assert isinstance(self.prompt.component, discord.ui.TextInput)
        assert isinstance(self.model.component, discord.ui.Select)
        text = f"Remixed: {self.prompt.component.value} with {self.model.component.values[0]}"
        await interaction.response.send_message(text)


class Card(discord.ui.LayoutView):
    """A result card; `presses` is how often Count was pressed."""

    def __init__(self, prompt: str, pictures: int, presses: int = 0) -> None:
        super().__init__(timeout=None)
        self.prompt, self.pictures, self.presses = prompt, pictures, presses
        gallery: discord.ui.MediaGallery[Card] = discord.ui.MediaGallery()
        for number in range(pictures):
            gallery.add_item(media=f"attachment://circle-{number}.png", description=f"{prompt}, picture {number + 1}")
        row: discord.ui.ActionRow[Card] = discord.ui.ActionRow()
        for label, style, emoji, press in (
            ("Remix", discord.ButtonStyle.primary, "🎨", self.remix),
            ("Count", discord.ButtonStyle.secondary, None, self.count),
            ("Details", discord.ButtonStyle.secondary, None, self.details),
            ("Ignore", discord.ButtonStyle.secondary, None, self.ignore),
            ("Delete", discord.ButtonStyle.danger, None, self.delete),
        ):
            button: discord.ui.Button[Card] = discord.ui.Button(label=label, style=style, emoji=emoji)
            button.callback = press  # type: ignore[method-assign]
            row.add_item(button)
        container: discord.ui.Container[Card] = discord.ui.Container(accent_color=0x6A7DF5)
        container.add_item(discord.ui.TextDisplay(f"**{discord.utils.escape_markdown(prompt)}**"))
        if presses:
            container.add_item(discord.ui.TextDisplay(f"counted {presses}"))
        container.add_item(gallery)
        container.add_item(discord.ui.TextDisplay("-# flux-schnell · 512×288 · 4 steps · seed 7 · 1.2 s"))
        container.add_item(discord.ui.Separator())
        container.add_item(row)
        self.add_item(container)

    async def remix(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Remix())

    async def count(self, interaction: discord.Interaction) -> None:
        await interaction.response.edit_message(view=Card(self.prompt, self.pictures, self.presses + 1))

    async def details(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"Seed 7, asked by <@{interaction.user.id}>", ephemeral=True)

    async def ignore(self, interaction: discord.Interaction) -> None:
        """Say nothing, so that Discord gives up on the interaction."""

    async def delete(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        await interaction.delete_original_response()


class Question(discord.ui.LayoutView):
    """A private question with two buttons and a file, as confirmations have them."""

    def __init__(self, text: str) -> None:
        super().__init__(timeout=None)
        row: discord.ui.ActionRow[Question] = discord.ui.ActionRow()
        for label, style in (("Do it", discord.ButtonStyle.danger), ("Leave it", discord.ButtonStyle.secondary)):
            button: discord.ui.Button[Question] = discord.ui.Button(label=label, style=style)
            button.callback = self.decide  # type: ignore[method-assign]
            row.add_item(button)
        self.add_item(discord.ui.TextDisplay(text))
        self.add_item(discord.ui.File("attachment://rule.json"))
        self.add_item(row)

    async def decide(self, interaction: discord.Interaction) -> None:
        view = discord.ui.LayoutView()
        view.add_item(discord.ui.TextDisplay("Decided."))
        await interaction.response.edit_message(view=view, attachments=[])


client = discord.Client(intents=discord.Intents(guilds=True))
tree = app_commands.CommandTree(client)
admin = app_commands.Group(name="admin", description="For those who run this", default_permissions=MODERATORS)


@tree.command(description="Draw pictures from a description")
@app_commands.describe(
    prompt="What to draw",
    aspect="The shape of the picture",
    count="How many pictures",
    model="Which model draws",
    image="A picture to start from",
    spoiler="Hide the pictures",
)
@app_commands.choices(aspect=[app_commands.Choice(name=name, value=name) for name in ("1:1", "16:9", "9:16")])
async def imagine(
    interaction: discord.Interaction,
    prompt: app_commands.Range[str, 1, 200],
    aspect: str = "1:1",
    count: app_commands.Range[int, 1, 4] = 4,
    model: str = MODELS[0],
    image: discord.Attachment | None = None,
    spoiler: bool = False,
) -> None:
    await interaction.response.defer()
    if image is not None:
        data = await image.read()
        await interaction.edit_original_response(content=f"Took {image.filename}, {len(data)} bytes, for {prompt}")
        return
    await asyncio.sleep(0.3)
    asked = f"{prompt} ({aspect}, {model})"
    files = [picture(number) for number in range(count)]
    await interaction.edit_original_response(view=Card(asked, count), attachments=files)


@imagine.autocomplete("model")
async def complete_model(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=name, value=name) for name in MODELS if typed.lower() in name]


@tree.command(description="What is left of your allowance")
async def quota(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("You have **42 of 50** credits left.", ephemeral=True)


@tree.command(description="Never answers")
async def silent(interaction: discord.Interaction) -> None:
    """Say nothing, so that Discord gives up on the interaction."""


@admin.command(description="Give credits to a member")
@app_commands.describe(member="Who gets them", credits="How many")
async def grant(interaction: discord.Interaction, member: discord.Member, credits: int) -> None:
    await interaction.response.send_message(f"{member.display_name} got {credits} credits.")


@admin.command(description="Say what a role may do, and where")
@app_commands.describe(role="Whose", channel="Where", whom="A member or a role", thread="Which thread")
async def rule(
    interaction: discord.Interaction,
    role: discord.Role,
    channel: discord.TextChannel,
    whom: discord.Role | discord.Member | None = None,
    thread: discord.Thread | None = None,
) -> None:
    names = [f"<@&{role.id}>", f"<#{channel.id}>", *[each.name for each in (whom, thread) if each is not None]]
    file = discord.File(io.BytesIO(b'{"rule": 1}'), "rule.json")
    view = Question(f"Rule for {', '.join(names)}?")
    await interaction.response.send_message(view=view, file=file, ephemeral=True)


@tree.context_menu(name="Who is this")
async def who(interaction: discord.Interaction, member: discord.Member) -> None:
    await interaction.response.send_message(f"{member.display_name} is {member.roles[-1].name}", ephemeral=True)


@tree.context_menu(name="Count words")
async def count_words(interaction: discord.Interaction, message: discord.Message) -> None:
    await interaction.response.send_message(f"{len(message.content.split())} words")


@client.event
async def on_ready() -> None:
    if tree.get_command("admin") is None:
        tree.add_command(admin)
        await tree.sync()


def main(api_base: str, gateway: str, cdn: str, token: str) -> None:
    discord.http.Route.BASE = api_base
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    discord.Asset.BASE = cdn
    client.run(token, log_handler=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
