"""What moderators read about limits, tiers, channels, models and bans. Pure, like the cards."""

from __future__ import annotations

from collections.abc import Iterable

from bot.words.phrasing import counted, credits, duration, escape, moment, number, quoted, shorten
from flux_core.policy.guild import ChannelRule, Defaults, GuildPolicy, Limits, Renewal, Tier, millicredits
from flux_core.quota import QuotaRules
from flux_core.service import Ban, Quota

MOST_TEXT = 3900
"""Characters: a message takes 4,000."""
_EVERY = {"day": "each day", "week": "each Monday", "month": "on the first of each month"}


def renewal(when: Renewal, zone: str) -> str:
    """Return when an allowance is new again; ``zone`` is the operator's."""
    if when.every == "rolling":
        return f"each credit back {when.hours} h after it was spent"
    return f"{_EVERY[when.every]} at {when.at} ({escape(when.zone or zone)})"


def limits(said: Limits, zone: str) -> list[str]:
    """Return what limits say, a line for each."""
    lines = []
    if said.credits is not None:
        lines.append(f"{credits(millicredits(said.credits))} of allowance")
    if said.renewal is not None:
        lines.append(f"renews {renewal(said.renewal, zone)}")
    if said.weight is not None:
        lines.append(f"weight {number(said.weight)}")
    if said.max_waiting is not None:
        lines.append(f"at most {said.max_waiting} waiting")
    if said.max_running is not None:
        lines.append(f"at most {said.max_running} drawn at the same time")
    if said.max_megapixels is not None:
        lines.append(f"up to {number(said.max_megapixels)} megapixels")
    if said.max_count is not None:
        lines.append(f"up to {counted(said.max_count, 'picture')} a job")
    if said.models is not None:
        lines.append(f"only {', '.join(f'`{model}`' for model in said.models)}" if said.models else "no model")
    return lines


def server(policy: GuildPolicy, rules: QuotaRules, pool_left: int | None) -> str:
    """Tell what holds for everybody in a server."""
    zone = str(rules.zone)
    everybody = policy.everybody
    when = everybody.renewal or Renewal()
    allowance = rules.allowance if everybody.credits is None else millicredits(everybody.credits)
    waiting = rules.max_waiting if everybody.max_waiting is None else everybody.max_waiting
    lines = [f"{credits(allowance)} of allowance, {renewal(when, zone)}", f"at most {waiting} waiting"]
    lines += limits(everybody.model_copy(update={"credits": None, "renewal": None, "max_waiting": None}), zone)
    if policy.pool is not None:
        left = "" if pool_left is None else f", {credits(pool_left)} left"
        lines.append(f"{credits(millicredits(policy.pool))} of their allowances for all together{left}")
    if policy.cooldown_seconds:
        lines.append(f"{duration(policy.cooldown_seconds)} between two orders of a member")
    if policy.relaxed:
        lines.append("without credits left, still drawn when nobody with credits is waiting")
    if policy.tiers:
        lines.append(f"{counted(len(policy.tiers), 'tier')}: `/admin tier show`")
    return _listed("### Everybody in this server", lines)


def role(tier: Tier, zone: str) -> str:
    """Tell what a role gives."""
    return _listed(f"### {tier_name(tier)}", limits(tier, zone))


def tier_name(tier: Tier) -> str:
    """Return how a tier is called: its role, and the name that members read."""
    return f"<@&{tier.role_id}> ({escape(tier.name)})"


def tier(one: Tier, zone: str) -> str:
    """Tell a tier on one line."""
    return f"**{tier_name(one)}**: {' · '.join(limits(one, zone))}"


def member(user_id: int, held: Quota, own: Limits, ban: Ban | None, zone: str) -> str:
    """Tell what a member has, may do, and what was set for them alone."""
    spent = min(held.spent, held.allowance)
    lines = [
        f"**{credits(held.left)} left**",
        f"{credits(held.allowance - spent)} of an allowance of {credits(held.allowance)}, "
        f"{renewal(held.renewal, zone)}",
    ]
    if held.granted:
        expiring = " and ".join(f"{credits(amount)} until {moment(at, 'f')}" for amount, at in held.expiring[:3])
        lines.append(f"{credits(held.granted)} granted{f', of these {expiring}' if expiring else ''}")
    if held.renews_at is not None:
        lines.append(f"renews {moment(held.renews_at)}")
    running = f" of at most {held.max_running}" if held.max_running is not None else ""
    lines.append(f"{held.waiting} of at most {held.max_waiting} waiting, {held.running}{running} being drawn")
    if held.weight != 1:
        lines.append(f"weight {number(held.weight)}")
    if held.tiers:
        lines.append(f"tiers: {', '.join(escape(name) for name in held.tiers)}")
    if said := limits(own, zone):
        lines.append(f"set for them alone: {' · '.join(said)}")
    if ban is not None:
        lines.append(banned(ban, who=False))
    return _listed(f"### <@{user_id}>", lines)


def banned(ban: Ban, *, who: bool = True) -> str:
    """Tell a ban on one line."""
    name = f"<@{ban.user_id}> " if who else "banned "
    until = "until it is lifted" if ban.until is None else f"until {moment(ban.until, 'f')}"
    # Last, so that a list cuts nothing else off.
    reason = f": {quoted(ban.reason, 200)}" if ban.reason else ""
    return f"{name}{until} (by <@{ban.by}>, {moment(ban.since)}){reason}"


def defaults(taken: Defaults) -> str:
    """Tell the options that are taken where a member names none, on one line."""
    said = taken.model_dump(exclude_none=True)
    told = {True: "yes", False: "no"}
    names = {"output_format": "format"}
    return " · ".join(
        f"{names.get(name, name)} {told[value] if isinstance(value, bool) else escape(str(value))}"
        for name, value in said.items()
    )


def channel(rule: ChannelRule) -> str:
    """Tell what holds in a channel, on one line."""
    word = {True: "drawn here", False: "not drawn here", None: ""}[rule.allowed]
    taken = defaults(rule.defaults)
    return f"<#{rule.channel_id}>: {', '.join(part for part in (word, taken and f'defaults {taken}') if part)}"


def channels_closed(policy: GuildPolicy) -> str:
    """Tell where pictures are drawn where no rule names a channel."""
    if any(rule.allowed for rule in policy.channels):
        return "Pictures are drawn in the allowed channels alone."
    return "Pictures are drawn in every channel that is not denied."


def models(policy: GuildPolicy, offered: Iterable[str]) -> str:
    """Tell which models a server uses."""
    known = tuple(offered)
    lines = [f"`{id}`: {'denied' if id in policy.models_denied else 'allowed'}" for id in known]
    lines += [f"`{escape(id)}`: denied, and not offered any more" for id in policy.models_denied if id not in known]
    return _listed("### Models in this server", lines)


def _listed(title: str, lines: Iterable[str]) -> str:
    return shorten("\n".join([title, *(f"- {line}" for line in lines)]), MOST_TEXT)
