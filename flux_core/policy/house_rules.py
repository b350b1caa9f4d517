"""Whether a community lets a member ask for this, here. Pure; who pays for it is another matter."""

from __future__ import annotations

from collections.abc import Collection

from flux_core.errors import Banned, BeyondLimit, ChannelClosed, ModelDenied, PromptForbidden, QueuePaused, TooSoon
from flux_core.generation import GenerationRequest
from flux_core.jobs import Whereabouts
from flux_core.models import MEGAPIXEL
from flux_core.moderation.prompts import Judgement, judge
from flux_core.policy.guild import GuildPolicy
from flux_core.policy.permitted import Permitted


def allow_member(banned: tuple[str, float | None] | None, paused: tuple[str, bool] | None) -> None:
    """Raise Banned or QueuePaused; each comes with its reason, and with its end or whether the queue only drains."""
    if banned is not None:
        raise Banned(reason=banned[0], until=banned[1])
    if paused is not None:
        raise QueuePaused(reason=paused[0], drains=paused[1])


def allow_channel(policy: GuildPolicy, where: Whereabouts) -> None:
    """Raise ChannelClosed where pictures are not drawn; outside of any channel nothing is closed."""
    if where.channel_ids and not policy.draws_in(where.channel_ids):
        raise ChannelClosed(open=[rule.channel_id for rule in policy.channels if rule.allowed])


def allow_request(permitted: Permitted, request: GenerationRequest, offered: Collection[str]) -> None:
    """Raise ModelDenied, which names those of the ``offered`` models that a member may use, or BeyondLimit for too
    large a picture or too many.
    """
    if not permitted.allows(request.model):
        raise ModelDenied(model=request.model, known=[id for id in offered if permitted.allows(id)])
    megapixels = request.width * request.height / MEGAPIXEL
    if permitted.max_megapixels is not None and megapixels > permitted.max_megapixels:
        raise BeyondLimit(field="size", value=megapixels, limit=permitted.max_megapixels)
    if permitted.max_count is not None and request.count > permitted.max_count:
        raise BeyondLimit(field="count", value=request.count, limit=permitted.max_count)


def judge_prompt(policy: GuildPolicy, request: GenerationRequest, where: Whereabouts) -> Judgement | None:
    """Return what the rules say of the prompt besides yes; raises PromptForbidden."""
    if not policy.prompt_rules:
        return None
    said = judge(policy.prompt_rules, request.prompt, age_restricted=where.age_restricted)
    if said is not None and said.action == "refuse":
        raise PromptForbidden(said=said.said)
    return said


def cooled_down_at(policy: GuildPolicy, last_order: float | None, now: float) -> float | None:
    """Return until when a member waits before the next order (unix seconds); None: not at all."""
    if last_order is None or not policy.cooldown_seconds:
        return None
    until = last_order + policy.cooldown_seconds
    return until if until > now else None


def allow_pace(policy: GuildPolicy, last_order: float | None, now: float) -> None:
    """Raise TooSoon within the cooldown after the last order."""
    until = cooled_down_at(policy, last_order, now)
    if until is not None:
        raise TooSoon(until=until, seconds=policy.cooldown_seconds)
