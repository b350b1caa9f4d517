"""What Discord's own client refuses before a command is sent: options that do not fit the registered command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .commands import (
    ATTACHMENT,
    BOOLEAN,
    CHANNEL,
    GROUP,
    INTEGER,
    MENTIONABLE,
    NUMBER,
    ROLE,
    STRING,
    SUBCOMMAND,
    USER_OPTION,
)

LONGEST_TEXT = 6_000


class DoesNotFit(ValueError):
    """What a member typed does not fit the command; the message is the sentence they read."""


def fit_options(
    registered: list[dict[str, Any]],
    given: Any,
    known: Mapping[int, Any],
    *,
    partial: bool = False,
) -> list[dict[str, Any]]:
    """Check given options against the registered ones and return them as an interaction carries them.

    `known` maps an option type (user, channel, role, attachment) to the ids that exist. `partial` is for
    autocompletion: options may be missing and the focused one may hold anything.
    Raises DoesNotFit with a sentence.
    """
    if not isinstance(given, list) or not all(isinstance(option, dict) for option in given):
        raise DoesNotFit("Options must be a list of objects.")
    by_name = {option["name"]: option for option in registered}
    fitted: list[dict[str, Any]] = []
    seen: set[str] = set()
    for option in given:
        name = option.get("name")
        description = by_name.get(name) if isinstance(name, str) else None
        if description is None:
            raise DoesNotFit(f"There is no option called {name!r}.")
        if name in seen:
            raise DoesNotFit(f"The option {name!r} is given twice.")
        seen.add(name)
        fitted.append(_fit_one(description, option, known, partial=partial))
    nested = [option for option in registered if option["type"] in (SUBCOMMAND, GROUP)]
    if nested and len(fitted) != 1:
        raise DoesNotFit("Choose one of: " + ", ".join(option["name"] for option in nested) + ".")
    if not partial:
        for description in registered:
            if description.get("required") and description["name"] not in seen:
                raise DoesNotFit(f"The option {description['name']!r} is required.")
    return fitted


def _fit_one(
    description: dict[str, Any], option: dict[str, Any], known: Mapping[int, Any], *, partial: bool
) -> dict[str, Any]:
    name, kind = description["name"], description["type"]
    if option.get("type", kind) != kind:
        raise DoesNotFit(f"The option {name!r} has type {kind}, not {option['type']}.")
    if kind in (SUBCOMMAND, GROUP):
        inner = fit_options(description.get("options") or [], option.get("options") or [], known, partial=partial)
        return {"name": name, "type": kind, "options": inner}
    value = option.get("value")
    if partial and option.get("focused"):
        if not description.get("autocomplete"):
            raise DoesNotFit(f"The option {name!r} has no autocompletion.")
        return {"name": name, "type": kind, "value": "" if value is None else value, "focused": True}
    _check_value(description, value, known)
    return {"name": name, "type": kind, "value": value}


def _check_value(description: dict[str, Any], value: Any, known: Mapping[int, Any]) -> None:
    name, kind = description["name"], description["type"]
    choices = [choice["value"] for choice in description.get("choices") or ()]
    match kind:
        case k if k == STRING:
            if not isinstance(value, str):
                raise DoesNotFit(f"The option {name!r} must be a text.")
            low, high = description.get("min_length") or 0, description.get("max_length") or LONGEST_TEXT
            if not low <= len(value) <= high:
                raise DoesNotFit(f"The option {name!r} must be {low} to {high} characters long.")
            if not value.strip() and description.get("required"):
                raise DoesNotFit(f"The option {name!r} is required.")
        case k if k in (INTEGER, NUMBER):
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            if isinstance(value, bool) or not isinstance(value, int | float) or (kind == INTEGER and not whole):
                raise DoesNotFit(f"The option {name!r} must be a {'whole ' if kind == INTEGER else ''}number.")
            least, most = description.get("min_value"), description.get("max_value")
            if least is not None and value < least:
                raise DoesNotFit(f"The option {name!r} must be at least {least}.")
            if most is not None and value > most:
                raise DoesNotFit(f"The option {name!r} must be at most {most}.")
        case k if k == BOOLEAN:
            if not isinstance(value, bool):
                raise DoesNotFit(f"The option {name!r} must be true or false.")
        case k if k in (USER_OPTION, CHANNEL, ROLE, ATTACHMENT):
            if str(value) not in known.get(kind, ()):
                what = {USER_OPTION: "member", CHANNEL: "channel", ROLE: "role", ATTACHMENT: "uploaded file"}[kind]
                raise DoesNotFit(f"The option {name!r} names no {what} that exists here.")
            kinds = description.get("channel_types")
            if k == CHANNEL and kinds and known[CHANNEL][str(value)].kind not in kinds:
                raise DoesNotFit(f"The option {name!r} takes another kind of channel.")
        case k if k == MENTIONABLE:
            if str(value) not in known.get(USER_OPTION, ()) and str(value) not in known.get(ROLE, ()):
                raise DoesNotFit(f"The option {name!r} names no member or role that exists here.")
    if choices and value not in choices:
        raise DoesNotFit(f"The option {name!r} must be one of its choices.")
