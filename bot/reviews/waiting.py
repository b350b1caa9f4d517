"""What moderators have not decided yet, as /admin tells it: where it stands, or why it could not be posted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bot.words.phrasing import moment
from flux_core.database.reviews import Review

LISTED = 10
"""Reviews that are told one by one, the oldest first."""


def waiting(reviews: Sequence[Review], channel_id: int | None) -> str:
    """Tell of open reviews, nothing of none; ``channel_id``: of the guild's moderators, None where there is none."""
    if not reviews:
        return ""
    approvals = sum(review.kind == "approval" for review in reviews)
    kinds = [(approvals, "prompt to approve", "prompts to approve"), (len(reviews) - approvals, "report", "reports")]
    heading = " and ".join(f"{amount} {one if amount == 1 else more}" for amount, one, more in kinds if amount)
    lines = [f"- {_line(review, channel_id)}" for review in reviews[:LISTED]]
    if len(reviews) > LISTED:
        lines.append(f"- and {len(reviews) - LISTED} more")
    return "\n".join([f"### Waiting for a decision: {heading}", *lines])


def _line(review: Review, channel_id: int | None) -> str:
    what = "A prompt" if review.kind == "approval" else f"A report by <@{review.by}>"
    since = f"{what}, {moment(review.opened_at)}"
    if review.message_id is not None:
        return (
            f"{since}: [decide](https://discord.com/channels/{review.guild_id}/{review.channel_id}/{review.message_id})"
        )
    if channel_id is None:
        return f"{since}: there is no channel to post it in. `/admin moderation channel` sets one."
    if review.problem is not None:
        return f"{since}: not posted, because {review.problem}. I try again {moment(review.next_at)}."
    return f"{since}: about to be posted."
