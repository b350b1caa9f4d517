"""What a member may choose from in a community: its models, how many pictures at once, how large. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flux_core.policy.entitlement import Entitlement
from flux_core.policy.guild import GuildPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """What one member may choose from."""

    models: frozenset[str] | None = None
    """The only ones; None: every one that is not denied."""
    denied: Collection[str] = ()
    """Models that the community does not use."""
    max_count: int | None = None
    """Pictures of one job."""
    max_megapixels: float | None = None
    """Of one picture as it is drawn; 1 is 1024 × 1024."""

    def allows(self, model: str) -> bool:
        """Say whether the member may use ``model``."""
        return model not in self.denied and (self.models is None or model in self.models)


EVERYTHING = Permitted()
"""Where nobody has said anything."""


def permitted_to(entitlement: Entitlement, policy: GuildPolicy) -> Permitted:
    """Return what a member with ``entitlement`` may choose from in a community with ``policy``."""
    return Permitted(
        models=entitlement.models,
        denied=frozenset(policy.models_denied),
        max_count=entitlement.max_count,
        max_megapixels=entitlement.max_megapixels,
    )
