"""What happens to drawn pictures that are not for everybody. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flux_core.policy import OutputRule

Fate = Literal["show", "spoiler", "refuse"]


def fate(rule: OutputRule, unsafe: Sequence[float | None], *, age_restricted: bool) -> Fate:
    """Return what a community wants done with pictures of which a check is so sure that they are not for everybody.

    ``unsafe``: per picture 0 to 1, None where nothing was checked. ``age_restricted``: where they were asked for.
    """
    raise NotImplementedError
