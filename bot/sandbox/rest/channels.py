"""Channels and their messages, with the bot's own permissions."""

from __future__ import annotations

from itertools import islice
from typing import Any

from bot.sandbox import composing, errors
from bot.sandbox.community import PUBLIC_THREAD, Channel
from bot.sandbox.events import MessageDeleted
from bot.sandbox.losses import reopen_thread
from bot.sandbox.messages import Message
from bot.sandbox.ratelimits import DELETE, EDIT, SEND
from bot.sandbox.rules.forms import Violation
from bot.sandbox.rules.messages import CHANNEL_FORM
from bot.sandbox.rules.permissions import Permission

from .api import Call, Route


def _channel(call: Call, *needed: Permission) -> Channel:
    """Find the channel and make sure that the bot sees it and has the permissions."""
    community = call.world.community
    channel = community.channels.get(call.params["channel_id"])
    if channel is None:
        raise errors.unknown_channel()
    held = community.permissions(community.bot.id, channel)
    if not held & Permission.VIEW_CHANNEL:
        raise errors.missing_access()
    for permission in needed:
        if permission is Permission.SEND_MESSAGES and channel.kind == PUBLIC_THREAD:
            permission = Permission.SEND_MESSAGES_IN_THREADS
        if not held & permission:
            raise errors.missing_permissions()
    return channel


def _message(call: Call, channel: Channel) -> Message:
    """Find a message of the channel; ephemeral ones are not there for this route."""
    message = call.world.messages.get(channel.id, call.params["message_id"])
    if message is None or message.ephemeral_for is not None:
        raise errors.unknown_message()
    return message


async def fetch(call: Call) -> dict[str, Any]:
    return _channel(call).raw()


async def history(call: Call) -> list[dict[str, Any]]:
    channel = _channel(call)
    community = call.world.community
    if not community.permissions(community.bot.id, channel) & Permission.READ_MESSAGE_HISTORY:
        return []
    try:
        limit = min(100, max(1, int(call.query.get("limit", "50"))))
        before = int(call.query.get("before", str(2**63)))
        after = int(call.query.get("after", "0"))
    except ValueError:
        raise errors.ApiError(400, 50035, "Invalid Form Body") from None
    newest_first = call.world.messages.newest_first(channel.id)
    chosen = (m.raw for m in newest_first if m.ephemeral_for is None and after < int(m.id) < before)
    return list(chosen)[-limit:] if "after" in call.query else list(islice(chosen, limit))


async def fetch_message(call: Call) -> dict[str, Any]:
    channel = _channel(call, Permission.READ_MESSAGE_HISTORY)
    return _message(call, channel).raw


async def send(call: Call) -> dict[str, Any]:
    world = call.world
    channel = _channel(call, Permission.SEND_MESSAGES)
    body = call.message_body()
    if body.files:
        _channel(call, Permission.ATTACH_FILES)
    if channel.recipient is not None and world.faults.closed_dms:
        raise errors.closed_direct_messages()
    if channel.recipient is not None and not any(guild.has_bot for guild in world.community.guilds.values()):
        raise errors.no_mutual_guild()
    if channel.locked and not world.community.permissions(world.community.bot.id, channel) & Permission.MANAGE_THREADS:
        raise errors.archived_thread()
    composing.check_body(body, CHANNEL_FORM, kept={})
    nonce = body.fields.get("nonce")
    if nonce is not None and body.fields.get("enforce_nonce"):
        earlier = world.messages.with_nonce(channel.id, str(nonce))
        if earlier is not None:
            return earlier.raw
    message = composing.create(
        world, body, channel, form=CHANNEL_FORM, about=_reference(call, channel, body.fields.get("message_reference"))
    )
    if channel.archived:
        reopen_thread(world, channel.id)
    return message.raw


def _reference(call: Call, channel: Channel, reference: dict[str, Any] | None) -> dict[str, Any]:
    if not reference:
        return {}
    target = call.world.messages.get(channel.id, str(reference["message_id"]))
    if target is None or target.ephemeral_for is not None:
        if reference.get("fail_if_not_exists") is False:
            return {}
        violation = Violation(("message_reference",), "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        raise errors.invalid_form([violation])
    return {
        "type": 19,
        "message_reference": {key: target.raw[key] for key in ("channel_id", "guild_id") if key in target.raw}
        | {"type": 0, "message_id": target.id},
    }


async def edit(call: Call) -> dict[str, Any]:
    channel = _channel(call)
    message = _message(call, channel)
    if message.author_id != call.world.community.bot.id:
        raise errors.foreign_message()
    if channel.archived:
        raise errors.archived_thread()
    body = call.message_body()
    if body.files:
        _channel(call, Permission.ATTACH_FILES)
    return composing.edit(call.world, message, body).raw


async def delete(call: Call) -> None:
    channel = _channel(call)
    message = _message(call, channel)
    if message.author_id != call.world.community.bot.id:
        _channel(call, Permission.MANAGE_MESSAGES)
    call.world.messages.remove(message)
    call.world.bus.publish(MessageDeleted(message))


async def typing(call: Call) -> None:
    _channel(call, Permission.SEND_MESSAGES)


_CHANNEL = ("channel_id",)
ROUTES = (
    Route("GET", "/channels/{channel_id}", fetch, major=_CHANNEL),
    Route("GET", "/channels/{channel_id}/messages", history, major=_CHANNEL),
    Route("POST", "/channels/{channel_id}/messages", send, SEND, _CHANNEL),
    Route("GET", "/channels/{channel_id}/messages/{message_id}", fetch_message, major=_CHANNEL),
    Route("PATCH", "/channels/{channel_id}/messages/{message_id}", edit, EDIT, _CHANNEL),
    Route("DELETE", "/channels/{channel_id}/messages/{message_id}", delete, DELETE, _CHANNEL),
    Route("POST", "/channels/{channel_id}/typing", typing, SEND, _CHANNEL),
)
