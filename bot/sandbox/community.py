"""The guilds of the sandbox, of which there is one unless more are wanted: people, roles, channels and what each may do
where.

Ids are fixed, so that a bot's database keeps its meaning from one run of the sandbox to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .rules.permissions import DIRECT_MESSAGE, EVERYONE, MODERATOR, NOTHING, Overwrite, Permission, effective
from .snowflakes import Snowflakes

JOINED_AT = "2023-04-04T12:00:00.000000+00:00"


def fixed(offset: int) -> str:
    """Return a fixed id of April 2023."""
    return str(1_092_000_000_000_000_000 + (offset << 22))


GUILD_ID = fixed(1)
APPLICATION_ID = fixed(2)
"""An application's id and its bot user's id are the same number on Discord, and here."""
OWNER_ID = fixed(3)
BOT_ROLE_ID = fixed(4)
MODERATOR_ROLE_ID = fixed(5)
PATRON_ROLE_ID = fixed(6)
ADA_ID, LINUS_ID, GRACE_ID = fixed(10), fixed(11), fixed(12)
STUDIO_ID = fixed(20)

TEXT, DIRECT, PUBLIC_THREAD = 0, 1, 11
"""Discord's channel types that this sandbox has."""


@dataclass(slots=True)
class User:
    """A Discord account."""

    id: str
    username: str
    global_name: str
    bot: bool = False

    @property
    def avatar_index(self) -> int:
        """Return which of Discord's default avatars this account shows."""
        return (int(self.id) >> 22) % 6

    def raw(self) -> dict[str, Any]:
        """Return Discord's user object."""
        return {
            "id": self.id,
            "username": self.username,
            "global_name": None if self.bot else self.global_name,
            "discriminator": "0000" if self.bot else "0",
            "avatar": None,
            "bot": self.bot,
            "public_flags": 0,
        }


@dataclass(slots=True)
class Role:
    id: str
    name: str
    permissions: Permission
    position: int
    color: int = 0
    bot_id: str | None = None

    def raw(self) -> dict[str, Any]:
        """Return Discord's role object."""
        role: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "permissions": str(int(self.permissions)),
            "position": self.position,
            "color": self.color,
            "colors": {"primary_color": self.color, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": self.bot_id is not None,
            "mentionable": False,
            "flags": 0,
        }
        if self.bot_id is not None:
            role["tags"] = {"bot_id": self.bot_id}
        return role


@dataclass(slots=True)
class Member:
    user: User
    role_ids: tuple[str, ...] = ()

    def raw(self, permissions: Permission | None = None) -> dict[str, Any]:
        """Return Discord's member object; with permissions as interactions carry them."""
        member: dict[str, Any] = {
            "user": self.user.raw(),
            "nick": None,
            "avatar": None,
            "roles": list(self.role_ids),
            "joined_at": JOINED_AT,
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "pending": False,
            "flags": 0,
            "communication_disabled_until": None,
        }
        if permissions is not None:
            member["permissions"] = str(int(permissions))
        return member


@dataclass(slots=True)
class Channel:
    """A text channel of a guild; a direct message channel with a recipient; a public thread with a parent."""

    id: str
    name: str
    topic: str | None = None
    nsfw: bool = False
    position: int = 0
    overwrites: list[Overwrite] = field(default_factory=list)
    recipient: User | None = None
    parent_id: str | None = None
    last_message_id: str | None = None
    guild_id: str = GUILD_ID
    archived: bool = False
    locked: bool = False
    """An archived thread that only moderators open again."""

    @property
    def kind(self) -> int:
        """Return Discord's channel type."""
        if self.recipient is not None:
            return DIRECT
        return TEXT if self.parent_id is None else PUBLIC_THREAD

    @property
    def is_direct(self) -> bool:
        return self.kind == DIRECT

    def raw(self) -> dict[str, Any]:
        """Return Discord's channel object."""
        if self.recipient is not None:
            return {
                "id": self.id,
                "type": 1,
                "flags": 0,
                "last_message_id": self.last_message_id,
                "recipients": [self.recipient.raw()],
            }
        if self.parent_id is not None:
            return self._raw_thread(self.parent_id)
        return {
            "id": self.id,
            "type": 0,
            "guild_id": self.guild_id,
            "name": self.name,
            "topic": self.topic,
            "nsfw": self.nsfw,
            "position": self.position,
            "parent_id": None,
            "rate_limit_per_user": 0,
            "last_message_id": self.last_message_id,
            "permission_overwrites": [overwrite.raw() for overwrite in self.overwrites],
            "flags": 0,
        }

    def _raw_thread(self, parent_id: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.kind,
            "guild_id": self.guild_id,
            "parent_id": parent_id,
            "owner_id": OWNER_ID,
            "name": self.name,
            "last_message_id": self.last_message_id,
            "message_count": 0,
            "member_count": 1,
            "total_message_sent": 0,
            "rate_limit_per_user": 0,
            "thread_metadata": {
                "archived": self.archived,
                "auto_archive_duration": 10_080,
                "archive_timestamp": JOINED_AT,
                "locked": self.locked,
                "create_timestamp": JOINED_AT,
            },
            "flags": 0,
        }


@dataclass(slots=True)
class Guild:
    """A server: its roles, and its members with those that they hold there."""

    id: str
    name: str
    roles: dict[str, Role]
    members: dict[str, Member]
    has_bot: bool = True


class Community:
    """Hold the guilds; answer who may do what. What is said of one guild alone is said of the first."""

    def __init__(self, snowflakes: Snowflakes, *, application_owner: str) -> None:
        self._snowflakes = snowflakes
        self.name = "Sandbox studio"
        self.bot = User(APPLICATION_ID, "flux-bot", "flux-bot", bot=True)
        people = [User(ADA_ID, "ada", "Ada"), User(LINUS_ID, "linus", "Linus"), User(GRACE_ID, "grace", "Grace")]
        self.roles = {
            role.id: role
            for role in (
                Role(GUILD_ID, "@everyone", EVERYONE, 0),
                Role(PATRON_ROLE_ID, "Patron", NOTHING, 1, color=0x9B59B6),
                Role(MODERATOR_ROLE_ID, "Moderator", MODERATOR, 2, color=0xE67E22),
                Role(BOT_ROLE_ID, "flux-bot", EVERYONE, 3, bot_id=APPLICATION_ID),
            )
        }
        self.people = {user.id: Member(user) for user in people}
        self.people[LINUS_ID].role_ids = (PATRON_ROLE_ID,)
        self.people[GRACE_ID].role_ids = (MODERATOR_ROLE_ID,)
        self.members = {
            **self.people,
            self.bot.id: Member(self.bot, (BOT_ROLE_ID,)),
            OWNER_ID: Member(User(OWNER_ID, "hopper", "The landlord")),
        }
        self.application_owner = self.member_named(application_owner).user
        mute_bot = Overwrite(BOT_ROLE_ID, 0, deny=Permission.SEND_MESSAGES)
        moderators_only = [
            Overwrite(GUILD_ID, 0, deny=Permission.VIEW_CHANNEL),
            Overwrite(MODERATOR_ROLE_ID, 0, allow=Permission.VIEW_CHANNEL),
            Overwrite(BOT_ROLE_ID, 0, allow=Permission.VIEW_CHANNEL),
        ]
        self.channels = {
            channel.id: channel
            for channel in (
                Channel(STUDIO_ID, "studio", "Where pictures are made.", position=0),
                Channel(fixed(21), "general", "Everything else.", position=1),
                Channel(fixed(22), "read-only", "The bot may not write here.", position=2, overwrites=[mute_bot]),
                Channel(fixed(23), "age-restricted", "For adults.", nsfw=True, position=3),
                Channel(fixed(24), "moderators", "Where order is kept.", position=4, overwrites=moderators_only),
                Channel(fixed(25), "colour studies", parent_id=STUDIO_ID),
            )
        }
        self._direct: dict[str, Channel] = {}
        self.guilds = {GUILD_ID: Guild(GUILD_ID, self.name, self.roles, self.members)}

    def member_named(self, name: str) -> Member:
        """Find a person by name, upper or lower case.

        Raises ValueError with a sentence when nobody is called that.
        """
        for member in self.people.values():
            if name.lower() in (member.user.username, member.user.global_name.lower()):
                return member
        known = ", ".join(member.user.global_name for member in self.people.values())
        raise ValueError(f"Nobody here is called {name!r}. There are: {known}.")

    def add(self, guild: Guild, channels: Iterable[Channel]) -> None:
        """Open one more guild, with its channels."""
        self.guilds[guild.id] = guild
        self.channels |= {channel.id: channel for channel in channels}

    def guild_of(self, channel: Channel) -> Guild:
        """Return the guild whose names hold in a channel: its own, and the first in a direct one."""
        return self.guilds[GUILD_ID if channel.is_direct else channel.guild_id]

    def direct_channel(self, user_id: str) -> Channel:
        """Return the direct message channel between the bot and a member, opening it the first time."""
        if user_id not in self._direct:
            # Derived from the member's fixed id, so that it is the same channel in the sandbox's next run.
            channel = Channel(fixed(1_000 + (int(user_id) >> 22) % 1_000), "dm", recipient=self.members[user_id].user)
            self._direct[user_id] = self.channels[channel.id] = channel
        return self._direct[user_id]

    def permissions(self, member_id: str, channel: Channel) -> Permission:
        """Compute what a member or the bot may do in a channel."""
        if channel.recipient is not None:
            return DIRECT_MESSAGE if member_id in (channel.recipient.id, self.bot.id) else Permission(0)
        if channel.parent_id is not None:
            # A thread has no exceptions of its own: whoever sees its channel sees it.
            channel = self.channels[channel.parent_id]
        guild = self.guilds[channel.guild_id]
        if member_id == self.bot.id and not guild.has_bot:
            return Permission(0)
        member = guild.members[member_id]
        held = [guild.roles[role_id].permissions for role_id in (guild.id, *member.role_ids)]
        return effective(member_id, guild.id, member.role_ids, held, channel.overwrites, owner=member_id == OWNER_ID)

    def guild_permissions(self, member_id: str) -> Permission:
        """Compute what a member may do where no channel makes an exception."""
        held = [self.roles[role_id].permissions for role_id in (GUILD_ID, *self.members[member_id].role_ids)]
        return effective(member_id, GUILD_ID, (), held, (), owner=member_id == OWNER_ID)

    def deny_bot(self, bits: Permission) -> list[Channel]:
        """Take permission bits from the bot in every guild channel (none: give them back); return those changed."""
        changed = []
        for channel in self.channels.values():
            if channel.kind != TEXT:
                continue
            kept = [overwrite for overwrite in channel.overwrites if overwrite.target_id != self.bot.id]
            if bits:
                kept.append(Overwrite(self.bot.id, 1, deny=bits))
            if kept != channel.overwrites:
                channel.overwrites = kept
                changed.append(channel)
        return changed
