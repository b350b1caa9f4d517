"""The moderators' messages: a prompt to approve, a report, and what became of either. Pure, like the other cards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import discord
from discord import ui

from bot.layouts.cards import BLURPLE, GREEN, GREY, RED, Card, Shown, facts_of
from bot.reviews.custom_ids import Choice, Press
from bot.words.phrasing import escape, moment, quoted
from flux_core.database.reviews import Review
from flux_core.jobs import Job

PROMPT_KEPT = 200
"""Characters of the prompt that stay with a decided review."""
REASON_SHOWN = 300

_THIRD_BACKTICK = re.compile(r"``(?=`)")
_VERDICTS = {
    "approved": (GREEN, "Approved"),
    "rejected": (RED, "Rejected"),
    "deleted": (RED, "Deleted"),
    "banned": (RED, "Deleted, and its member banned,"),
    "dismissed": (GREY, "Left as it is"),
}
_WITHOUT_MODERATORS = {
    "expired": "Nobody decided in time. It was not drawn, and its credits went back",
    "withdrawn": "It ended before anybody decided",
    "forgotten": "Forgotten, by its member's wish or because its time was over",
}


def approval(review: Review, job: Job, *, input_name: str | None = None, mask_name: str | None = None) -> Card:
    """Ask for approval of a held job; the names are those of the uploaded files of what it starts from."""
    parts: list[ui.Item[Any]] = [
        ui.TextDisplay(
            f"### Approve this prompt?\n{_asked(job)} {moment(review.opened_at)}. It is drawn only if a moderator "
            f"approves it within three days.\n**Matches a rule:** {quoted(review.reason, 80)}"
        ),
        _prompt(job),
    ]
    shown = [(input_name, "The picture that it starts from"), (mask_name, "Its mask: white is painted anew")]
    if files := [(name, what) for name, what in shown if name is not None]:
        parts.append(_gallery(files))
    if input_name is None and job.request.input_picture is not None:
        parts.append(ui.TextDisplay("-# It starts from a picture that I can't show here."))
    if mask_name is None and job.request.input_mask is not None:
        parts.append(ui.TextDisplay("-# It has a mask that I can't show here: only a part of the picture changes."))
    parts.append(ui.TextDisplay(f"-# {' · '.join(escape(fact) for fact in facts_of(job.request))}"))
    parts.append(
        ui.ActionRow(
            _button("Approve", review, Choice.APPROVE, discord.ButtonStyle.success),
            _button("Reject", review, Choice.REJECT, discord.ButtonStyle.danger),
        )
    )
    return Card(ui.Container(*parts, accent_colour=BLURPLE))


def report(review: Review, job: Job, shown: Sequence[Shown]) -> Card:
    """Show a reported job with its pictures, each hidden until it is clicked."""
    parts: list[ui.Item[Any]] = [
        ui.TextDisplay(
            f"### A picture was reported\n<@{review.by}> reported it {moment(review.opened_at)}: "
            f"{quoted(review.reason, REASON_SHOWN)}\n{_asked(job)}.{_link(job)}"
        ),
        _prompt(job),
    ]
    if shown:
        parts.append(_gallery([(one.filename, f"Picture {one.picture.position + 1}") for one in shown]))
    else:
        parts.append(ui.TextDisplay("-# There are no pictures that I could show here."))
    parts.append(
        ui.ActionRow(
            _button("Delete", review, Choice.DELETE, discord.ButtonStyle.danger),
            _button("Ban", review, Choice.BAN, discord.ButtonStyle.danger),
            _button("Dismiss", review, Choice.DISMISS),
        )
    )
    return Card(ui.Container(*parts, accent_colour=BLURPLE))


def decided(review: Review, job: Job | None) -> Card:
    """Show what became of a review; ``job`` is None when its words are gone."""
    what = "A prompt that waited for approval" if review.kind == "approval" else "A reported picture"
    when = "" if review.decided_at is None else f" {moment(review.decided_at, 'f')}"
    verdict = review.verdict or "forgotten"
    if verdict in _VERDICTS:
        colour, said = _VERDICTS[verdict]
        line = f"**{said}** by <@{review.decided_by}>{when}."
    else:
        colour, line = GREY, f"**{_WITHOUT_MODERATORS[verdict]}**{when}."
    text = f"-# {what}\n{line}"
    if job is not None and verdict != "forgotten":
        prompt = quoted(" ".join(job.request.prompt.split()), PROMPT_KEPT)
        text += f"\n-# {_asked(job)}: {prompt}"
        if review.kind == "report":
            text += f"\n-# Reported by <@{review.by}>: {quoted(review.reason, PROMPT_KEPT)}"
    return Card(ui.Container(ui.TextDisplay(text), accent_colour=colour))


def _asked(job: Job) -> str:
    where = "" if job.reply_to is None else f" in <#{job.reply_to.channel_id}>"
    return f"<@{job.account.user_id}> asked for it{where}"


def _link(job: Job) -> str:
    reply = job.reply_to
    if reply is None or reply.message_id is None or reply.private:
        return ""
    guild = job.account.guild_id or "@me"
    return f" [Go to the message](https://discord.com/channels/{guild}/{reply.channel_id}/{reply.message_id})"


def _prompt(job: Job) -> ui.TextDisplay[Any]:
    # In a code block nothing is markdown; only three backticks in a row could end it.
    prompt = _THIRD_BACKTICK.sub("``\u200b", job.request.prompt)
    return ui.TextDisplay(f"```\n{prompt}\n```")


def _gallery(named: Sequence[tuple[str, str]]) -> ui.MediaGallery[Any]:
    return ui.MediaGallery(
        *(discord.MediaGalleryItem(f"attachment://{name}", description=alt, spoiler=True) for name, alt in named)
    )


def _button(
    label: str, review: Review, choice: Choice, style: discord.ButtonStyle = discord.ButtonStyle.secondary
) -> ui.Button[Any]:
    return ui.Button(label=label, custom_id=str(Press(choice, review.id)), style=style)
