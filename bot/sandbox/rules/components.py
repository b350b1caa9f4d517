"""Rules for the components of a message, legacy rows and Components V2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

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
    is_object,
    optional,
    snowflake,
    text,
    url,
)

ROW, BUTTON, STRING_SELECT, TEXT_INPUT = 1, 2, 3, 4
USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT = 5, 6, 7, 8
SECTION, TEXT_DISPLAY, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER = 9, 10, 11, 12, 13, 14, 17
SELECTS = (STRING_SELECT, USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT)

MOST_COMPONENTS = 40
MOST_TEXT = 4_000
MOST_ROWS = 5
LINK, PREMIUM = 5, 6

_IN_CONTAINER = (ROW, SECTION, TEXT_DISPLAY, GALLERY, FILE, SEPARATOR)
_TOP_LEVEL_V2 = (*_IN_CONTAINER, CONTAINER)

_BASE: dict[str, Check] = {"type": anything, "id": optional(integer(0, 2**31 - 1))}
_EMOJI = form({"id": optional(snowflake), "name": optional(text(0, 32)), "animated": optional(boolean)})
_CUSTOM_ID = text(1, 100)


def _media(*schemes: str) -> Check:
    return form({"url": url(schemes)}, "url")


_ANY_MEDIA = _media("http", "https", "attachment")
SELECT_OPTION = form(
    {
        "label": text(1, 100),
        "value": text(1, 100),
        "description": optional(text(0, 100)),
        "default": optional(boolean),
        "emoji": optional(_EMOJI),
    },
    "label",
    "value",
)
_SELECT: dict[str, Check] = {
    **_BASE,
    "custom_id": _CUSTOM_ID,
    "placeholder": optional(text(0, 150)),
    "min_values": optional(integer(0, 25)),
    "max_values": optional(integer(1, 25)),
    "disabled": optional(boolean),
    "required": optional(boolean),
}
_DEFAULTS = optional(array(form({"id": snowflake, "type": choice("user", "role", "channel")}, "id", "type"), 0, 25))
_ITEM = form(
    {"media": _ANY_MEDIA, "description": optional(text(1, 1_024)), "spoiler": optional(boolean)},
    "media",
)

FORMS: dict[int, Check] = {
    ROW: form({**_BASE, "components": array(is_object, 1, 5)}, "components"),
    BUTTON: form(
        {
            **_BASE,
            "style": choice(1, 2, 3, 4, LINK, PREMIUM),
            "label": optional(text(0, 80)),
            "emoji": optional(_EMOJI),
            "custom_id": optional(_CUSTOM_ID),
            "url": optional(url(("http", "https", "discord"), 512)),
            "sku_id": optional(snowflake),
            "disabled": optional(boolean),
        },
        "style",
    ),
    STRING_SELECT: form({**_SELECT, "options": array(SELECT_OPTION, 1, 25)}, "custom_id", "options"),
    **{
        kind: form({**_SELECT, "default_values": _DEFAULTS}, "custom_id")
        for kind in (USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT)
    },
    CHANNEL_SELECT: form(
        {**_SELECT, "default_values": _DEFAULTS, "channel_types": optional(array(integer(0, 16), 0, 25))}, "custom_id"
    ),
    SECTION: form({**_BASE, "components": array(is_object, 1, 3), "accessory": is_object}, "components", "accessory"),
    TEXT_DISPLAY: form({**_BASE, "content": text(1, MOST_TEXT)}, "content"),
    THUMBNAIL: form(
        {**_BASE, "media": _ANY_MEDIA, "description": optional(text(1, 1_024)), "spoiler": optional(boolean)}, "media"
    ),
    GALLERY: form({**_BASE, "items": array(_ITEM, 1, 10)}, "items"),
    FILE: form({**_BASE, "file": _media("attachment"), "spoiler": optional(boolean)}, "file"),
    SEPARATOR: form({**_BASE, "divider": optional(boolean), "spacing": optional(choice(1, 2))}),
    CONTAINER: form(
        {
            **_BASE,
            "components": array(is_object, 1, MOST_COMPONENTS),
            "accent_color": optional(integer(0, 0xFFFFFF)),
            "spoiler": optional(boolean),
        },
        "components",
    ),
}


def walk(components: Any, path: Path = ("components",)) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Go through components and everything nested in them, parents first, with the path of each."""
    if not isinstance(components, list):
        return
    for index, component in enumerate(components):
        if isinstance(component, dict):
            here = (*path, index)
            yield here, component
            yield from walk(component.get("components"), (*here, "components"))
            for single in ("accessory", "component"):
                if isinstance(component.get(single), dict):
                    yield (*here, single), component[single]


def media_of(component: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the media objects of a component, each with its path inside it."""
    match component.get("type"):
        case 12:
            return [(("items", index, "media"), item["media"]) for index, item in enumerate(component["items"])]
        case 11:
            return [(("media",), component["media"])]
        case 13:
            return [(("file",), component["file"])]
    return []


def check_select(select: dict[str, Any], path: Path) -> Iterator[Violation]:
    """Check what the fields of a select must have to do with each other."""
    low, high = select.get("min_values"), select.get("max_values")
    low, high = 1 if low is None else low, 1 if high is None else high
    options = select.get("options") or []
    if low > high:
        yield Violation((*path, "min_values"), "COMPONENT_SELECT_MIN_VALUES", "min_values cannot exceed max_values")
    if select["type"] == STRING_SELECT and high > len(options):
        yield Violation(
            (*path, "max_values"),
            "BASE_TYPE_BAD_LENGTH",
            f"Must be between {low} and {len(options)} in length.",
        )
    values = [option["value"] for option in options]
    if len(set(values)) < len(values):
        yield Violation(
            (*path, "options"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The specified option value is already used"
        )
    if sum(bool(option.get("default")) for option in options) > high:
        yield Violation(
            (*path, "options"), "SELECT_COMPONENT_TOO_MANY_DEFAULTS", "Too many options are selected by default"
        )


def _check_button(button: dict[str, Any], path: Path) -> Iterator[Violation]:
    style = button["style"]
    wanted = {LINK: "url", PREMIUM: "sku_id"}.get(style, "custom_id")
    for name in ("custom_id", "url", "sku_id"):
        given = button.get(name) is not None
        if name == wanted and not given:
            yield Violation(
                (*path, name), "BUTTON_COMPONENT_FIELD_REQUIRED", f"A button of style {style} must have a {name}"
            )
        elif name != wanted and given:
            yield Violation(
                (*path, name), "BUTTON_COMPONENT_FIELD_FORBIDDEN", f"A button of style {style} cannot have a {name}"
            )
    if style != PREMIUM and not button.get("label") and not button.get("emoji"):
        yield Violation((*path, "label"), "BUTTON_COMPONENT_EMPTY", "A button must have a label or an emoji")


def _check_one(component: Any, path: Path, allowed: Collection[int]) -> Iterator[Violation]:
    kind = component.get("type") if isinstance(component, dict) else None
    if kind not in allowed or isinstance(kind, bool):
        listed = ", ".join(map(str, sorted(allowed)))
        yield Violation((*path, "type"), "UNION_TYPE_CHOICES", f'Value of field "type" must be one of ({listed},).')
        return
    assert isinstance(component, dict)
    assert isinstance(kind, int)
    broken = list(FORMS[kind](component, path))
    if broken:
        yield from broken
        return
    if kind == BUTTON:
        yield from _check_button(component, path)
    elif kind in SELECTS:
        yield from check_select(component, path)
    elif kind == ROW:
        children = component["components"]
        for index, child in enumerate(children):
            yield from _check_one(child, (*path, "components", index), (BUTTON, *SELECTS))
        if len(children) > 1 and any(child.get("type") in SELECTS for child in children):
            yield Violation(
                (*path, "components"),
                "COMPONENT_LAYOUT_WIDTH_EXCEEDED",
                "A row holds five buttons or one select",
            )
    elif kind == SECTION:
        for index, child in enumerate(component["components"]):
            yield from _check_one(child, (*path, "components", index), (TEXT_DISPLAY,))
        yield from _check_one(component["accessory"], (*path, "accessory"), (BUTTON, THUMBNAIL))
    elif kind == CONTAINER:
        for index, child in enumerate(component["components"]):
            yield from _check_one(child, (*path, "components", index), _IN_CONTAINER)


def _check_together(components: list[Any], filenames: Collection[str]) -> Iterator[Violation]:
    custom_ids: Counter[str] = Counter()
    ids: Counter[int] = Counter()
    texts = 0
    for path, component in walk(components):
        custom_id = component.get("custom_id")
        if custom_id is not None:
            custom_ids[custom_id] += 1
            if custom_ids[custom_id] == 2:
                yield Violation(
                    (*path, "custom_id"),
                    "COMPONENT_CUSTOM_ID_DUPLICATED",
                    "Component custom id cannot be duplicated",
                )
        if component.get("id"):
            ids[component["id"]] += 1
            if ids[component["id"]] == 2:
                yield Violation((*path, "id"), "COMPONENT_ID_DUPLICATED", "Component id cannot be duplicated")
        if component.get("type") == TEXT_DISPLAY:
            texts += len(component["content"])
        for inner, media in media_of(component):
            yield from check_reference(media["url"], (*path, *inner, "url"), filenames)
    if texts > MOST_TEXT:
        yield Violation(
            ("components",),
            "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
            f"The total size of all displayable text cannot exceed {MOST_TEXT} characters",
        )


def check_reference(address: Any, path: Path, filenames: Collection[str]) -> Iterator[Violation]:
    """Check that an attachment:// address names a file of the message."""
    if isinstance(address, str) and address.startswith("attachment://"):
        name = address.removeprefix("attachment://")
        if name not in filenames:
            yield Violation(
                path,
                "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND",
                f"The referenced attachment {name!r} could not be found in the message's attachments",
            )


def check_components(components: list[Any] | None, *, v2: bool, filenames: Collection[str]) -> Iterator[Violation]:
    """Check the components of a message.

    `v2` tells whether the message has the Components V2 flag; `filenames` are those of its attachments.
    """
    path: Path = ("components",)
    components = components or []
    if v2 and (total := sum(1 for _ in walk(components))) > MOST_COMPONENTS:
        yield Violation(
            path,
            "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED",
            f"The total number of components cannot exceed {MOST_COMPONENTS}; there are {total}",
        )
        return
    if not v2 and len(components) > MOST_ROWS:
        yield Violation(path, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MOST_ROWS} in length.")
        return
    broken = [
        violation
        for index, component in enumerate(components)
        for violation in _check_one(component, (*path, index), _TOP_LEVEL_V2 if v2 else (ROW,))
    ]
    yield from broken or _check_together(components, filenames)
