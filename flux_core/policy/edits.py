"""The changes that moderators make to what their community has decided. Pure: a policy, or limits, become others.

What none of these check, such as numbers out of range, is refused when the policy is kept
(``flux_core.database.policies.checked``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from flux_core.errors import AlreadySo, InvalidPolicy, NotANumber, NotThere, UnknownModel
from flux_core.policy.guild import ChannelRule, Defaults, GuildPolicy, Limits, Renewal, Tier

ALL = "all"
"""Said in place of models: every one again."""

_CLOCK = re.compile(r"(?P<hours>[01]?[0-9]|2[0-3])[:.h](?P<minutes>[0-5][0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsGiven:
    """What a moderator typed about limits. None: not said, so it stays as it is."""

    credits: float | None = None
    renews: str | None = None
    at: str | None = None
    timezone: str | None = None
    hours: int | None = None
    weight: float | None = None
    waiting: int | None = None
    running: int | None = None
    megapixels: float | None = None
    count: int | None = None
    models: str | None = None

    def said(self) -> dict[str, Any]:
        """Return what was said: option → value."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


_FIELDS = {
    "credits": "credits",
    "weight": "weight",
    "waiting": "max_waiting",
    "running": "max_running",
    "megapixels": "max_megapixels",
    "count": "max_count",
}


def limits_with(before: Limits, given: LimitsGiven, known: Collection[str]) -> dict[str, Any]:
    """Return the fields of ``before`` that ``given`` changes, with their new values.

    ``known``: the models there are. Raises UnknownModel, NotANumber, and InvalidPolicy for what cannot be read or does
    not fit together.
    """
    said = given.said()
    for name, value in said.items():
        # JSON, as which limits are kept, has no infinities.
        if isinstance(value, float) and not math.isfinite(value):
            raise NotANumber(field=name, value=value)
    changes: dict[str, Any] = {_FIELDS[name]: value for name, value in said.items() if name in _FIELDS}
    if said.keys() & {"renews", "at", "timezone", "hours"}:
        changes["renewal"] = _renewal(before.renewal or Renewal(), given)
    if given.models is not None:
        changes["models"] = models_named(given.models, known)
    return changes


def _renewal(before: Renewal, given: LimitsGiven) -> Renewal:
    every = given.renews or before.every
    if every == "rolling":
        for name in ("at", "timezone"):
            if getattr(given, name) is not None:
                raise InvalidPolicy(problems=[f"{name} is not for a rolling allowance, which never renews at once"])
        hours = before.hours if given.hours is None else given.hours
        return Renewal.model_construct(every="rolling", hours=hours)
    if given.hours is not None:
        raise InvalidPolicy(problems=["hours are for a rolling allowance alone: say renews: rolling as well"])
    return Renewal.model_construct(
        every=every,
        at=before.at if given.at is None else time_of_day(given.at),
        zone=before.zone if given.timezone is None else zone_named(given.timezone),
    )


def time_of_day(text: str) -> str:
    """Return a time as 06:00; raises InvalidPolicy."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        raise InvalidPolicy(problems=[f"at says “{text.strip()[:20]}”, which is no time of the day such as 06:00"])
    return f"{int(found['hours']):02}:{found['minutes']}"


@cache
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in sorted(available_timezones())}


def zones_like(typed: str, most: int) -> list[str]:
    """Return up to ``most`` IANA time zones that ``typed`` may mean, those that begin with it first."""
    wanted = typed.strip().lower().replace(" ", "_")
    found = [name for name in _zones() if wanted in name]
    found.sort(key=lambda name: (not name.split("/")[-1].startswith(wanted), "/" not in name, name))
    return [_zones()[name] for name in found[:most]]


def zone_named(text: str) -> str:
    """Return the IANA time zone that is called ``text`` in any case; raises InvalidPolicy."""
    wanted = text.strip().lower().replace(" ", "_")
    name = _zones().get(wanted)
    if name is None:
        near = get_close_matches(wanted, list(_zones()), n=1, cutoff=0.6)
        meant = f"; did you mean {_zones()[near[0]]}?" if near else " such as Europe/Berlin"
        raise InvalidPolicy(problems=[f"timezone says “{text.strip()[:40]}”, which is no time zone{meant}"])
    return name


def models_named(text: str, known: Collection[str]) -> tuple[str, ...] | None:
    """Return the models in a list with commas; None for ``all``. Raises UnknownModel."""
    named = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if named == (ALL,):
        return None
    for name in named or (text.strip(),):
        if name not in known:
            raise UnknownModel(value=name, known=list(known))
    return named


def with_server(policy: GuildPolicy, changes: dict[str, Any], *, clear: bool) -> GuildPolicy:
    """Change what holds for all members together; ``clear`` forgets the earlier pool, cooldown and relaxed lane."""
    before = {"pool": None, "cooldown_seconds": 0, "relaxed": False} if clear else {}
    return policy.model_copy(update=before | changes)


# Tiers


def tier_of(policy: GuildPolicy, role_id: int, name: str = "") -> Tier:
    """Return the tier of a role; raises NotThere."""
    for tier in policy.tiers:
        if tier.role_id == role_id:
            return tier
    raise NotThere(what="tier for the role", name=name or str(role_id))


def with_tier(policy: GuildPolicy, tier: Tier) -> GuildPolicy:
    """Put in a tier, in place of the one of its role or behind the others."""
    kept = [tier if one.role_id == tier.role_id else one for one in policy.tiers]
    if tier not in kept:
        kept.append(tier)
    return policy.model_copy(update={"tiers": tuple(kept)})


def without_tier(policy: GuildPolicy, role_id: int, name: str = "") -> GuildPolicy:
    """Take a role's tier out; raises NotThere."""
    gone = tier_of(policy, role_id, name)
    return policy.model_copy(update={"tiers": tuple(tier for tier in policy.tiers if tier != gone)})


# Channels


def with_channel(policy: GuildPolicy, channel_id: int, **changes: Any) -> GuildPolicy:
    """Change the rule of a channel, or make one; a rule that says nothing any more goes."""
    before = policy.rule_for((channel_id,)) or ChannelRule(channel_id=channel_id)
    after = before.model_copy(update=changes)
    says = after != ChannelRule(channel_id=channel_id)
    kept = [after if rule == before else rule for rule in policy.channels if says or rule != before]
    if says and after not in kept:
        kept.append(after)
    return policy.model_copy(update={"channels": tuple(kept)})


def with_defaults(policy: GuildPolicy, channel_id: int, changes: dict[str, Any], *, clear: bool) -> GuildPolicy:
    """Set options that are taken in a channel where a member names none; ``clear`` forgets the earlier ones."""
    rule = policy.rule_for((channel_id,))
    before = Defaults() if rule is None or clear else rule.defaults
    return with_channel(policy, channel_id, defaults=before.model_copy(update=changes))


def without_channel(policy: GuildPolicy, channel_id: int, name: str) -> GuildPolicy:
    """Forget all that was said about a channel; raises NotThere."""
    if policy.rule_for((channel_id,)) is None:
        raise NotThere(what="rule for the channel", name=name)
    return policy.model_copy(
        update={"channels": tuple(rule for rule in policy.channels if rule.channel_id != channel_id)}
    )


# Models


def with_model(policy: GuildPolicy, model: str, known: Collection[str], *, allowed: bool) -> GuildPolicy:
    """Allow or deny a model; raises UnknownModel, AlreadySo, and InvalidPolicy where none would be left.

    One that was denied and is not offered any more can be allowed again.
    """
    denied = policy.models_denied
    if model not in known and not (allowed and model in denied):
        raise UnknownModel(value=model, known=list(known))
    if allowed == (model not in denied):
        raise AlreadySo(what=f"`{model}` is {'allowed' if allowed else 'denied'} already")
    after = tuple(id for id in denied if id != model) if allowed else (*denied, model)
    if not set(known) - set(after):
        raise InvalidPolicy(problems=["this server would have no model left; to stop all drawing, pause the queue"])
    return policy.model_copy(update={"models_denied": after})
