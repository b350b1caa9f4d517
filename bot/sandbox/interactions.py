"""Interactions: what a member did, how long the bot has to answer, and what its token is good for."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

from .community import Channel
from .messages import Message

NO_RESPONSE = "The application did not respond"
KEPT = 20_000
"""How many interactions are remembered; the oldest are forgotten, long after their tokens died."""


class InteractionKind(IntEnum):
    """Discord's interaction types."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class Callback(IntEnum):
    """Discord's interaction callback types."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE_MESSAGE = 7
    CHOICES = 8
    MODAL = 9


State = Literal["pending", "acknowledged", "failed"]


@dataclass(slots=True, eq=False)
class Interaction:
    """One interaction from the moment it is sent to the bot."""

    id: str
    token: str
    kind: InteractionKind
    member_id: str
    channel: Channel
    expires_at: float
    """Event loop time at which the token dies."""
    metadata: dict[str, Any]
    """The interaction_metadata of messages that answer it."""
    source: Message | None = None
    """The message whose component was used, also through a modal."""
    command: dict[str, Any] | None = None
    option_type: int | None = None
    """The type of the option being completed, for autocomplete."""
    state: State = "pending"
    callback: Callback | None = None
    original: Message | None = None
    """What @original means: the response, or the source message after an update."""
    response_message_id: str | None = None
    modal: dict[str, Any] | None = None
    deadline: asyncio.TimerHandle | None = None
    choices: asyncio.Future[list[dict[str, Any]]] | None = field(default=None, repr=False)

    def allowed_callbacks(self) -> tuple[Callback, ...]:
        """Return the callback types that fit this kind of interaction."""
        answers = (Callback.MESSAGE, Callback.DEFERRED_MESSAGE)
        updates = (Callback.DEFERRED_UPDATE, Callback.UPDATE_MESSAGE)
        match self.kind:
            case InteractionKind.COMMAND:
                return (*answers, Callback.MODAL)
            case InteractionKind.COMPONENT:
                return (*answers, *updates, Callback.MODAL)
            case InteractionKind.AUTOCOMPLETE:
                return (Callback.CHOICES,)
            case InteractionKind.MODAL_SUBMIT:
                return (*answers, *updates) if self.source is not None else answers

    def summary(self) -> dict[str, Any]:
        """Return what the page may know about it."""
        return {
            "id": self.id,
            "state": self.state,
            "response_message_id": self.response_message_id,
            "modal": self.modal,
            "reason": NO_RESPONSE if self.state == "failed" else None,
        }


class InteractionBook:
    """Open interactions, run their deadlines, and find them again by id and by token."""

    def __init__(self, *, ack_seconds: float, token_seconds: float, settled: Callable[[Interaction], None]) -> None:
        self._ack_seconds = ack_seconds
        self._token_seconds = token_seconds
        self._settled = settled
        self._by_id: OrderedDict[str, Interaction] = OrderedDict()
        self._by_token: dict[str, Interaction] = {}

    def open(
        self,
        interaction_id: str,
        kind: InteractionKind,
        member_id: str,
        channel: Channel,
        metadata: dict[str, Any],
        *,
        source: Message | None = None,
        command: dict[str, Any] | None = None,
    ) -> Interaction:
        """Start an interaction and its deadline."""
        loop = asyncio.get_running_loop()
        secret = f"interaction:{interaction_id}:{secrets.token_urlsafe(48)}"
        token = base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
        interaction = Interaction(
            interaction_id,
            token,
            kind,
            member_id,
            channel,
            loop.time() + self._token_seconds,
            metadata,
            source=source,
            command=command,
        )
        interaction.deadline = loop.call_later(self._ack_seconds, self._fail, interaction)
        self._by_id[interaction.id] = self._by_token[token] = interaction
        if len(self._by_id) > KEPT:
            _, oldest = self._by_id.popitem(last=False)
            del self._by_token[oldest.token]
        return interaction

    def _fail(self, interaction: Interaction) -> None:
        if interaction.state == "pending":
            interaction.state = "failed"
            if interaction.choices is not None and not interaction.choices.done():
                interaction.choices.set_result([])
            self._settled(interaction)

    def acknowledge(self, interaction: Interaction, callback: Callback) -> None:
        """Stop the deadline: the bot has answered with this kind of callback."""
        if interaction.deadline is not None:
            interaction.deadline.cancel()
        interaction.state = "acknowledged"
        interaction.callback = callback
        self._settled(interaction)

    def get(self, interaction_id: str) -> Interaction | None:
        return self._by_id.get(interaction_id)

    def every(self) -> list[Interaction]:
        """Return all interactions that are remembered, oldest first."""
        return list(self._by_id.values())

    def with_token(self, token: str) -> Interaction | None:
        """Find the interaction of a token that is still alive."""
        interaction = self._by_token.get(token)
        if interaction is None or interaction.expires_at <= asyncio.get_running_loop().time():
            return None
        return interaction

    def expire_tokens(self) -> None:
        """Let every token given so far be expired from now on."""
        now = asyncio.get_running_loop().time()
        for interaction in self._by_id.values():
            interaction.expires_at = min(interaction.expires_at, now)

    def close(self) -> None:
        """Cancel every deadline that still runs."""
        for interaction in self._by_id.values():
            if interaction.deadline is not None:
                interaction.deadline.cancel()
