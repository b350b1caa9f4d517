"""What moderators see of a member: credits and limits, a ban, the latest jobs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from discord import ui

from bot.layouts.cards import BLURPLE, RED, Card
from bot.layouts.listings import PROMPT_SHOWN, state
from bot.layouts.panels import quota_lines
from bot.words.phrasing import escape, moment, quoted, shorten
from flux_core.jobs import Job
from flux_core.service import Ban, Quota

JOBS_SHOWN = 5
LONGEST_LINE = 320
"""Characters of what is told of one job."""


def usage(user_id: int, held: Quota, ban: Ban | None, latest: Sequence[Job]) -> Card:
    """Show how it stands with a member; what they asked for privately stays theirs."""
    parts: list[ui.Item[Any]] = [ui.TextDisplay("\n".join([f"### <@{user_id}>", *quota_lines(held)]))]
    if ban is not None:
        until = "until it is lifted" if ban.until is None else f"until {moment(ban.until, 'f')}"
        why = f": {quoted(ban.reason, 200)}" if ban.reason else ""
        parts.append(ui.TextDisplay(f"**Banned** {until} by <@{ban.by}> {moment(ban.since)}{why}"))
    shown = "\n".join(_line(job) for job in latest[:JOBS_SHOWN]) or "Nothing yet."
    parts.append(ui.TextDisplay(f"**Latest jobs**\n{shown}"))
    return Card(ui.Container(*parts, accent_colour=BLURPLE if ban is None else RED))


def _line(job: Job) -> str:
    private = job.reply_to is None or job.reply_to.private
    words = shorten(" ".join(job.request.prompt.split()), PROMPT_SHOWN)
    what = "asked for privately" if private else f"“{escape(words)}”"
    # Why one ended may repeat its words.
    told = job.state.value if private else " ".join(state(job).split("\n"))
    return f"- {shorten(f'{moment(job.created_at)} {what} · {told}', LONGEST_LINE)}"
