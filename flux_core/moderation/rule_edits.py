"""The changes that moderators make to their prompt rules. Pure: a policy becomes another, or an error says why not."""

from __future__ import annotations

import hashlib

from flux_core.errors import AlreadySo, InvalidPolicy, NotThere
from flux_core.moderation.patterns import Unusable, check
from flux_core.policy.guild import MOST_RULES, GuildPolicy, PromptRule

NAME = 16
"""Characters that name a rule where its pattern would not fit."""


def name_of(rule: PromptRule) -> str:
    """Return what names a rule among others: a pattern may be longer than Discord lets a choice be."""
    return hashlib.sha256(f"{rule.kind} {rule.pattern}".encode()).hexdigest()[:NAME]


def new_rule(kind: str, pattern: str, action: str, everywhere: bool) -> PromptRule:
    """Return a rule as a moderator typed it; raises InvalidPolicy with why its pattern cannot be used."""
    try:
        check(kind, pattern.strip())
    except Unusable as error:
        raise InvalidPolicy(problems=[str(error)]) from None
    return PromptRule.model_validate(
        {"kind": kind, "pattern": pattern.strip(), "action": action, "everywhere": everywhere}
    )


def with_rule(before: GuildPolicy, rule: PromptRule) -> GuildPolicy:
    """Return the policy with ``rule``, in place of one for the same pattern; raises AlreadySo, InvalidPolicy."""
    if rule in before.prompt_rules:
        raise AlreadySo(what="that rule is there already")
    if rule.action == "approve" and before.moderators_channel is None:
        raise InvalidPolicy(
            problems=["nobody could approve: choose the moderators' channel with /admin moderation channel first"]
        )
    others = tuple(one for one in before.prompt_rules if name_of(one) != name_of(rule))
    if len(others) >= MOST_RULES:
        raise InvalidPolicy(problems=[f"there are {MOST_RULES} rules already, and more cannot be kept"])
    return before.model_copy(update={"prompt_rules": (*others, rule)})


def rule_called(policy: GuildPolicy, called: str) -> PromptRule:
    """Return the rule with a name, or with a pattern; raises NotThere, and InvalidPolicy where it may be several."""
    named = [rule for rule in policy.prompt_rules if name_of(rule) == called]
    found = named or [rule for rule in policy.prompt_rules if rule.pattern == called.strip()]
    if not found:
        raise NotThere(what="rule", name=called)
    if len(found) > 1:
        raise InvalidPolicy(problems=["several rules have that pattern, so please choose one from the list"])
    return found[0]


def without_rule(before: GuildPolicy, rule: PromptRule) -> GuildPolicy:
    """Return the policy without ``rule``."""
    return before.model_copy(update={"prompt_rules": tuple(one for one in before.prompt_rules if one != rule)})


def with_moderators_channel(before: GuildPolicy, channel_id: int | None) -> GuildPolicy:
    """Return the policy with a moderators' channel or without; raises AlreadySo, InvalidPolicy while it is needed."""
    if before.moderators_channel == channel_id:
        raise AlreadySo(
            what="there is no moderators' channel" if channel_id is None else f"<#{channel_id}> is the channel already"
        )
    waiting = sum(rule.action == "approve" for rule in before.prompt_rules)
    if channel_id is None and waiting:
        rules = "a rule asks" if waiting == 1 else f"{waiting} rules ask"
        raise InvalidPolicy(problems=[f"{rules} for approval, so a channel is needed; see /admin blocklist show"])
    return before.model_copy(update={"moderators_channel": channel_id})


def with_output(before: GuildPolicy, action: str | None, threshold: float | None) -> GuildPolicy:
    """Return the policy with another rule for pictures; what is None stays. Raises InvalidPolicy, AlreadySo."""
    if action is None and threshold is None:
        raise InvalidPolicy(problems=["say an action, a threshold, or both"])
    given = {"action": action, "threshold": threshold}
    output = before.output.model_copy(update={name: value for name, value in given.items() if value is not None})
    return before.model_copy(update={"output": output})
