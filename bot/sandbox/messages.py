"""The messages of the world: kept by channel, found by id, seen by who may see them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EPHEMERAL = 1 << 6
LOADING = 1 << 7
COMPONENTS_V2 = 1 << 15

NONCE_SECONDS = 300.0
"""Discord checks an enforced nonce against 'the past few minutes'."""


@dataclass(slots=True)
class Message:
    """Discord's raw message, and whose eyes it is for."""

    raw: dict[str, Any]
    ephemeral_for: str | None = None

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    @property
    def channel_id(self) -> str:
        return str(self.raw["channel_id"])

    @property
    def author_id(self) -> str:
        return str(self.raw["author"]["id"])

    @property
    def flags(self) -> int:
        return int(self.raw["flags"])

    @property
    def is_loading(self) -> bool:
        """Tell whether this is the placeholder of a deferred response."""
        return bool(self.flags & LOADING)

    def visible_to(self, member_id: str) -> bool:
        return self.ephemeral_for is None or self.ephemeral_for == member_id

    def for_page(self) -> dict[str, Any]:
        """Return the raw message with the two facts that the page adds."""
        return {
            **self.raw,
            "ephemeral_for": self.ephemeral_for,
            "interaction_state": "thinking" if self.is_loading else None,
        }


class MessageStore:
    """Keep the newest messages of each channel, in order."""

    def __init__(self, per_channel: int = 10_000) -> None:
        self._per_channel = per_channel
        self._channels: dict[str, OrderedDict[str, Message]] = {}
        self._nonces: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def add(self, message: Message, nonce: str | None = None) -> None:
        channel = self._channels.setdefault(message.channel_id, OrderedDict())
        channel[message.id] = message
        if len(channel) > self._per_channel:
            channel.popitem(last=False)
        if nonce is not None:
            now = time.monotonic()
            self._nonces[(message.channel_id, nonce)] = (now, message.id)
            while self._nonces and next(iter(self._nonces.values()))[0] < now - NONCE_SECONDS:
                self._nonces.popitem(last=False)

    def get(self, channel_id: str, message_id: str) -> Message | None:
        return self._channels.get(channel_id, OrderedDict()).get(message_id)

    def with_nonce(self, channel_id: str, nonce: str) -> Message | None:
        """Return the message that was sent with this nonce in the past few minutes."""
        sent_at, message_id = self._nonces.get((channel_id, nonce), (0.0, ""))
        return self.get(channel_id, message_id) if sent_at > time.monotonic() - NONCE_SECONDS else None

    def remove(self, message: Message) -> None:
        self._channels.get(message.channel_id, OrderedDict()).pop(message.id, None)

    def newest_first(self, channel_id: str) -> Iterator[Message]:
        """Go through a channel from its newest message back."""
        return iter(reversed(self._channels.get(channel_id, OrderedDict()).values()))
