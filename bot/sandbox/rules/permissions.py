"""Permission bits, and how roles and channel overwrites combine."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntFlag


class Permission(IntFlag):
    """The bits this sandbox knows, named and numbered as in Discord's permission table."""

    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    SEND_MESSAGES_IN_THREADS = 1 << 38
    MODERATE_MEMBERS = 1 << 40
    USE_EXTERNAL_APPS = 1 << 50


NOTHING = Permission(0)
EVERY_PERMISSION = Permission((1 << 51) - 1)

EVERYONE = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.ADD_REACTIONS
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.USE_APPLICATION_COMMANDS
)
"""What @everyone has in a new Discord server, as far as this sandbox knows the bits."""

MODERATOR = (
    Permission.MANAGE_MESSAGES
    | Permission.MANAGE_GUILD
    | Permission.MANAGE_THREADS
    | Permission.MODERATE_MEMBERS
    | Permission.KICK_MEMBERS
    | Permission.BAN_MEMBERS
    | Permission.VIEW_AUDIT_LOG
)

DIRECT_MESSAGE = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.MENTION_EVERYONE
    | Permission.ADD_REACTIONS
    | Permission.USE_EXTERNAL_EMOJIS
)
"""What both sides have in a direct message channel."""


@dataclass(frozen=True, slots=True)
class Overwrite:
    """One exception of a channel: for a role (kind 0) or a member (kind 1)."""

    target_id: str
    kind: int
    allow: Permission = NOTHING
    deny: Permission = NOTHING

    def raw(self) -> dict[str, object]:
        """Return Discord's overwrite object."""
        return {"id": self.target_id, "type": self.kind, "allow": str(int(self.allow)), "deny": str(int(self.deny))}


def effective(
    member_id: str,
    everyone_id: str,
    role_ids: Collection[str],
    role_permissions: Iterable[Permission],
    overwrites: Collection[Overwrite],
    *,
    owner: bool = False,
) -> Permission:
    """Combine roles and overwrites in Discord's order: @everyone, then roles together, then the member.

    `role_permissions` are those of @everyone and of each of the member's roles. An owner or administrator has every
    bit; without VIEW_CHANNEL nothing is left.
    """
    base = Permission(0)
    for bits in role_permissions:
        base |= bits
    if owner or base & Permission.ADMINISTRATOR:
        return EVERY_PERMISSION
    for overwrite in overwrites:
        if overwrite.kind == 0 and overwrite.target_id == everyone_id:
            base = base & ~overwrite.deny | overwrite.allow
    allow = deny = Permission(0)
    for overwrite in overwrites:
        if overwrite.kind == 0 and overwrite.target_id in role_ids:
            allow |= overwrite.allow
            deny |= overwrite.deny
    base = base & ~deny | allow
    for overwrite in overwrites:
        if overwrite.kind == 1 and overwrite.target_id == member_id:
            base = base & ~overwrite.deny | overwrite.allow
    return base if base & Permission.VIEW_CHANNEL else Permission(0)


def named(names: Iterable[str]) -> Permission:
    """Add up permission names.

    Raises ValueError with a sentence for a name that Discord does not have.
    """
    bits = Permission(0)
    for name in names:
        try:
            bits |= Permission[name]
        except KeyError:
            known = ", ".join(str(permission.name) for permission in Permission)
            raise ValueError(f"There is no permission called {name!r}. Known are: {known}.") from None
    return bits
