"""Read raw messages the way a person does: their words, their pictures, their buttons."""

from __future__ import annotations

from typing import Any

from .rules.components import BUTTON, SELECTS, TEXT_DISPLAY, media_of, walk

RawMessage = dict[str, Any]


def text_of(message: RawMessage) -> str:
    """Return everything a message says, line by line: content, embeds and text displays."""
    lines = [message["content"]]
    for embed in message["embeds"]:
        lines += [embed.get("title"), embed.get("description")]
        lines += [part for entry in embed.get("fields") or () for part in (entry["name"], entry["value"])]
        lines += [(embed.get("footer") or {}).get("text")]
    lines += [component["content"] for _, component in walk(message["components"]) if component["type"] == TEXT_DISPLAY]
    return "\n".join(line for line in lines if line)


def controls_of(message: RawMessage) -> list[dict[str, Any]]:
    """Return the buttons and selects of a message, in reading order."""
    return [component for _, component in walk(message["components"]) if component["type"] in (BUTTON, *SELECTS)]


def labels_of(message: RawMessage) -> list[str]:
    """Return the labels of a message's buttons that can be pressed."""
    return [
        control.get("label") or (control.get("emoji") or {}).get("name") or ""
        for control in controls_of(message)
        if control["type"] == BUTTON and not control.get("disabled")
    ]


def pictures_of(message: RawMessage) -> list[str]:
    """Return the addresses of the pictures a message shows: of its media, or else of its attachments."""
    shown = [media["url"] for _, component in walk(message["components"]) for _, media in media_of(component)]
    return shown or [attachment["url"] for attachment in message["attachments"]]


def find_control(message: RawMessage, wanted: str) -> dict[str, Any]:
    """Find a control by its label, emoji or custom_id.

    Raises LookupError that names what there is.
    """
    controls = controls_of(message)
    for control in controls:
        names = (control.get("label"), (control.get("emoji") or {}).get("name"), control.get("custom_id"))
        if wanted in names:
            return control
    there = ", ".join(repr(control.get("label") or control.get("custom_id")) for control in controls) or "nothing"
    raise LookupError(f"The message has no control {wanted!r}; there is {there}.")
