"""What a member has set for themselves in one community: options taken where they name none. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from flux_core.catalogue import Catalogue
from flux_core.errors import BeyondLimit, ModelDenied, OutOfRange, UnknownAspect, UnknownFormat
from flux_core.generation import OutputFormat, mode_named
from flux_core.models import ASPECTS
from flux_core.policy.permitted import Permitted


class Preferences(BaseModel):
    """A member's own defaults; None: not set, so the channel's or the studio's holds."""

    # A field of a later version is no reason to forget the others.
    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = None
    aspect: str | None = None
    count: int | None = None
    output_format: str | None = None
    mode: str | None = None
    private: bool | None = None
    """Whether pictures are shown to the member alone."""
    notify: bool | None = None
    """Whether a direct message tells that pictures are there."""


NOTHING_SET = Preferences()


def check(given: Preferences, catalogue: Catalogue, permitted: Permitted) -> None:
    """Raise what is wrong with ``given`` for a member who may do what ``permitted`` says.

    Raises UnknownModel, ModelDenied, UnknownAspect, OutOfRange, BeyondLimit, UnknownFormat or UnknownMode.
    """
    if given.model is not None:
        spec = catalogue[given.model]
        if not permitted.allows(spec.id):
            raise ModelDenied(model=spec.id, known=[one.id for one in catalogue if permitted.allows(one.id)])
    if given.aspect is not None and given.aspect not in ASPECTS:
        raise UnknownAspect(value=given.aspect, known=list(ASPECTS))
    if given.count is not None:
        most = max(int(spec.count.high) for spec in catalogue)
        if not 1 <= given.count <= most:
            raise OutOfRange(field="count", value=given.count, low=1, high=most)
        if permitted.max_count is not None and given.count > permitted.max_count:
            raise BeyondLimit(field="count", value=given.count, limit=permitted.max_count)
    known = [one.value for one in OutputFormat]
    if given.output_format is not None and given.output_format not in known:
        raise UnknownFormat(value=given.output_format, known=known)
    mode_named(given.mode)
