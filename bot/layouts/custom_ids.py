"""What a button carries: an action, a job, and for a variation the picture. Nothing else survives a restart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

CUSTOM_ID = re.compile(
    r"flux:(?:(?P<action>reroll|details|delete|cancel|stop|show|up):(?P<job>[0-9a-f]{24})"
    r"|vary:(?P<varied>[0-9a-f]{24}):(?P<picture>[1-4]))"
)
"""Every custom_id of ours, whole. Whatever does not match was made by somebody else."""


class Action(StrEnum):
    """What pressing a button asks for."""

    REROLL = "reroll"
    VARY = "vary"
    DETAILS = "details"
    DELETE = "delete"
    CANCEL = "cancel"
    """On a job's own card: the card tells the outcome."""
    STOP = "stop"
    """The same from the list of /jobs: the list is drawn again."""
    SHOW = "show"
    UP = "up"
    """In the list of /jobs: before the member's other waiting jobs. The list is drawn again."""


@dataclass(frozen=True, slots=True)
class Press:
    """One pressed button, as its custom_id tells it."""

    action: Action
    job_id: str
    position: int | None = None
    """0-based picture of a variation; people and custom_ids count from 1."""

    def __str__(self) -> str:
        """Return the custom_id."""
        tail = "" if self.position is None else f":{self.position + 1}"
        return f"flux:{self.action.value}:{self.job_id}{tail}"


def parse(custom_id: str) -> Press | None:
    """Read a custom_id; None for one that is not exactly ours."""
    found = CUSTOM_ID.fullmatch(custom_id)
    return None if found is None else from_match(found)


def from_match(found: re.Match[str]) -> Press:
    """Return the press that a full match of ``CUSTOM_ID`` stands for."""
    if found["varied"] is not None:
        return Press(Action.VARY, found["varied"], int(found["picture"]) - 1)
    return Press(Action(found["action"]), found["job"])
