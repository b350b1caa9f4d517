"""What a community takes away from the bot: a channel, the openness of its threads, its place in the server."""

from __future__ import annotations

from . import events
from .community import GUILD_ID
from .world import World


def delete_channel(world: World, name: str) -> None:
    """Delete a channel of the guild with its threads and messages; raises ValueError where there is none."""
    community = world.community
    gone = next((channel for channel in community.channels.values() if channel.name == name), None)
    if gone is None or gone.is_direct:
        raise ValueError(f"There is no channel called {name!r}.")
    for channel in [one for one in community.channels.values() if one.parent_id == gone.id] + [gone]:
        for message in list(world.messages.newest_first(channel.id)):
            world.messages.remove(message)
            world.bus.publish(events.MessageDeleted(message))
        del community.channels[channel.id]
        world.bus.publish(events.ChannelDeleted(channel))


def archive_threads(world: World, *, locked: bool) -> None:
    """Archive every thread; a locked one is opened again by moderators alone, any other by the next message."""
    for channel in world.community.channels.values():
        if channel.parent_id is not None:
            channel.archived, channel.locked = True, locked
            world.bus.publish(events.ChannelUpdated(channel))


def reopen_thread(world: World, channel_id: str) -> None:
    """Open an archived thread again, as a message in it does."""
    channel = world.community.channels[channel_id]
    channel.archived = channel.locked = False
    world.bus.publish(events.ChannelUpdated(channel))


def remove_bot(world: World) -> None:
    """Throw the bot out of the first guild."""
    guild = world.community.guilds[GUILD_ID]
    if guild.has_bot:
        guild.has_bot = False
        world.bus.publish(events.BotRemoved(guild.id))


def invite_bot(world: World) -> None:
    """Let the bot into the first guild again."""
    guild = world.community.guilds[GUILD_ID]
    if not guild.has_bot:
        guild.has_bot = True
        world.bus.publish(events.BotInvited(guild.id))
