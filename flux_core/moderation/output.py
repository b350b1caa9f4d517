"""What happens to drawn pictures that are not for everybody. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from PIL import Image

from flux_core.errors import ConfigurationError
from flux_core.policy.guild import OutputRule

Fate = Literal["show", "spoiler", "refuse"]

CERTAIN = 1.0
"""How sure a provider is that flags a picture: it tells no number."""


USUAL_LABELS = frozenset({"nsfw", "porn", "hentai", "sexy"})
"""What classifiers call that which is not for everybody, where the operator names no labels."""


class OutputCheck(Protocol):
    """Looks at pictures."""

    async def unsafe(self, images: Sequence[Image.Image]) -> list[float]:
        """Return for each RGB picture how sure the check is that it is not for everybody, 0 to 1.

        Raises a FluxError where it cannot tell, and does not hold up the event loop.
        """


def counted_labels(model: str, known: Sequence[str], named: Collection[str]) -> frozenset[str]:
    """Return the labels, case folded, that are not for everybody: those ``named``, else the usual ones it has.

    Raises ConfigurationError, with the labels that the model has, for a name that is none of them, and for no label.
    """
    has = {label.casefold() for label in known}
    wanted = {label.casefold() for label in named}
    if missing := sorted(wanted - has):
        raise ConfigurationError(
            f"OUTPUT_CHECK_LABELS: {model} has no {', '.join(missing)}; its labels are {', '.join(known)}."
        )
    if counted := frozenset(wanted or USUAL_LABELS & has):
        return counted
    raise ConfigurationError(
        f"OUTPUT_CHECK_LABELS has to say which labels of {model} are not for everybody; it has {', '.join(known)}."
    )


def fate(rule: OutputRule, unsafe: Sequence[float | None], *, age_restricted: bool) -> Fate:
    """Return what a community wants done with pictures of which a check is so sure that they are not for everybody.

    ``unsafe``: per picture 0 to 1, None where nothing was checked. ``age_restricted``: where they were asked for.
    """
    if not any(sure is not None and sure >= rule.threshold for sure in unsafe):
        return "show"
    match rule.action:
        case "spoiler":
            return "spoiler"
        case "refuse":
            return "refuse"
        case "age_restricted" if not age_restricted:
            return "refuse"
    return "show"


def needs_check(rule: OutputRule, *, age_restricted: bool) -> bool:
    """Say whether a picture that a broken check could not look at must not be shown: it might have been refused."""
    return rule.action == "refuse" or (rule.action == "age_restricted" and not age_restricted)


def shows_drafts(rule: OutputRule, *, age_restricted: bool) -> bool:
    """Say whether previews, which nobody checks, may be shown where the finished pictures are checked."""
    return rule.action == "allow" or (rule.action == "age_restricted" and age_restricted)
