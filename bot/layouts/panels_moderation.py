"""What moderators read about prompt rules and about pictures that are not for everybody. Pure, like the cards."""

from __future__ import annotations

from bot.words.phrasing import number, quoted
from flux_core.moderation.prompts import Judgement
from flux_core.policy.guild import GuildPolicy, OutputRule, PromptRule

PATTERN_SHOWN = 150
"""Characters of a pattern in a list; escaping at most doubles them."""

_KINDS = {"word": "the word", "phrase": "the phrase", "regex": "the expression"}
DOES = {"refuse": "is refused", "spoiler": "hides the pictures until clicked", "approve": "waits for a moderator"}
"""What becomes of an order, by the rule's action."""
_OUTPUT = {
    "allow": "are shown like any other",
    "spoiler": "are hidden until clicked",
    "age_restricted": "are shown in age-restricted channels only; elsewhere they are refused",
    "refuse": "are refused everywhere",
}


def rule(one: PromptRule) -> str:
    """Tell a rule on one line."""
    where = "" if one.everywhere else ", but not in age-restricted channels"
    return f"{_KINDS[one.kind]} {quoted(one.pattern, PATTERN_SHOWN)}: {DOES[one.action]}{where}"


def choice(one: PromptRule) -> str:
    """Name a rule where markdown is not read."""
    return f"{one.kind}: {one.pattern} ({one.action})"


def trial(prompt: str, everyday: Judgement | None, age_restricted: Judgement | None) -> str:
    """Tell what would become of a prompt in both kinds of channels."""
    if everyday == age_restricted:
        return f"{quoted(prompt, 200)} {_told(everyday)}"
    places = (("most", everyday), ("age-restricted", age_restricted))
    return "\n- ".join([quoted(prompt, 200), *(f"in {name} channels {_told(said)}" for name, said in places)])


def _told(judgement: Judgement | None) -> str:
    if judgement is None:
        return "is drawn: no rule matches."
    what = f"{_KINDS[judgement.rule.kind]} {quoted(judgement.rule.pattern, PATTERN_SHOWN)}"
    return f"{DOES[judgement.action]}: {quoted(judgement.said, 80)} is {what}."


def output(one: OutputRule) -> str:
    """Tell what happens to pictures that are not for everybody."""
    sure = f"{number(round(one.threshold * 100, 1))}% sure"
    return f"Pictures that are not for everybody (the check has to be {sure}) {_OUTPUT[one.action]}."


def told_prompts(policy: GuildPolicy) -> str:
    """Tell what picture files say."""
    return f"Picture files {'tell' if policy.tell_prompt else 'do not tell'} the prompt that they were drawn from."


def moderation(policy: GuildPolicy, *, checked: bool) -> str:
    """Tell all that was decided; ``checked``: whether the operator has set up the output check."""
    where = policy.moderators_channel
    lines = [
        "Approvals and reports have no channel." if where is None else f"Approvals and reports go to <#{where}>.",
        f"{output(policy.output)}{unchecked(checked)}",
        told_prompts(policy),
        f"{len(policy.prompt_rules)} prompt {'rule' if len(policy.prompt_rules) == 1 else 'rules'}: "
        "`/admin blocklist show`.",
    ]
    return "### Moderation\n" + "\n".join(f"- {line}" for line in lines)


def unchecked(checked: bool) -> str:
    """Say that nothing looks at the pictures, where that is so."""
    return "" if checked else " Here nothing looks at pictures but the hosted providers' own filters."
