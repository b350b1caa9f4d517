"""The direct message that tells a member who wants it that a job has come to its end. Pure."""

from __future__ import annotations

from discord import ui

from bot.layouts.cards import GREEN, RED, Card
from bot.layouts.listings import PROMPT_SHOWN
from bot.layouts.panels import message_link
from bot.words.phrasing import escape, shorten
from bot.words.wording import sentence
from flux_core.errors import from_code
from flux_core.jobs import Job, JobState


def notice(job: Job) -> Card:
    """Tell how ``job`` ended and where its answer is."""
    words = escape(shorten(" ".join(job.request.prompt.split()), PROMPT_SHOWN))
    if job.state is JobState.SUCCEEDED:
        told = f"**{'Your picture is' if job.request.count == 1 else 'Your pictures are'} there:** {words}"
    else:
        why = sentence(from_code(job.error_code or "generation_failed", job.error_facts or {}))
        told = f"**Nothing came of this:** {words}\n{why}"
    link = message_link(job)
    channel = None if job.reply_to is None else f"<#{job.reply_to.channel_id}>"
    if link is not None:
        where = f"[Go to the message]({link}) in {channel}"
    else:
        where = f"The answer is private: in {channel}, and in `/jobs` there"
    return Card(
        ui.Container(
            ui.TextDisplay(f"{told}\n{where}"),
            ui.TextDisplay("-# You asked to be told. `/settings set notify:False` in the server ends that."),
            accent_colour=GREEN if job.state is JobState.SUCCEEDED else RED,
        )
    )


def nonce(job: Job) -> str:
    """Return what keeps a repeated notice of ``job`` from being a second one: at most 25 characters."""
    return f"n{job.id}"
