"""A member's jobs as lists, a page at a time: those of now, and all there ever were. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from discord import ui

from bot.layouts.cards import BLURPLE, Card, Turn, progress, waiting_line
from bot.layouts.custom_ids import Action, Press
from bot.layouts.panels import message_link
from bot.words.phrasing import escape, moment, shorten
from bot.words.wording import sentence
from flux_core.errors import from_code
from flux_core.jobs import Job, JobState

PAGE = 6
"""Jobs on one page: each takes up to five of Discord's 40 components."""
PROMPT_SHOWN = 80
LONGEST_STATE = 420
"""Characters of what is told of one job: a page of them fits into Discord's 4,000."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job in a list."""

    job: Job
    turn: Turn | None = None
    """Of one that waits."""
    can_move: bool = False
    """Whether another of the member's jobs waits before it."""


def jobs(entries: Sequence[Entry], rows: Sequence[ui.ActionRow[Any]] = ()) -> Card:
    """Show a page of what is going on; ``rows`` leads to the others."""
    if not entries:
        return Card(ui.TextDisplay("You have no pictures yet. Start with `/imagine`."))
    parts = [part for entry in entries for part in _entry(entry)]
    return Card(
        ui.TextDisplay("### Your pictures"),
        ui.Container(*parts, accent_colour=BLURPLE),
        *rows,
        ui.TextDisplay("-# `/history` has all of them."),
    )


def history(found: Sequence[Job], *, about: str, rows: Sequence[ui.ActionRow[Any]] = (), cut: bool = False) -> Card:
    """Show a page of everything a member asked for; ``about`` tells what was searched for (markdown), or nothing.

    ``cut``: whether only the latest were searched.
    """
    heading = f"### Your pictures{about}"
    if not found:
        return Card(ui.TextDisplay(heading), ui.TextDisplay("There are none."), *rows)
    parts = [part for job in found for part in _entry(Entry(job))]
    told = [ui.TextDisplay[Any]("-# Only your latest jobs were looked through.")] if cut else []
    return Card(ui.TextDisplay(heading), ui.Container(*parts, accent_colour=BLURPLE), *rows, *told)


def state(job: Job, turn: Turn | None = None) -> str:
    """Return the lines that tell how it stands with a job."""
    match job.state:
        case JobState.QUEUED if turn is not None or job.held is not None:
            return waiting_line(job, turn)
        case JobState.QUEUED:
            return f"In the queue since {moment(job.created_at)}"
        case JobState.RUNNING:
            ready = "" if turn is None or turn.ready_at is None else f" · ready {moment(turn.ready_at)}"
            return progress(job) + ready
        case JobState.SUCCEEDED:
            link = message_link(job) if job.delivered_at is not None else None
            where = f" · [go to the message]({link})" if link is not None else ""
            late = "" if job.delivered_at is not None else " · not posted yet, press **Show**"
            return f"Done {moment(job.ended_at or job.created_at)}{where}{late}"
        case JobState.CANCELLED:
            return f"Cancelled {moment(job.ended_at or job.created_at)}"
        case _:
            return sentence(from_code(job.error_code or "generation_failed", job.error_facts or {}))


def _entry(entry: Entry) -> list[ui.Item[Any]]:
    job = entry.job
    prompt = escape(shorten(" ".join(job.request.prompt.split()), PROMPT_SHOWN))
    text = ui.TextDisplay[Any](f"**{prompt}**\n{shorten(state(job, entry.turn), LONGEST_STATE)}")
    return [text, ui.ActionRow(*_buttons(entry))]


def _buttons(entry: Entry) -> list[ui.Button[Any]]:
    job = entry.job
    details: ui.Button[Any] = ui.Button(label="Details", custom_id=str(Press(Action.DETAILS, job.id)))
    if job.state is JobState.SUCCEEDED:
        return [ui.Button(label="Show", custom_id=str(Press(Action.SHOW, job.id))), details]
    if job.state.ended:
        return [details]
    stop = ui.Button[Any](label="Cancel", custom_id=str(Press(Action.STOP, job.id)), disabled=job.cancel_requested)
    if entry.can_move:
        return [stop, ui.Button(label="Move up", custom_id=str(Press(Action.UP, job.id))), details]
    return [stop, details]
