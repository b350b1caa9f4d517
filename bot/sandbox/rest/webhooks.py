"""The routes of an interaction token: follow-ups, and reading, editing and deleting responses.

They need no bot token: whoever has the interaction token may answer. It dies after 15 minutes.
"""

from __future__ import annotations

from typing import Any

from bot.sandbox import composing, errors
from bot.sandbox.community import APPLICATION_ID
from bot.sandbox.events import MessageDeleted
from bot.sandbox.interactions import Callback, Interaction, InteractionKind
from bot.sandbox.messages import EPHEMERAL, Message
from bot.sandbox.ratelimits import WEBHOOK
from bot.sandbox.rules.messages import WEBHOOK_FORM

from .api import Call, Route
from .interactions import check_place, respond


def _interaction(call: Call) -> Interaction:
    """Find the interaction of a living token that the bot has acknowledged."""
    if call.params["webhook_id"] != APPLICATION_ID:
        raise errors.unknown_webhook()
    interaction = call.world.interactions.with_token(call.params["webhook_token"])
    if interaction is None:
        raise errors.invalid_webhook_token()
    if interaction.state != "acknowledged" or interaction.kind is InteractionKind.AUTOCOMPLETE:
        raise errors.unknown_webhook()
    check_place(call.world, interaction)
    return interaction


def _message(call: Call, interaction: Interaction) -> Message:
    """Find @original, a follow-up, or the message whose component was used."""
    message_id = call.params.get("message_id", "@original")
    if message_id == "@original":
        if interaction.original is None:
            raise errors.unknown_message()
        message_id = interaction.original.id
    message = call.world.messages.get(interaction.channel.id, message_id)
    if message is None or not _belongs(message, interaction):
        raise errors.unknown_message()
    return message


def _belongs(message: Message, interaction: Interaction) -> bool:
    if message is interaction.original:
        return True
    return bool(message.raw.get("interaction_metadata", {}).get("id") == interaction.id)


async def follow_up(call: Call) -> Any:
    """Add a follow-up; the first one after a deferred response takes the placeholder's place, as on Discord."""
    interaction = _interaction(call)
    body = call.message_body()
    composing.check_body(body, WEBHOOK_FORM, kept={})
    fields = {name: value for name, value in body.fields.items() if name not in ("username", "avatar_url")}
    original = interaction.original
    if (
        interaction.callback is Callback.DEFERRED_MESSAGE
        and original is not None
        and original.is_loading
        and call.world.messages.get(original.channel_id, original.id) is not None
    ):
        fields["flags"] = (fields.get("flags") or 0) & ~EPHEMERAL
        message = composing.edit(call.world, original, composing.Body(fields, body.files))
    else:
        hidden = interaction.member_id if (fields.get("flags") or 0) & EPHEMERAL else None
        message = respond(call.world, interaction, composing.Body(fields, body.files), ephemeral_for=hidden)
    return message.raw


async def fetch(call: Call) -> dict[str, Any]:
    return _message(call, _interaction(call)).raw


async def edit(call: Call) -> dict[str, Any]:
    interaction = _interaction(call)
    message = _message(call, interaction)
    if interaction.channel.archived:
        raise errors.archived_thread()
    return composing.edit(call.world, message, call.message_body()).raw


async def delete(call: Call) -> None:
    message = _message(call, _interaction(call))
    call.world.messages.remove(message)
    call.world.bus.publish(MessageDeleted(message))


def _route(method: str, path: str, handler: Any) -> Route:
    return Route(
        method,
        "/webhooks/{webhook_id}/{webhook_token}" + path,
        handler,
        WEBHOOK,
        ("webhook_id", "webhook_token"),
        with_bot_token=False,
    )


ROUTES = (
    _route("POST", "", follow_up),
    _route("GET", "/messages/@original", fetch),
    _route("PATCH", "/messages/@original", edit),
    _route("DELETE", "/messages/@original", delete),
    _route("GET", "/messages/{message_id}", fetch),
    _route("PATCH", "/messages/{message_id}", edit),
    _route("DELETE", "/messages/{message_id}", delete),
)
