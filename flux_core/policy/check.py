"""What a policy names and is not there: models, providers, shapes and formats, a server's channels and roles. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

from flux_core.generation import OutputFormat
from flux_core.models import ASPECTS
from flux_core.policy.guild import NOTHING_DECIDED, GuildPolicy


def problems(
    policy: GuildPolicy, *, models: Collection[str], providers: Collection[str], before: GuildPolicy = NOTHING_DECIDED
) -> list[str]:
    """Return a sentence for each name in ``policy`` that means nothing here, with its place in the document.

    Names that the policy ``before`` has as well may stay: what they meant may have been taken out of the studio since.
    """
    had = {(kind, name) for _, kind, name in _named(before)}
    known = {"model": models, "provider": providers, "aspect": tuple(ASPECTS), "format": tuple(OutputFormat)}
    found = [
        f"{place}: there is no {kind} “{name}” here{_meant(name, known[kind])}"
        for place, kind, name in _named(policy)
        if name not in known[kind] and (kind, name) not in had
    ]
    found += [
        f"tiers.{number}.name: there is nothing to read in it"
        for number, tier in enumerate(policy.tiers)
        if not tier.name.strip() and tier not in before.tiers
    ]
    if models and not set(models) - set(policy.models_denied):
        found.append("models_denied: this server would have no model left; to stop all drawing, pause the queue")
    return found


def strangers(policy: GuildPolicy, *, channels: Collection[int], roles: Collection[int]) -> tuple[int, int]:
    """Return how many channels and how many roles ``policy`` speaks of that are not among a server's own."""
    return (
        sum(rule.channel_id not in channels for rule in policy.channels),
        sum(tier.role_id not in roles for tier in policy.tiers),
    )


def _named(policy: GuildPolicy) -> Iterator[tuple[str, str, str]]:
    """Yield every name: its place, of what it is, and itself."""
    yield from _each("everybody.models", "model", policy.everybody.models)
    for number, tier in enumerate(policy.tiers):
        yield from _each(f"tiers.{number}.models", "model", tier.models)
    for number, rule in enumerate(policy.channels):
        place, given = f"channels.{number}.defaults", rule.defaults
        for field, kind in (("model", "model"), ("aspect", "aspect"), ("output_format", "format")):
            if (name := getattr(given, field)) is not None:
                yield f"{place}.{field}", kind, name
    yield from _each("models_denied", "model", policy.models_denied)
    if policy.routing is not None:
        yield from _each("routing.providers", "provider", policy.routing.providers)


def _each(place: str, kind: str, names: Iterable[str] | None) -> Iterator[tuple[str, str, str]]:
    for name in names or ():
        yield place, kind, name


def _meant(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name.lower(), [str(one) for one in known], n=1, cutoff=0.6)
    return f"; “{near[0]}” was meant, perhaps" if near else ""
