"""What happens in the world, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .community import Channel
    from .interactions import Interaction
    from .messages import Message


@dataclass(frozen=True, slots=True)
class MessageCreated:
    message: Message


@dataclass(frozen=True, slots=True)
class MessageUpdated:
    message: Message


@dataclass(frozen=True, slots=True)
class MessageDeleted:
    message: Message


@dataclass(frozen=True, slots=True)
class InteractionOpened:
    """A member did something; `payload` is Discord's INTERACTION_CREATE."""

    interaction: Interaction
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class InteractionSettled:
    """The bot acknowledged an interaction, or its time ran out."""

    interaction: Interaction


@dataclass(frozen=True, slots=True)
class ModalOpened:
    interaction: Interaction
    modal: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChannelUpdated:
    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelDeleted:
    channel: Channel


@dataclass(frozen=True, slots=True)
class BotRemoved:
    """A guild has thrown the bot out."""

    guild_id: str


@dataclass(frozen=True, slots=True)
class BotInvited:
    """A guild has let the bot in again."""

    guild_id: str


@dataclass(frozen=True, slots=True)
class CommandsChanged:
    commands: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class BotPresence:
    online: bool


@dataclass(frozen=True, slots=True)
class FaultsChanged:
    faults: dict[str, Any]


Event = (
    MessageCreated
    | MessageUpdated
    | MessageDeleted
    | InteractionOpened
    | InteractionSettled
    | ModalOpened
    | ChannelUpdated
    | ChannelDeleted
    | BotRemoved
    | BotInvited
    | CommandsChanged
    | BotPresence
    | FaultsChanged
)
Listener = Callable[[Event], None]


class EventBus:
    """Call every listener, in the order of subscription, at once."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the function returned takes it away again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)
