"""Interaction callbacks: the bot's first answer, within its time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bot.sandbox import composing, errors
from bot.sandbox.composing import Body, about_interaction
from bot.sandbox.errors import ApiError
from bot.sandbox.events import ModalOpened
from bot.sandbox.interactions import Callback, Interaction
from bot.sandbox.messages import EPHEMERAL, LOADING, Message
from bot.sandbox.rules.forms import (
    Violation,
    anything,
    array,
    choice,
    form,
    integer,
    is_object,
    localizations,
    number,
    text,
)
from bot.sandbox.rules.modals import check_modal
from bot.sandbox.world import World

from .api import Call, Route

_CALLBACK = form({"type": anything, "data": anything}, "type")
_DEFERRED = form({"flags": integer(0), **dict.fromkeys(("tts", "allowed_mentions"), anything)})


def _choices_form(option_type: int | None) -> Any:
    value = {4: integer(), 10: number}.get(option_type or 3, text(0, 100))
    entry = form({"name": text(1, 100), "name_localizations": localizations(1, 100), "value": value}, "name", "value")
    return form({"choices": array(entry, 0, 25)}, "choices")


async def callback(call: Call) -> Any:
    """Take the bot's answer to an interaction.

    Too late, or with a wrong token, it is 10062; the second time it is 40060; a body that breaks a rule leaves the
    interaction open, so that the bot may still answer properly.
    """
    world = call.world
    interaction = world.interactions.get(call.params["interaction_id"])
    if interaction is None or interaction.token != call.params["interaction_token"] or interaction.state == "failed":
        raise errors.unknown_interaction()
    if interaction.state == "acknowledged":
        raise errors.already_acknowledged()
    check_place(world, interaction)
    errors.refuse(list(_CALLBACK(call.json, ())))
    allowed = tuple(map(int, interaction.allowed_callbacks()))
    errors.refuse(list(choice(*allowed)(call.json["type"], ("type",))))
    kind = Callback(call.json["type"])
    data = call.json.get("data")
    data = {} if data is None else data
    errors.refuse(list(is_object(data, ("data",))))
    _perform(call, interaction, kind, data)
    return _answer(interaction, kind) if call.flag("with_response") else None


@contextlib.contextmanager
def _inside_data() -> Iterator[None]:
    """Name violations of a message body where they are in a callback: under "data"."""
    try:
        yield
    except ApiError as error:
        errors_inside = {"data": error.errors} if error.errors else None
        raise ApiError(error.status, error.code, error.message, errors_inside) from None


def check_place(world: World, interaction: Interaction) -> None:
    """Refuse where the interaction's channel, or the bot's place in the guild, has gone; raises ApiError."""
    if interaction.channel.id not in world.community.channels:
        raise errors.unknown_channel()
    if not interaction.channel.is_direct and not world.community.guild_of(interaction.channel).has_bot:
        raise errors.unknown_webhook()


def _perform(call: Call, interaction: Interaction, kind: Callback, data: dict[str, Any]) -> None:
    world = call.world
    match kind:
        case Callback.MESSAGE:
            hidden = interaction.member_id if (_flags(data) & EPHEMERAL) else None
            with _inside_data():
                interaction.original = respond(world, interaction, Body(data, call.files), ephemeral_for=hidden)
            interaction.response_message_id = interaction.original.id
        case Callback.DEFERRED_MESSAGE:
            errors.refuse(list(_DEFERRED(data, ("data",))))
            hidden = interaction.member_id if (_flags(data) & EPHEMERAL) else None
            interaction.original = composing.create_loading(
                world, interaction.channel, ephemeral_for=hidden, about=describe_response(world, interaction)
            )
            interaction.response_message_id = interaction.original.id
        case Callback.DEFERRED_UPDATE:
            interaction.original = interaction.source
        case Callback.UPDATE_MESSAGE:
            source = interaction.source
            if source is None or world.messages.get(source.channel_id, source.id) is None:
                raise errors.unknown_message()
            with _inside_data():
                composing.edit(world, source, Body(data, call.files))
            interaction.original = source
            interaction.response_message_id = source.id
        case Callback.CHOICES:
            errors.refuse(list(_choices_form(interaction.option_type)(data, ("data",))))
            if interaction.choices is not None and not interaction.choices.done():
                interaction.choices.set_result(data["choices"])
        case Callback.MODAL:
            errors.refuse(list(check_modal(data)))
            interaction.modal = {**data, "components": composing.with_ids(data["components"])}
    world.interactions.acknowledge(interaction, kind)
    if interaction.modal is not None:
        world.bus.publish(ModalOpened(interaction, interaction.modal))


def _flags(data: dict[str, Any]) -> int:
    flags = data.get("flags") or 0
    if not isinstance(flags, int):
        raise errors.invalid_form([Violation(("data", "flags"), "NUMBER_TYPE_COERCE", f'Value "{flags}" is not int.')])
    return flags


def respond(world: World, interaction: Interaction, body: Body, *, ephemeral_for: str | None) -> Message:
    """Add a message that answers an interaction: its response or a follow-up.

    The bot's own permission to send does not matter here, as on Discord.
    """
    fields = dict(body.fields)
    flags = fields.get("flags")
    if isinstance(flags, int):
        # EPHEMERAL has been read already; what else may be set is the composer's to know.
        fields["flags"] = flags & ~EPHEMERAL & ~LOADING
    return composing.create(
        world,
        Body(fields, body.files),
        interaction.channel,
        ephemeral_for=ephemeral_for,
        about=describe_response(world, interaction),
    )


def describe_response(world: World, interaction: Interaction) -> dict[str, Any]:
    """Return the raw fields of a response: who asked, and what it replies to."""
    member = world.community.members[interaction.member_id]
    about = about_interaction(member.user, interaction.metadata)
    if interaction.command is not None:
        about["type"] = 20 if interaction.command["type"] == 1 else 23
        about["interaction"] = {
            "id": interaction.id,
            "type": int(interaction.kind),
            "name": interaction.command["name"],
            "user": member.user.raw(),
        }
    elif interaction.source is not None:
        source = interaction.source
        about["type"] = 19
        about["message_reference"] = {"type": 0, "message_id": source.id, "channel_id": source.channel_id}
        if "guild_id" in source.raw:
            about["message_reference"]["guild_id"] = source.raw["guild_id"]
    return about


def _answer(interaction: Interaction, kind: Callback) -> dict[str, Any]:
    about: dict[str, Any] = {"id": interaction.id, "type": int(interaction.kind)}
    resource: dict[str, Any] = {"type": int(kind)}
    message = interaction.original
    if message is not None and kind in (Callback.MESSAGE, Callback.DEFERRED_MESSAGE, Callback.UPDATE_MESSAGE):
        about["response_message_id"] = message.id
        about["response_message_loading"] = message.is_loading
        about["response_message_ephemeral"] = message.ephemeral_for is not None
        resource["message"] = message.raw
    return {"interaction": about, "resource": resource}


ROUTES = (
    Route(
        "POST",
        "/interactions/{interaction_id}/{interaction_token}/callback",
        callback,
        bucket=None,
        with_bot_token=False,
    ),
)
