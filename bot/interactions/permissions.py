"""Who may do what: the bot in a channel, moderators over others' pictures, administrators over the queue. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import discord

Guard = Callable[[discord.Interaction[Any]], None]
"""Raises NotAllowed where whoever acts lacks the right."""

_NAMES = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "attach_files": "Attach Files",
    "embed_links": "Embed Links",
}


def missing_to_post(held: discord.Permissions, *, private: bool, in_thread: bool) -> list[str]:
    """Return the names of the permissions that the bot lacks to post its result in a channel.

    A private answer comes through the interaction alone and needs only the right to attach files.
    """
    if held.administrator:
        return []
    needed = ["attach_files"]
    if not private:
        needed = ["view_channel", "send_messages_in_threads" if in_thread else "send_messages", *needed, "embed_links"]
    return [_NAMES[name] for name in needed if not getattr(held, name)]


def moderates(held: discord.Permissions) -> bool:
    """Tell whether a member with these permissions in a channel keeps order there."""
    return held.administrator or held.manage_messages


def administers(held: discord.Permissions) -> bool:
    """Tell whether a member with these permissions runs the server."""
    return held.administrator or held.manage_guild


def owners(application: discord.AppInfo | None, configured: Iterable[int]) -> frozenset[int]:
    """Return the users that own the bot: the application's owner or team, and those the operator named."""
    found = set(configured)
    if application is not None:
        if application.team is not None:
            found.update(
                member.id
                for member in application.team.members
                if member.membership_state is discord.TeamMembershipState.accepted
            )
        else:
            found.add(application.owner.id)
    return frozenset(found)
