"""What goes to a channel with the bot's own token is few at a time, so that no channel keeps the others waiting.

Discord takes about five posts and five edits in five seconds of a channel then. With a living interaction token, each
answer has a limit of its own.
"""

from __future__ import annotations

from collections import Counter

from bot.delivery.posting import token_lives
from flux_core.jobs import Job

POSTS_AT_ONCE = 4
"""Final answers on their way to one channel: after an hour away, a busy one has hundreds to catch up with."""
EDITS_AT_ONCE = 1
"""Cards of one channel that are brought up to date: where a queue is longer than tokens live, all of them move with
every job that ends, which is more than Discord takes."""

Lane = tuple[int, bool]
"""A channel, and whether final answers go to it, or what is told meanwhile."""


class OwnToken:
    """Counts what is on its way in each lane."""

    def __init__(self) -> None:
        self._going: Counter[Lane] = Counter()

    def lane_of(self, job: Job, now: float) -> Lane | None:
        """Return the lane in which ``job`` is told of at ``now`` (unix seconds); None: its own token serves."""
        reply = job.reply_to
        return None if reply is None or token_lives(reply, now) else (reply.channel_id, job.state.ended)

    def is_full(self, lane: Lane | None) -> bool:
        """Tell whether nothing more may set out in ``lane`` for now."""
        return lane is not None and self._going[lane] >= (POSTS_AT_ONCE if lane[1] else EDITS_AT_ONCE)

    def enter(self, lane: Lane | None) -> None:
        """Count what sets out."""
        if lane is not None:
            self._going[lane] += 1

    def leave(self, lane: Lane | None) -> None:
        """Count what has arrived, or never will."""
        if lane is not None:
            self._going[lane] -= 1
            if not self._going[lane]:
                del self._going[lane]
