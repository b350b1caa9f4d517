"""The queue as moderators see it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from discord import ui

from bot.layouts.cards import BLURPLE, GREY, Card
from bot.layouts.panels import message_link
from bot.words.phrasing import counted, credits, escape, moment, shorten
from flux_core.database.line import Crowd, Removed
from flux_core.database.pauses import Stop
from flux_core.family import FAMILY
from flux_core.jobs import Job, JobState, Lane
from flux_core.service import Place

WORDS_SHOWN = 50
"""Characters of a prompt in a list; escaping at most doubles them."""

_TITLES = {spec.id: spec.title for spec in FAMILY}


def queue(
    crowd: Crowd,
    stops: Sequence[Stop],
    jobs: Sequence[tuple[Job, Place]],
    skipped: int,
    rest: float | None,
    buttons: Sequence[ui.ActionRow[Any]],
    *,
    now: float,
) -> Card:
    """Tell how long the queue is, what stops it, and show ``jobs``, before which there are ``skipped``.

    ``rest``: seconds until all of it is done, where that is known.
    """
    head = ["### The queue in this server", _size(crowd)]
    if crowd.oldest is not None:
        head.append(f"The oldest was asked for {moment(crowd.oldest)}.")
    if rest is not None and rest > 0:
        head.append(f"All of it is done {moment(now + rest)}, if nothing comes in between.")
    head += [_stop(stop) for stop in stops]
    parts: list[ui.Item[Any]] = [ui.TextDisplay("\n".join(head))]
    first_waiting = crowd.running
    lines = [_line(job, place, skipped + number + 1 - first_waiting, now) for number, (job, place) in enumerate(jobs)]
    if lines:
        parts.append(ui.TextDisplay("\n".join(lines)))
    return Card(ui.Container(*parts, accent_colour=GREY if stops else BLURPLE), *buttons)


def _size(crowd: Crowd) -> str:
    fast, relaxed = crowd.waiting[Lane.FAST], crowd.waiting[Lane.RELAXED]
    told = [f"**{counted(fast + relaxed, 'job')}** waiting" + (f" ({relaxed:,} relaxed)" if relaxed else "")]
    if crowd.for_approval:
        told.append(f"**{crowd.for_approval:,}** for a moderator's approval")
    told.append(f"**{crowd.running:,}** being drawn")
    return f"{', '.join(told)}."


def _stop(stop: Stop) -> str:
    what = "**Draining**: new jobs are refused, what waits is drawn" if stop.drains else "**Paused**: nothing is begun"
    where = ", in every server" if stop.everywhere else ""
    why = f" “{escape(shorten(stop.reason, 120))}”" if stop.reason else ""
    return f"{what}{where}, by <@{stop.by}> {moment(stop.since)}.{why}"


def _line(job: Job, place: Place, number: int, now: float) -> str:
    if job.state is JobState.RUNNING:
        lead, when = "**drawn now**", "being stopped" if job.cancel_requested else _ready(place, now)
    elif job.held is not None:
        lead, when = "**held**", "waits for a moderator's approval"
    else:
        lead, when = f"**{number}.**", _ready(place, now)
    lane = "relaxed" if job.lane is Lane.RELAXED else None
    link = message_link(job)
    told = [f"<@{job.account.user_id}>", gist(job), lane, when, f"[message]({link})" if link is not None else None]
    return f"{lead} {' · '.join(part for part in told if part)}"


def _ready(place: Place, now: float) -> str | None:
    return None if place.seconds is None else f"ready {moment(now + place.seconds)}"


def gist(job: Job) -> str:
    """Return in a few words what a job is: escaped, for a card. What is private stays so."""
    return f"{escape(_words(job))} · {escape(_what(job))}"


def name(job: Job) -> str:
    """Return the same as plain text, for a list to choose from."""
    return f"{'drawn now' if job.state is JobState.RUNNING else 'waiting'}: {_words(job)} · {_what(job)}"


def _words(job: Job) -> str:
    if job.reply_to is not None and job.reply_to.private:
        return "(private)"
    return shorten(" ".join(job.request.prompt.split()), WORDS_SHOWN)


def _what(job: Job) -> str:
    model = job.request.model
    return f"{_TITLES.get(model, model)}, {counted(job.request.count, 'picture')}"


def removed(taken: Removed) -> str:
    """Return what became of jobs that were taken out of the queue."""
    told = []
    if taken.waiting:
        told.append(f"{counted(taken.waiting, 'waiting job')} cancelled, and {credits(taken.refunded)} went back.")
    if taken.running:
        told.append(f"{counted(taken.running, 'job')} being drawn will stop within a step.")
    return " ".join(told)
