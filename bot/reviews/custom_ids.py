"""What a moderators' button carries: a choice and a review. Nothing else survives a restart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

CUSTOM_ID = re.compile(r"flux:review:(?P<choice>approve|reject|delete|ban|dismiss):(?P<review>[0-9a-f]{24})")
"""Every custom_id of the moderators' buttons, whole."""


class Choice(StrEnum):
    """What pressing a button decides."""

    APPROVE = "approve"
    REJECT = "reject"
    DELETE = "delete"
    BAN = "ban"
    DISMISS = "dismiss"


@dataclass(frozen=True, slots=True)
class Press:
    """One pressed button, as its custom_id tells it."""

    choice: Choice
    review_id: str

    def __str__(self) -> str:
        """Return the custom_id."""
        return f"flux:review:{self.choice.value}:{self.review_id}"


def from_match(found: re.Match[str]) -> Press:
    """Return the press that a full match of ``CUSTOM_ID`` stands for."""
    return Press(Choice(found["choice"]), found["review"])
