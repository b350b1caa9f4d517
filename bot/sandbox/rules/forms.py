"""A small vocabulary for checking JSON forms, with violations in Discord's own codes and words.

A check is a function of a value and its path; `form` puts checks together and refuses fields that nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where, Discord's code, and the sentence."""

    path: Path
    code: str
    message: str


Check = Callable[[Any, Path], Iterator[Violation]]

REQUIRED = ("BASE_TYPE_REQUIRED", "This field is required")


def anything(value: Any, path: Path) -> Iterator[Violation]:
    """Accept every value."""
    return iter(())


def boolean(value: Any, path: Path) -> Iterator[Violation]:
    """Accept true and false."""
    if not isinstance(value, bool):
        yield Violation(path, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")


def text(low: int = 0, high: int | None = None) -> Check:
    """Accept a string of low..high code points."""

    def check(value: Any, path: Path) -> Iterator[Violation]:
        if not isinstance(value, str):
            yield Violation(path, "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
        elif low == 0 and high is not None and len(value) > high:
            yield Violation(path, "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")
        elif len(value) < low or (high is not None and len(value) > high):
            if not value:
                yield Violation(path, *REQUIRED)
            else:
                yield Violation(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")

    return check


def integer(low: int | None = None, high: int | None = None) -> Check:
    """Accept a whole number within bounds."""

    def check(value: Any, path: Path) -> Iterator[Violation]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield Violation(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
        elif low is not None and value < low:
            yield Violation(path, "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {low}.")
        elif high is not None and value > high:
            yield Violation(path, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {high}.")

    return check


def number(value: Any, path: Path) -> Iterator[Violation]:
    """Accept any number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        yield Violation(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not float.')


def snowflake(value: Any, path: Path) -> Iterator[Violation]:
    """Accept an id, as a number or a decimal string."""
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and value.isdecimal())):
        yield Violation(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')


def choice(*values: Any) -> Check:
    """Accept one of the values."""

    def check(value: Any, path: Path) -> Iterator[Violation]:
        if isinstance(value, bool) or value not in values:
            listed = ", ".join(map(repr, values))
            yield Violation(path, "BASE_TYPE_CHOICES", f"Value must be one of {{{listed}}}.")

    return check


def optional(check: Check) -> Check:
    """Accept null as well."""
    return lambda value, path: iter(()) if value is None else check(value, path)


def array(item: Check, low: int = 0, high: int | None = None) -> Check:
    """Accept a list of low..high items, each passing the item check."""

    def check(value: Any, path: Path) -> Iterator[Violation]:
        if not isinstance(value, list):
            yield Violation(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
            return
        if len(value) < low or (high is not None and len(value) > high):
            if low == 0:
                yield Violation(path, "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")
            elif not value:
                yield Violation(path, *REQUIRED)
            else:
                yield Violation(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
            return
        for index, entry in enumerate(value):
            yield from item(entry, (*path, index))

    return check


def url(schemes: tuple[str, ...], high: int = 2048) -> Check:
    """Accept an address with one of the schemes."""

    def check(value: Any, path: Path) -> Iterator[Violation]:
        broken = list(text(1, high)(value, path))
        if broken:
            yield from broken
        elif "://" not in value or not value.split("://", 1)[1]:
            yield Violation(path, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
        elif value.split("://", 1)[0].lower() not in schemes:
            listed = ", ".join(repr(scheme) for scheme in schemes)
            scheme = value.split("://", 1)[0]
            yield Violation(
                path,
                "URL_TYPE_INVALID_SCHEME",
                f'Scheme "{scheme}" is not supported. Scheme must be one of ({listed}).',
            )

    return check


def is_object(value: Any, path: Path) -> Iterator[Violation]:
    """Accept a JSON object, whatever is in it."""
    if not isinstance(value, dict):
        yield Violation(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")


def form(fields: Mapping[str, Check], *required: str) -> Check:
    """Accept an object with these fields, the required ones present, and no others."""

    def check(value: Any, path: Path) -> Iterator[Violation]:
        if not isinstance(value, dict):
            yield from is_object(value, path)
            return
        for name in required:
            if name not in value:
                yield Violation((*path, name), *REQUIRED)
        for name, entry in value.items():
            known = fields.get(name)
            if known is None:
                yield Violation((*path, name), "UNKNOWN_FIELD", f"There is no field called {name!r} here.")
            else:
                yield from known(entry, (*path, name))

    return check


LOCALIZATIONS_MAX = 34


def localizations(low: int, high: int) -> Check:
    """Accept null or an object of locale → text."""

    def check(value: Any, path: Path) -> Iterator[Violation]:
        if not isinstance(value, dict):
            yield from is_object(value, path)
            return
        if len(value) > LOCALIZATIONS_MAX:
            yield Violation(path, "BASE_TYPE_MAX_LENGTH", f"Must be {LOCALIZATIONS_MAX} or fewer in length.")
        for locale, entry in value.items():
            yield from text(low, high)(entry, (*path, locale))

    return optional(check)
