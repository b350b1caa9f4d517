"""Faults a person can switch on: errors, rate limits, dropped gateways, lost permissions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from .rules.forms import Check, Path, Violation, array, boolean, choice, form, integer, number, text

GatewayDrop = Literal["resume", "reconnect", "invalid"]
Archiving = Literal["archived", "locked"]


def _not_negative(value: Any, path: Path) -> Iterator[Violation]:
    yield from number(value, path)
    if isinstance(value, int | float) and value < 0:
        yield Violation(path, "NUMBER_TYPE_MIN", "float value should be greater than or equal to 0.")


check_patch: Check = form(
    {
        "rest_500": integer(0, 1_000_000),
        "rest_lost": integer(0, 1_000_000),
        "rest_429": integer(0, 1_000_000),
        "retry_after": _not_negative,
        "global": boolean,
        "drop_gateway": choice(*get_args(GatewayDrop)),
        "expire_tokens": boolean,
        "slow_ms": integer(0, 60_000),
        "deny": array(text(1, 64), 0, 64),
        "closed_dms": boolean,
        "largest_file": integer(0, 1_000_000_000),
        "delete_channel": text(1, 100),
        "archive_threads": choice(*get_args(Archiving)),
        "remove_bot": boolean,
    }
)


@dataclass(slots=True)
class Faults:
    """The faults in force.

    `drop_gateway`, `expire_tokens`, `delete_channel` (by name), `archive_threads` and `remove_bot` (false: invite it
    again) happen at once and leave nothing here.
    """

    rest_500: int = 0
    """How many of the next REST calls answer 500 and do nothing."""
    rest_lost: int = 0
    """How many of the next REST calls are carried out but answer 500, as when a connection breaks at the end."""
    rest_429: int = 0
    retry_after: float = 1.0
    is_global: bool = False
    slow_ms: int = 0
    deny: list[str] = field(default_factory=list)
    closed_dms: bool = False
    largest_file: int = 0
    """Bytes per file that are taken from now on, whatever interactions were told (0: as they were told)."""

    def raw(self) -> dict[str, Any]:
        return {
            "rest_500": self.rest_500,
            "rest_lost": self.rest_lost,
            "rest_429": self.rest_429,
            "retry_after": self.retry_after,
            "global": self.is_global,
            "slow_ms": self.slow_ms,
            "deny": self.deny,
            "closed_dms": self.closed_dms,
            "largest_file": self.largest_file,
        }

    def apply(self, patch: dict[str, Any]) -> None:
        """Take over the lasting parts of a patch."""
        self.rest_500 = patch.get("rest_500", self.rest_500)
        self.rest_lost = patch.get("rest_lost", self.rest_lost)
        self.rest_429 = patch.get("rest_429", self.rest_429)
        self.retry_after = float(patch.get("retry_after", self.retry_after))
        self.is_global = patch.get("global", self.is_global)
        self.slow_ms = patch.get("slow_ms", self.slow_ms)
        self.deny = list(patch.get("deny", self.deny))
        self.closed_dms = patch.get("closed_dms", self.closed_dms)
        self.largest_file = patch.get("largest_file", self.largest_file)
