"""Rules for embeds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from .components import check_reference
from .forms import Check, Path, Violation, anything, array, boolean, form, integer, optional, text, url

MOST_EMBEDS = 10
MOST_CHARACTERS = 6_000
"""Over all embeds of a message: titles, descriptions, field names and values, footers and author names."""

_WEB = optional(url(("http", "https")))
_PICTURE_URL = optional(url(("http", "https", "attachment")))
_PICTURE = optional(
    form({"url": _PICTURE_URL, "proxy_url": anything, "width": anything, "height": anything, "flags": anything})
)
_NAME_AND_URL: dict[str, Check] = {"name": optional(text(0, 256)), "url": _WEB}

_EMBED = form(
    {
        "type": optional(text()),
        "title": optional(text(0, 256)),
        "description": optional(text(0, 4_096)),
        "url": _WEB,
        "timestamp": optional(text(1, 64)),
        "color": optional(integer(0, 0xFFFFFF)),
        "footer": optional(form({"text": text(0, 2_048), "icon_url": _PICTURE_URL, "proxy_icon_url": anything})),
        "image": _PICTURE,
        "thumbnail": _PICTURE,
        "video": _PICTURE,
        "provider": optional(form(_NAME_AND_URL)),
        "author": optional(form({**_NAME_AND_URL, "icon_url": _PICTURE_URL, "proxy_icon_url": anything})),
        "fields": optional(
            array(
                form({"name": text(1, 256), "value": text(1, 1_024), "inline": optional(boolean)}, "name", "value"),
                0,
                25,
            )
        ),
        "flags": anything,
    }
)


def _characters(embed: dict[str, Any]) -> int:
    parts = [embed.get("title"), embed.get("description")]
    parts += [(embed.get("footer") or {}).get("text"), (embed.get("author") or {}).get("name")]
    parts += [entry[key] for entry in embed.get("fields") or () for key in ("name", "value")]
    return sum(len(part) for part in parts if part)


def check_embeds(embeds: Any, filenames: Collection[str]) -> Iterator[Violation]:
    """Check the embeds of a message against Discord's limits and the message's own files."""
    if embeds is None:
        return
    path: Path = ("embeds",)
    broken = list(array(_EMBED, 0, MOST_EMBEDS)(embeds, path))
    if broken:
        yield from broken
        return
    for index, embed in enumerate(embeds):
        for part, key in (("image", "url"), ("thumbnail", "url"), ("footer", "icon_url"), ("author", "icon_url")):
            yield from check_reference((embed.get(part) or {}).get(key), (*path, index, part, key), filenames)
    if sum(map(_characters, embeds)) > MOST_CHARACTERS:
        yield Violation(path, "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {MOST_CHARACTERS}")
