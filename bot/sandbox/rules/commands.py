"""Rules for registering application commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
    localizations,
    number,
    optional,
    text,
)

CHAT_INPUT, USER, MESSAGE = 1, 2, 3
SUBCOMMAND, GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER_OPTION, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)

MOST_COMMANDS = {CHAT_INPUT: 100, USER: 15, MESSAGE: 15}
COMMAND_CHARACTERS = 8_000
SAFE_INTEGER = 2**53

INVALID_NAME = ("APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _slash_name(value: Any, path: Path) -> Iterator[Violation]:
    """Accept 1–32 letters, digits, dashes, underscores and apostrophes, lower case where there is one."""
    broken = list(text(1, 32)(value, path))
    yield from broken
    if not broken and (value != value.lower() or not all(letter.isalnum() or letter in "-_'" for letter in value)):
        yield Violation(path, *INVALID_NAME)


def _choices(kind: int) -> Check:
    value: Check = {STRING: text(0, 6_000), INTEGER: integer(-SAFE_INTEGER, SAFE_INTEGER)}.get(kind, number)
    entry = form({"name": text(1, 100), "name_localizations": localizations(1, 100), "value": value}, "name", "value")
    return optional(array(entry, 0, 25))


def _option_fields(kind: int) -> dict[str, Check]:
    fields: dict[str, Check] = {
        "type": anything,
        "name": _slash_name,
        "name_localizations": localizations(1, 32),
        "description": text(1, 100),
        "description_localizations": localizations(1, 100),
        "required": optional(boolean),
    }
    if kind in (STRING, INTEGER, NUMBER):
        fields |= {"autocomplete": optional(boolean), "choices": _choices(kind)}
    if kind == STRING:
        fields |= {"min_length": optional(integer(0, 6_000)), "max_length": optional(integer(1, 6_000))}
    if kind == INTEGER:
        bound = optional(integer(-SAFE_INTEGER, SAFE_INTEGER))
        fields |= {"min_value": bound, "max_value": bound}
    if kind == NUMBER:
        fields |= {"min_value": optional(number), "max_value": optional(number)}
    if kind == CHANNEL:
        fields["channel_types"] = optional(array(integer(0, 16), 0, 25))
    if kind in (SUBCOMMAND, GROUP):
        fields["options"] = anything
    return fields


_OPTION_FORMS = {kind: form(_option_fields(kind), "name", "description") for kind in range(SUBCOMMAND, ATTACHMENT + 1)}


def _check_options(options: Any, path: Path, allowed: tuple[int, ...]) -> Iterator[Violation]:
    broken = list(array(is_object, 0, 25)(options, path))
    for index, option in enumerate([] if broken else options):
        broken += _check_option(option, (*path, index), allowed)
    yield from broken or _check_together(options, path)


def _check_option(option: dict[str, Any], path: Path, allowed: tuple[int, ...]) -> Iterator[Violation]:
    kind = option.get("type")
    if kind not in allowed or isinstance(kind, bool):
        yield from choice(*allowed)(kind, (*path, "type"))
        return
    yield from _OPTION_FORMS[kind](option, path)
    nested = option.get("options") or []
    if kind == GROUP:
        yield from _check_options(nested, (*path, "options"), (SUBCOMMAND,))
    elif kind == SUBCOMMAND:
        yield from _check_options(nested, (*path, "options"), tuple(range(STRING, ATTACHMENT + 1)))
    elif option.get("autocomplete") and option.get("choices"):
        yield Violation(
            (*path, "choices"),
            "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_CHOICES",
            "Choices and autocomplete cannot be used together",
        )


def _check_together(options: list[dict[str, Any]], path: Path) -> Iterator[Violation]:
    optional_seen = False
    for index, option in enumerate(options):
        if optional_seen and option.get("required"):
            yield Violation(
                (*path, index),
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            )
        optional_seen = optional_seen or not option.get("required")
    names = [option["name"] for option in options]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Violation(
                (*path, index, "name"),
                "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS",
                "Option name already exists",
            )
    if len({option["type"] in (SUBCOMMAND, GROUP) for option in options}) > 1:
        yield Violation(
            path,
            "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
            "Sub-command and sub-command group option types are mutually exclusive to all other types",
        )


_COMMAND_FIELDS: dict[str, Check] = {
    "id": anything,
    "type": optional(choice(CHAT_INPUT, USER, MESSAGE)),
    "name": text(1, 32),
    "name_localizations": localizations(1, 32),
    "description": optional(text(0, 100)),
    "description_localizations": localizations(1, 100),
    "options": anything,
    "default_member_permissions": anything,
    "dm_permission": optional(boolean),
    "nsfw": optional(boolean),
    "contexts": optional(array(choice(0, 1, 2), 1, 3)),
    "integration_types": optional(array(choice(0, 1), 1, 2)),
}
_COMMAND_FORM = form(_COMMAND_FIELDS, "name")


def _check_permissions(value: Any, path: Path) -> Iterator[Violation]:
    if value is not None and not str(value).isdecimal():
        yield Violation(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')


def _characters(node: Any) -> int:
    """Count what Discord counts: names, descriptions and choice values, through all options."""
    if isinstance(node, list):
        return sum(map(_characters, node))
    if not isinstance(node, dict):
        return 0
    own = sum(len(node[key]) for key in ("name", "description", "value") if isinstance(node.get(key), str))
    return own + _characters(node.get("options")) + _characters(node.get("choices"))


def check_command(command: Any, path: Path = ()) -> Iterator[Violation]:
    """Check one command as a whole."""
    broken = list(_COMMAND_FORM(command, path))
    if broken:
        yield from broken
        return
    yield from _check_permissions(command.get("default_member_permissions"), (*path, "default_member_permissions"))
    if (command.get("type") or CHAT_INPUT) == CHAT_INPUT:
        yield from _slash_name(command["name"], (*path, "name"))
        yield from text(1, 100)(command.get("description") or "", (*path, "description"))
        every = tuple(range(SUBCOMMAND, ATTACHMENT + 1))
        yield from _check_options(command.get("options") or [], (*path, "options"), every)
    else:
        if command.get("description"):
            yield Violation(
                (*path, "description"),
                "APPLICATION_COMMAND_DESCRIPTION_NOT_ALLOWED",
                "Context menu commands cannot have description",
            )
        if command.get("options"):
            yield Violation(
                (*path, "options"),
                "APPLICATION_COMMAND_OPTIONS_NOT_ALLOWED",
                "Context menu commands cannot have options",
            )
    if _characters(command) > COMMAND_CHARACTERS:
        yield Violation(
            path,
            "APPLICATION_COMMAND_TOO_LARGE",
            f"Command exceeds maximum size ({COMMAND_CHARACTERS})",
        )


def check_overwrite(commands: Any) -> Iterator[Violation]:
    """Check the list of a bulk overwrite: each command, their number and their names."""
    broken = list(array(is_object, 0, sum(MOST_COMMANDS.values()))(commands, ()))
    if broken:
        yield from broken
        return
    broken = [violation for index, command in enumerate(commands) for violation in check_command(command, (index,))]
    if broken:
        yield from broken
        return
    seen: Counter[tuple[Any, Any]] = Counter()
    kinds: Counter[Any] = Counter()
    for index, command in enumerate(commands):
        kind = command.get("type") or CHAT_INPUT
        seen[command.get("name"), kind] += 1
        kinds[kind] += 1
        if seen[command.get("name"), kind] == 2:
            yield Violation(
                (index, "name"),
                "APPLICATION_COMMANDS_DUPLICATE_NAME",
                "Application command names must be unique",
            )
        if kinds[kind] == MOST_COMMANDS.get(kind, 0) + 1:
            yield Violation(
                (index,),
                "APPLICATION_COMMAND_MAX_REACHED",
                f"Maximum number of application commands reached ({MOST_COMMANDS.get(kind, 0)}).",
            )
