"""Judge a prompt by a community's rules. Pure, and in linear time whatever the rules and the prompt are."""

from __future__ import annotations

from dataclasses import dataclass

from flux_core.policy import PromptRule


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of a prompt."""

    action: str
    """"refuse", "approve" or "spoiler": the strictest of the rules that match."""
    said: str
    """The words of the prompt that matched, as the member wrote them, at most 80 characters."""
    rule: PromptRule


def judge(rules: tuple[PromptRule, ...], prompt: str, *, age_restricted: bool) -> Judgement | None:
    """Return what the strictest matching rule says; None when none matches."""
    raise NotImplementedError
