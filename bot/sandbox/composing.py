"""Turn checked message bodies into messages: attachments stored, media resolved, mentions found."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import errors
from .community import APPLICATION_ID, Channel, User
from .events import MessageCreated, MessageUpdated
from .files import SentFile, describe, safe_filename
from .messages import COMPONENTS_V2, EPHEMERAL, LOADING, Message
from .rules.components import TEXT_DISPLAY, media_of, walk
from .rules.forms import Check
from .rules.messages import (
    RESPONSE_FORM,
    SUPPRESS_EMBEDS,
    SUPPRESS_NOTIFICATIONS,
    check_files,
    check_mentions,
    check_nonce,
    check_outcome,
)
from .snowflakes import timestamp
from .world import World

_SETTABLE = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2


@dataclass(frozen=True, slots=True)
class Body:
    """A message body as a request carried it: the JSON, and files by their index."""

    fields: dict[str, Any]
    files: Mapping[int, SentFile] = field(default_factory=dict)


def create(
    world: World,
    body: Body,
    channel: Channel,
    *,
    form: Check = RESPONSE_FORM,
    ephemeral_for: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> Message:
    """Check a body, add the message to the channel and announce it.

    `about` holds raw fields that say where the message comes from (type, webhook_id, interaction_metadata, …).
    Raises ApiError as Discord would answer.
    """
    fields = body.fields
    check_body(body, form, kept={})
    content, embeds, components = (
        fields.get("content") or "",
        fields.get("embeds") or [],
        fields.get("components") or [],
    )
    flags = (fields.get("flags") or 0) & _SETTABLE
    v2 = bool(flags & COMPONENTS_V2)
    names = [safe_filename(name) for name in _new_filenames(body).values()]
    errors.refuse(list(check_outcome(content=content, embeds=embeds, components=components, v2=v2, filenames=names)))
    if not (content or embeds or components or body.files):
        raise errors.empty_message()
    _check_sizes(world, body)
    message = _blank(world, channel, ephemeral_for, about)
    message.raw["flags"] |= flags
    _fill(world, message, body, content=content, embeds=embeds, components=components, attachments=[])
    nonce = fields.get("nonce")
    if nonce is not None:
        message.raw["nonce"] = nonce
    _add(world, message, channel, str(nonce) if nonce is not None and fields.get("enforce_nonce") else None)
    return message


def create_loading(
    world: World, channel: Channel, *, ephemeral_for: str | None, about: Mapping[str, Any] | None
) -> Message:
    """Add the placeholder of a deferred response, which people see as "thinking"."""
    message = _blank(world, channel, ephemeral_for, about)
    message.raw["flags"] |= LOADING
    _add(world, message, channel, None)
    return message


def edit(world: World, message: Message, body: Body, *, form: Check = RESPONSE_FORM) -> Message:
    """Check a body against what the message already is, change the message and announce it.

    Fields that are not given stay; the Components V2 flag can be set but never taken back.
    Raises ApiError as Discord would answer.
    """
    fields, raw = body.fields, message.raw
    existing = {attachment["id"]: attachment for attachment in raw["attachments"]}
    check_body(body, form, kept=existing)
    listed = fields.get("attachments")
    kept = list(existing.values())
    if "attachments" in fields:
        kept_ids = {str(entry["id"]) for entry in listed or ()}
        kept = [attachment for attachment in kept if attachment["id"] in kept_ids]
    content = (fields["content"] or "") if "content" in fields else raw["content"]
    embeds = (fields["embeds"] or []) if "embeds" in fields else raw["embeds"]
    components = (fields["components"] or []) if "components" in fields else raw["components"]
    flags = raw["flags"] & ~LOADING
    if fields.get("flags") is not None:
        flags = flags & ~SUPPRESS_EMBEDS | fields["flags"] & (COMPONENTS_V2 | SUPPRESS_EMBEDS)
    v2 = bool(flags & COMPONENTS_V2)
    names = [attachment["filename"] for attachment in kept] + [safe_filename(n) for n in _new_filenames(body).values()]
    violations = check_outcome(
        content=content,
        embeds=embeds if "embeds" in fields else [],
        components=components if "components" in fields or v2 != bool(raw["flags"] & COMPONENTS_V2) else None,
        v2=v2,
        filenames=names,
    )
    errors.refuse(list(violations))
    if not (content or embeds or components or kept or body.files):
        raise errors.empty_message()
    _check_sizes(world, body)
    for attachment in existing.values():
        if attachment not in kept:
            world.files.drop(attachment["id"])
    was_loading = message.is_loading
    raw["flags"] = flags
    _fill(
        world,
        message,
        body,
        content=content,
        embeds=embeds,
        components=components,
        attachments=kept,
        resolve="components" in fields,
    )
    raw["edited_timestamp"] = None if was_loading else timestamp()
    world.bus.publish(MessageUpdated(message))
    return message


def check_body(body: Body, form: Check, *, kept: Mapping[str, Any]) -> None:
    """Refuse a body whose fields are wrong by themselves (types, lengths, unknown fields, files)."""
    violations = list(form(body.fields, ()))
    if not violations:
        violations += check_nonce(body.fields.get("nonce"))
        violations += check_mentions(body.fields.get("allowed_mentions"))
        violations += check_files(body.fields, body.files, kept)
    errors.refuse(violations)


def _check_sizes(world: World, body: Body) -> None:
    largest = world.faults.largest_file or world.limits.attachment_bytes
    if any(len(file.data) > largest for file in body.files.values()):
        raise errors.request_too_large()


def _new_filenames(body: Body) -> dict[int, str]:
    """Return the names of the request's files; an attachment entry may rename its file."""
    names = {index: file.filename for index, file in body.files.items()}
    for entry in body.fields.get("attachments") or ():
        index = str(entry["id"])
        if index.isdecimal() and int(index) in names and entry.get("filename"):
            names[int(index)] = entry["filename"]
    return names


def _blank(world: World, channel: Channel, ephemeral_for: str | None, about: Mapping[str, Any] | None) -> Message:
    raw: dict[str, Any] = {
        "id": world.snowflakes.next(),
        "type": 0,
        "channel_id": channel.id,
        "author": world.community.bot.raw(),
        "content": "",
        "timestamp": timestamp(),
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "components": [],
        "pinned": False,
        "flags": 0 if ephemeral_for is None else EPHEMERAL,
        **(about or {}),
    }
    if not channel.is_direct:
        raw["guild_id"] = channel.guild_id
    return Message(raw, ephemeral_for)


def _add(world: World, message: Message, channel: Channel, nonce: str | None) -> None:
    world.messages.add(message, nonce)
    if message.ephemeral_for is None:
        channel.last_message_id = message.id
    world.bus.publish(MessageCreated(message))


def _fill(
    world: World,
    message: Message,
    body: Body,
    *,
    content: str,
    embeds: list[Any],
    components: list[Any],
    attachments: list[dict[str, Any]],
    resolve: bool = True,
) -> None:
    raw = message.raw
    descriptions = {str(entry["id"]): entry for entry in body.fields.get("attachments") or ()}
    added = []
    for index, name in sorted(_new_filenames(body).items()):
        file = SentFile(safe_filename(name), body.files[index].data)
        attachment_id = world.snowflakes.next()
        hidden = message.ephemeral_for is not None
        attachment = describe(
            attachment_id,
            file,
            cdn_base=world.addresses.cdn_base,
            folder="ephemeral-attachments" if hidden else "attachments",
            channel_id=message.channel_id,
            ephemeral=hidden,
        )
        description = descriptions.get(str(index), {}).get("description")
        if description:
            attachment["description"] = description
        world.files.put(attachment_id, file)
        added.append(attachment)
    raw["attachments"] = attachments + added
    raw["content"] = content
    raw["embeds"] = [_with_files(embed, raw["attachments"]) for embed in embeds]
    raw["components"] = _completed(components, raw["attachments"]) if resolve else components
    _find_mentions(world, raw, body.fields.get("allowed_mentions"))


def _with_files(embed: dict[str, Any], attachments: list[dict[str, Any]]) -> dict[str, Any]:
    by_name = {attachment["filename"]: attachment for attachment in attachments}
    embed = copy.deepcopy(embed)
    embed.setdefault("type", "rich")
    for part, key in (("image", "url"), ("thumbnail", "url"), ("footer", "icon_url"), ("author", "icon_url")):
        address = (embed.get(part) or {}).get(key) or ""
        if address.startswith("attachment://"):
            embed[part][key] = by_name[address.removeprefix("attachment://")]["url"]
    return embed


def _completed(components: list[Any], attachments: list[dict[str, Any]]) -> list[Any]:
    """Copy components as Discord returns them: every one with an id, media with what is known of it."""
    components = with_ids(components)
    by_name = {attachment["filename"]: attachment for attachment in attachments}
    by_url = {attachment["url"]: attachment for attachment in attachments}
    for _, component in walk(components):
        for _, media in media_of(component):
            address = media["url"]
            attachment = by_name.get(address.removeprefix("attachment://")) or by_url.get(address)
            media.update({"proxy_url": address, "loading_state": 2, "flags": 0})
            if attachment is not None:
                media.update(
                    {
                        key: attachment[key]
                        for key in ("url", "proxy_url", "content_type", "width", "height")
                        if key in attachment
                    }
                )
                media["attachment_id"] = attachment["id"]
                if component["type"] == 13:
                    component["name"], component["size"] = attachment["filename"], attachment["size"]
    return components


def with_ids(components: list[Any]) -> list[Any]:
    """Copy components, giving an id to each that has none."""
    components = copy.deepcopy(components)
    taken = {component["id"] for _, component in walk(components) if component.get("id")}
    number = 0
    for _, component in walk(components):
        if not component.get("id"):
            number += 1
            while number in taken:
                number += 1
            component["id"] = number
    return components


def _find_mentions(world: World, raw: dict[str, Any], allowed: dict[str, Any] | None) -> None:
    """Fill in who is mentioned and notified, within what allowed_mentions allows."""
    texts = [raw["content"]]
    texts += [c["content"] for _, c in walk(raw["components"]) if c.get("type") == TEXT_DISPLAY]
    found = dict.fromkeys(re.findall(r"<@!?(\d+)>", "\n".join(texts)))
    if allowed is not None and "users" not in (allowed.get("parse") or ()):
        listed = {str(user_id) for user_id in allowed.get("users") or ()}
        found = {user_id: None for user_id in found if user_id in listed}
    members = world.community.members
    raw["mentions"] = [members[user_id].user.raw() for user_id in found if user_id in members]


def about_interaction(user: User, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the raw fields that mark a message as an interaction's response."""
    return {
        "webhook_id": APPLICATION_ID,
        "application_id": APPLICATION_ID,
        "interaction_metadata": {**metadata, "user": user.raw()},
    }
