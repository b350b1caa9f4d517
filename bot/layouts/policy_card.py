"""What a server has decided, and what a change to it would do, as moderators read it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bot.layouts import panels_admin
from bot.words.phrasing import counted, credits, dollars, duration, escape, shorten, title_of
from flux_core.policy.diff import Change
from flux_core.policy.guild import GuildPolicy, millicredits
from flux_core.router import LOCAL, RoutingPolicy

ROOM = 3600
"""Characters of a summary, or of a list of changes; Discord takes 4,000 in a message."""
SHOWN = 10
"""Tiers and channels told one by one."""
LINE = 500
"""Characters of one line: a long list of models hides nothing else."""
VALUE = 120
"""Characters of one value before and after."""
MICRODOLLARS = 1_000_000

_PICTURES = {
    "allow": "shown",
    "spoiler": "hidden until clicked",
    "age_restricted": "shown in age-restricted channels alone",
    "refuse": "refused",
}


def summary(policy: GuildPolicy, zone: str, problems: Sequence[str] = ()) -> str:
    """Tell all that a server has decided; ``zone`` is the operator's, where the server has set none.

    ``problems``: what cannot be read of it.
    """
    if policy == GuildPolicy():
        return "### What this server has decided\nNothing yet: all is as the bot's owner has set it for every server."
    lines: list[str] = []
    if problems:
        wrong = "; ".join(escape(shorten(one, VALUE)) for one in problems)
        lines.append(
            f"**Not all of this can be read, so nothing is drawn here** ({wrong}). `/admin policy import` replaces it, "
            "`/admin policy reset` takes it all back. Until then, this holds for what was ordered before:"
        )
    if said := panels_admin.limits(policy.everybody, zone):
        lines.append(f"**Everybody:** {' · '.join(said)}")
    lines += _shared(policy)
    lines += _some("Tiers", [panels_admin.tier(tier, zone) for tier in policy.tiers], "/admin tier show")
    lines += _some("Channels", [panels_admin.channel(rule) for rule in policy.channels], "/admin channel show")
    if policy.models_denied:
        lines.append(f"**Models denied:** {', '.join(f'`{escape(id)}`' for id in policy.models_denied)}")
    if policy.routing is not None:
        lines.append(f"**Who draws:** {_routing(policy.routing)}")
    lines += _moderation(policy)
    return _fitting("### What this server has decided", lines, "things")


def _shared(policy: GuildPolicy) -> list[str]:
    lines = []
    if policy.pool is not None:
        lines.append(f"**Pool:** {credits(millicredits(policy.pool))} of their allowances for all members together")
    if policy.dollars_a_day is not None:
        most = dollars(round(policy.dollars_a_day * MICRODOLLARS))
        lines.append(f"**Hosted providers:** at most {most} a day")
    if policy.cooldown_seconds:
        lines.append(f"**Cooldown:** {duration(policy.cooldown_seconds)} between two orders of a member")
    if policy.relaxed:
        lines.append("**Relaxed:** without credits left, still drawn when nobody with credits is waiting")
    return lines


def _some(title: str, told: Sequence[str], command: str) -> list[str]:
    if not told:
        return []
    more = [f"- and {len(told) - SHOWN} more: `{command}`"] if len(told) > SHOWN else []
    return [f"**{title}:**", *(f"- {shorten(line, 300)}" for line in told[:SHOWN]), *more]


def _routing(routing: RoutingPolicy) -> str:
    first = title_of(LOCAL) if routing.first == "local" else "hosted providers"
    match routing.providers:
        case None:
            may = "all hosted providers may draw"
        case ():
            may = "no hosted provider may draw"
        case named:
            may = f"{', '.join(escape(title_of(name)) for name in named)} may draw"
    wait = f", a hosted one after {duration(routing.overflow_seconds)}" if routing.first == "local" else ""
    return f"{first} first{wait}; {may}, the {routing.order} before others"


def _moderation(policy: GuildPolicy) -> list[str]:
    lines = []
    if policy.prompt_rules:
        actions = Counter(rule.action for rule in policy.prompt_rules)
        told = ", ".join(f"{number} {action}" for action, number in sorted(actions.items()))
        lines.append(f"**Prompt rules:** {counted(len(policy.prompt_rules), 'rule')} ({told})")
    if policy.moderators_channel is not None:
        lines.append(f"**Approvals and reports:** <#{policy.moderators_channel}>")
    if policy.output != GuildPolicy().output:
        sure = f"where the check is {policy.output.threshold:.0%} sure"
        lines.append(f"**Pictures not for everybody:** {_PICTURES[policy.output.action]}, {sure}")
    if not policy.tell_prompt:
        lines.append("**Picture files:** do not tell their prompt")
    return lines


def changed(found: Sequence[Change]) -> str:
    """Tell what would change, a line for each place in the document."""
    return _fitting("### What would change", [_change(one) for one in found], "changes")


def strangers(channels: int, roles: int) -> str:
    """Warn of channels and roles that a document names and a server does not have; "" where there are none."""
    unknown = [counted(number, thing) for number, thing in ((channels, "channel"), (roles, "role")) if number]
    if not unknown:
        return ""
    return (
        f"**Look again:** this server does not have {' and '.join(unknown)} of this file; their rules do nothing here."
    )


def _change(one: Change) -> str:
    before, after = ("not said" if text is None else _code(text) for text in (one.before, one.after))
    return f"- {_code(one.path)}: {before} → {after}"


def _code(text: str) -> str:
    """Return text as code, in which nothing is markdown and nobody is mentioned; only backticks could end it."""
    return f"`{shorten(' '.join(text.split()).replace('`', chr(39)), VALUE)}`"


def _fitting(title: str, lines: Iterable[str], things: str) -> str:
    kept, room, missing = [title], ROOM - len(title), 0
    for whole in lines:
        line = shorten(whole, LINE)
        if len(line) + 1 > room:
            missing, room = missing + 1, 0
        else:
            kept.append(line)
            room -= len(line) + 1
    return "\n".join([*kept, f"… and {missing:,} more {things}"] if missing else kept)
