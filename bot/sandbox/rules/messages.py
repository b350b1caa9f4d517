"""Rules for message bodies: creating and editing, through channels, webhooks and callbacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from .components import check_components
from .embeds import check_embeds
from .forms import (
    Check,
    Path,
    Violation,
    anything,
    array,
    boolean,
    choice,
    form,
    integer,
    number,
    optional,
    snowflake,
    text,
)

SUPPRESS_EMBEDS, EPHEMERAL, SUPPRESS_NOTIFICATIONS, COMPONENTS_V2 = 1 << 2, 1 << 6, 1 << 12, 1 << 15
MOST_CONTENT = 2_000
MOST_FILES = 10
MOST_NONCE = 25

_MENTIONS = form(
    {
        "parse": optional(array(choice("roles", "users", "everyone"), 0, 3)),
        "roles": optional(array(snowflake, 0, 100)),
        "users": optional(array(snowflake, 0, 100)),
        "replied_user": optional(boolean),
    }
)
# The read-only fields of Discord's own attachment object may be sent back, as clients do when they keep a file.
_ATTACHMENT = form(
    {
        "id": snowflake,
        "filename": optional(text(1, 1_024)),
        "description": optional(text(0, 1_024)),
        "title": optional(text(0, 1_024)),
        "duration_secs": optional(number),
        "waveform": optional(text(0, 400)),
        "is_spoiler": optional(boolean),
        "is_remix": optional(boolean),
        "spoiler": optional(boolean),
        "size": anything,
        "url": anything,
        "proxy_url": anything,
        "width": anything,
        "height": anything,
        "content_type": anything,
        "ephemeral": anything,
        "flags": anything,
    },
    "id",
)
_FIELDS: dict[str, Check] = {
    "content": optional(text(0, MOST_CONTENT)),
    "embeds": optional(array(anything)),
    "components": optional(array(anything)),
    "flags": optional(integer(0)),
    "allowed_mentions": optional(_MENTIONS),
    "attachments": optional(array(_ATTACHMENT, 0, MOST_FILES)),
    "tts": optional(boolean),
}
_CHANNEL_FIELDS: dict[str, Check] = {
    **_FIELDS,
    "nonce": anything,
    "enforce_nonce": optional(boolean),
    "message_reference": optional(
        form(
            {
                "type": optional(choice(0, 1)),
                "message_id": snowflake,
                "channel_id": optional(snowflake),
                "guild_id": optional(snowflake),
                "fail_if_not_exists": optional(boolean),
            },
            "message_id",
        )
    ),
    "sticker_ids": optional(array(snowflake, 0, 3)),
}
_WEBHOOK_FIELDS: dict[str, Check] = {
    **_FIELDS,
    "username": optional(text(1, 80)),
    "avatar_url": optional(text(0, 2_048)),
}

RESPONSE_FORM = form(_FIELDS)
"""The body of an interaction response, and of edits."""
CHANNEL_FORM = form(_CHANNEL_FIELDS)
WEBHOOK_FORM = form(_WEBHOOK_FIELDS)


def check_nonce(nonce: Any) -> Iterator[Violation]:
    """Check a nonce: a number, or up to 25 characters."""
    path: Path = ("nonce",)
    if nonce is not None and (isinstance(nonce, bool) or not isinstance(nonce, int | str)):
        yield Violation(path, "NONCE_TYPE", "Must be a string or an integer")
    elif nonce is not None and len(str(nonce)) > MOST_NONCE:
        yield Violation(path, "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_NONCE} or fewer in length.")


def check_mentions(mentions: dict[str, Any] | None) -> Iterator[Violation]:
    """Check that a list of ids and the permission to parse all of its kind do not stand together."""
    for kind in ("users", "roles"):
        if mentions and kind in (mentions.get("parse") or ()) and mentions.get(kind):
            yield Violation(
                ("allowed_mentions",),
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.',
            )


def check_files(body: dict[str, Any], file_indexes: Collection[int], kept_ids: Collection[str]) -> Iterator[Violation]:
    """Check that attachment entries mean a file of this request or one the message already has, ten in all."""
    listed = body.get("attachments")
    if listed is None:
        if len(file_indexes) + len(kept_ids) > MOST_FILES:
            yield Violation(("attachments",), "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_FILES} or fewer in length.")
        return
    named = [str(entry["id"]) for entry in listed]
    for position, entry_id in enumerate(named):
        if entry_id not in kept_ids and entry_id not in map(str, file_indexes):
            yield Violation(
                ("attachments", position, "id"),
                "ATTACHMENT_NOT_FOUND",
                f"There is no file files[{entry_id}] in this request and no such attachment on the message",
            )
        elif named.index(entry_id) != position:
            yield Violation(("attachments", position, "id"), "ATTACHMENT_DUPLICATED", "Attachment id is used twice")
    unlisted = sum(1 for index in file_indexes if str(index) not in named)
    if len(named) + unlisted > MOST_FILES:
        yield Violation(("attachments",), "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_FILES} or fewer in length.")


def check_outcome(
    *, content: str, embeds: Any, components: Any, v2: bool, filenames: Collection[str]
) -> Iterator[Violation]:
    """Check the message that a create or an edit would leave behind."""
    if v2:
        for name, value in (("content", content), ("embeds", embeds)):
            if value:
                yield Violation(
                    (name,),
                    "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                    f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
                )
    yield from check_embeds(embeds, filenames)
    yield from check_components(components, v2=v2, filenames=filenames)
