"""What differs between two policies, said in paths that a reader finds in the document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flux_core.policy.guild import GuildPolicy

_IDENTITY = {"tiers": ("role_id",), "channels": ("channel_id",), "prompt_rules": ("kind", "pattern")}
"""What makes an entry of a list the same one before and after."""
_TITLE = _IDENTITY | {"tiers": ("name",)}
"""How a reader knows it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One place in the document."""

    path: str
    """Such as ``everybody.credits``, or ``tiers[Artists].weight``."""
    before: str | None
    """As JSON; None: nothing was said there."""
    after: str | None


def changes(before: GuildPolicy, after: GuildPolicy) -> list[Change]:
    """Return what ``after`` says otherwise than ``before``, in the document's order."""
    return list(_differences("", document(before), document(after)))


def document(policy: GuildPolicy) -> dict[str, Any]:
    """Return a policy as its document has it: ids as text, and nothing of what it leaves open."""
    given: dict[str, Any] = json.loads(policy.model_dump_json(exclude_none=True))
    return given


def _differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if path in _IDENTITY and isinstance(before, list) and isinstance(after, list):
        yield from _entries(path, before, after)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _differences(f"{path}.{name}" if path else name, before.get(name), after.get(name))
    else:
        yield Change(path, _told(before), _told(after))


def _entries(path: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Change]:
    was, now = _named(path, before), _named(path, after)
    entries = {**was, **now}
    titles = [_title(path, entry) for entry in entries.values()]
    for key, entry in entries.items():
        title = _title(path, entry)
        unique = title if titles.count(title) == 1 else f"{title}, {_number(path, key)}"
        yield from _entry(f"{path}[{unique}]", was.get(key), now.get(key))
    if [key for key in was if key in now] != [key for key in now if key in was]:
        yield Change(path, "in this order", "in another order")


def _entry(place: str, before: Any, after: Any) -> Iterator[Change]:
    if before is None or after is None:
        yield Change(place, _told(before), _told(after))
    else:
        yield from _differences(place, before, after)


def _named(path: str, entries: Sequence[Any]) -> dict[tuple[tuple[str, ...], int], Any]:
    """Return the entries by what they are known by; a rule given twice counts twice."""
    found: dict[tuple[tuple[str, ...], int], Any] = {}
    for entry in entries:
        identity = tuple(entry[key] for key in _IDENTITY[path])
        number = 0
        while (identity, number) in found:
            number += 1
        found[identity, number] = entry
    return found


def _title(path: str, entry: Mapping[str, Any]) -> str:
    return " ".join(str(entry[key]) for key in _TITLE[path])


def _number(path: str, key: tuple[tuple[str, ...], int]) -> str:
    identity, number = key
    return str(number + 1) if path == "prompt_rules" else " ".join(identity)


def _told(value: Any) -> str | None:
    return None if value is None else json.dumps(_as_written(value), ensure_ascii=False)


def _as_written(value: Any) -> Any:
    """Return whole numbers as people write them, wherever they stand."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _as_written(one) for name, one in value.items()}
    return [_as_written(one) for one in value] if isinstance(value, list) else value
