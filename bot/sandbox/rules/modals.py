"""Rules for modals: what a bot may open, and what a member may send back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .components import FORMS as MESSAGE_FORMS
from .components import (
    ROW,
    SELECTS,
    STRING_SELECT,
    TEXT_DISPLAY,
    TEXT_INPUT,
    check_select,
)
from .forms import Check, Path, Violation, anything, array, boolean, choice, form, integer, is_object, optional, text

LABEL, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 18, 19, 21, 22, 23
MOST_TOP_LEVEL = 5

_BASE: dict[str, Check] = {"type": anything, "id": optional(integer(0, 2**31 - 1)), "custom_id": text(1, 100)}
_CHOICE = form(
    {"label": text(1, 100), "value": text(1, 100), "description": optional(text(0, 100)), "default": optional(boolean)},
    "label",
    "value",
)
_FORMS: dict[int, Check] = {
    **{kind: MESSAGE_FORMS[kind] for kind in SELECTS},
    TEXT_INPUT: form(
        {
            **_BASE,
            "style": choice(1, 2),
            "label": optional(text(1, 45)),
            "value": optional(text(0, 4_000)),
            "placeholder": optional(text(0, 100)),
            "required": optional(boolean),
            "min_length": optional(integer(0, 4_000)),
            "max_length": optional(integer(1, 4_000)),
        },
        "custom_id",
        "style",
    ),
    FILE_UPLOAD: form(
        {
            **_BASE,
            "min_values": optional(integer(0, 10)),
            "max_values": optional(integer(1, 10)),
            "required": optional(boolean),
        },
        "custom_id",
    ),
    RADIO_GROUP: form(
        {**_BASE, "required": optional(boolean), "options": array(_CHOICE, 2, 10)}, "custom_id", "options"
    ),
    CHECKBOX_GROUP: form(
        {
            **_BASE,
            "min_values": optional(integer(0, 10)),
            "max_values": optional(integer(1, 10)),
            "required": optional(boolean),
            "options": array(_CHOICE, 1, 10),
        },
        "custom_id",
        "options",
    ),
    CHECKBOX: form({**_BASE, "default": optional(boolean)}, "custom_id"),
    TEXT_DISPLAY: MESSAGE_FORMS[TEXT_DISPLAY],
}
_LABEL = form(
    {
        "type": anything,
        "id": optional(integer(0, 2**31 - 1)),
        "label": text(1, 45),
        "description": optional(text(1, 100)),
        "component": is_object,
    },
    "label",
    "component",
)
_ROW = form(
    {"type": anything, "id": optional(integer(0, 2**31 - 1)), "components": array(is_object, 1, 1)}, "components"
)
_MODAL = form(
    {"custom_id": text(1, 100), "title": text(1, 45), "components": array(is_object, 1, MOST_TOP_LEVEL)},
    "custom_id",
    "title",
    "components",
)
_IN_LABEL = (TEXT_INPUT, *SELECTS, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX)


def _check_field(component: Any, path: Path, allowed: tuple[int, ...]) -> Iterator[Violation]:
    kind = component.get("type")
    if kind not in allowed or isinstance(kind, bool):
        listed = ", ".join(map(str, sorted(allowed)))
        yield Violation((*path, "type"), "UNION_TYPE_CHOICES", f'Value of field "type" must be one of ({listed},).')
        return
    broken = list(_FORMS[kind](component, path))
    yield from broken
    if not broken and kind in SELECTS:
        yield from check_select(component, path)


def check_modal(modal: Any, path: Path = ("data",)) -> Iterator[Violation]:
    """Check a modal that the bot wants to open."""
    broken = list(_MODAL(modal, path))
    if broken:
        yield from broken
        return
    for index, component in enumerate(modal["components"]):
        broken += _check_top_level(component, (*path, "components", index))
    yield from broken
    custom_ids = [label_and_field[1]["custom_id"] for label_and_field in _listed(modal["components"])]
    if not broken and len(set(custom_ids)) < len(custom_ids):
        yield Violation(
            (*path, "components"), "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
        )


def _check_top_level(component: dict[str, Any], path: Path) -> Iterator[Violation]:
    match component.get("type"):
        case 1:
            broken = list(_ROW(component, path))
            inner: Path = (*path, "components", 0)
            yield from broken or _check_field(component["components"][0], inner, (TEXT_INPUT,))
            if not broken and not component["components"][0].get("label"):
                yield Violation((*inner, "label"), "BASE_TYPE_REQUIRED", "This field is required")
        case 18:
            broken = list(_LABEL(component, path))
            yield from broken or _check_field(component["component"], (*path, "component"), _IN_LABEL)
        case _:
            yield from _check_field(component, path, (ROW, TEXT_DISPLAY, LABEL))


def fields_of(components: list[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the fields of a modal, or of a member's answer to it, by custom_id, each with the label a member sees."""
    return {field["custom_id"]: (label, field) for label, field in _listed(components)}


def _listed(components: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for component in components:
        rows = component.get("components")
        inner = component.get("component") or (rows[0] if isinstance(rows, list) and rows else None)
        if isinstance(inner, dict) and isinstance(inner.get("custom_id"), str):
            yield component.get("label") or inner.get("label") or inner["custom_id"], inner


def check_answer(label: str, field: dict[str, Any], answer: dict[str, Any] | None) -> str | None:
    """Say why an answer does not fit its field; None when it fits. As Discord's own client would refuse it."""
    kind = field["type"]
    needed = field.get("required") is not False
    if answer is not None and answer.get("type") != kind:
        return f"{label}: this field has type {kind}."
    answer = answer or {}
    if kind == TEXT_INPUT:
        value = answer.get("value") or ""
        if not isinstance(value, str):
            return f"{label}: a text is needed."
        low, high = field.get("min_length") or 0, field.get("max_length") or 4_000
        if not value:
            return f"{label}: this field is required." if needed else None
        return None if low <= len(value) <= high else f"{label}: must be between {low} and {high} characters long."
    if kind == CHECKBOX:
        return None if isinstance(answer.get("value", False), bool) else f"{label}: must be true or false."
    if kind == RADIO_GROUP:
        value = answer.get("value")
        if value is None:
            return f"{label}: choose one." if needed else None
        return None if value in _values(field) else f"{label}: {value!r} is not a choice."
    values = answer.get("values") or []
    if not isinstance(values, list):
        return f"{label}: a list of values is needed."
    return check_values(label, field, values, needed=needed)


def check_values(label: str, field: dict[str, Any], values: list[Any], *, needed: bool) -> str | None:
    """Say why selected values do not fit a select, upload or checkbox group; None when they fit."""
    low, high = field.get("min_values"), field.get("max_values")
    low, high = 1 if low is None else low, 1 if high is None else high
    if not values and not needed:
        return None
    if not low <= len(values) <= high:
        return f"{label}: choose between {low} and {high}."
    if field["type"] in (STRING_SELECT, CHECKBOX_GROUP):
        for value in values:
            if value not in _values(field):
                return f"{label}: {value!r} is not a choice."
    return None


def _values(field: dict[str, Any]) -> list[str]:
    return [option["value"] for option in field.get("options") or ()]
