"""Everything the sandbox knows: one object that the gateway, REST, the CDN and the page share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .annexes import annex
from .commands import CommandRegistry
from .community import GUILD_ID, Community
from .events import EventBus, InteractionSettled
from .faults import Faults
from .files import FileStore
from .interactions import Interaction, InteractionBook
from .messages import MessageStore
from .snowflakes import Snowflakes


@dataclass(frozen=True, slots=True)
class Limits:
    """Time and size limits of the sandbox; Discord's own by default, shorter ones for tests."""

    ack_seconds: float = 3.0
    """How long the bot has to acknowledge an interaction."""
    token_seconds: float = 900.0
    """How long an interaction token lives."""
    heartbeat_seconds: float = 41.25
    """The heartbeat interval announced in HELLO."""
    resume_seconds: float = 120.0
    """How long a dropped gateway session can be resumed."""
    replay_events: int = 2_000
    """How many events a gateway session keeps for a RESUME."""
    guilds_per_shard: int = 2_500
    """How many guilds a session may have."""
    session_starts: int = 1_000
    """How often shards may identify until the count begins anew."""
    session_reset_seconds: float = 86_400.0
    """After how long it does."""
    max_concurrency: int = 1
    """How many shards, whose ids differ modulo this, may identify at once."""
    identify_seconds: float = 5.0
    """How long the others wait."""
    attachment_bytes: int = 10 * 1024 * 1024
    """The largest file, in bytes: what attachment_size_limit announces."""
    file_budget_bytes: int = 512 * 1024 * 1024
    """How many bytes of files are kept in memory; the oldest are dropped."""
    rate_limits: bool = True
    """Whether per-route and global rate limits are enforced (their headers are sent in any case)."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this sandbox answers."""

    base_url: str
    gateway_url: str
    cdn_base: str


class World:
    """The state of the sandbox. Nothing in it outlives the process."""

    def __init__(self, limits: Limits, *, token: str, application_owner: str, shards: int, guilds: int) -> None:
        self.limits = limits
        self.token = token
        self.shards = shards
        self.addresses = Addresses("", "", "")
        self.bus = EventBus()
        self.snowflakes = Snowflakes()
        self.community = Community(self.snowflakes, application_owner=application_owner)
        for number in range(2, guilds + 1):
            annex(self.community, number)
        self.messages = MessageStore()
        self.files = FileStore(limits.file_budget_bytes)
        self.uploads: dict[str, dict[str, Any]] = {}
        self.commands = CommandRegistry(self.snowflakes, self.bus)
        self.faults = Faults()
        self.interactions = InteractionBook(
            ack_seconds=limits.ack_seconds,
            token_seconds=limits.token_seconds,
            settled=self._publish_settled,
        )

    @property
    def guild_id(self) -> str:
        """Return the id of the first guild."""
        return GUILD_ID

    def _publish_settled(self, interaction: Interaction) -> None:
        self.bus.publish(InteractionSettled(interaction))
