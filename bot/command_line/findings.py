"""What `flux-bot doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is well (None: a remark), and what to do or know."""

    subject: str
    well: bool | None
    remark: str
