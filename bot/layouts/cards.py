"""The one message of a job, in each of its states. Pure: a job and what is known about it become a Discord layout.

Every card stays within Discord's limits: 40 components counted with nesting, 4,000 characters of text, 5 buttons a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import discord
from discord import ui

from bot.layouts import remarks
from bot.layouts.custom_ids import Action, Press
from bot.words.phrasing import credits, duration, escape, moment, ordinal, shorten
from bot.words.wording import sentence
from flux_core.errors import from_code
from flux_core.family import FAMILY
from flux_core.generation import GenerationRequest
from flux_core.jobs import Job, JobState, Lane, Picture
from flux_core.models import Mode

PROMPT_SHOWN = 300
"""Characters of a prompt on a card; escaping at most doubles them. Details show all of it."""
ALT_TEXT = 256
"""Characters of a picture's description, as discord.py limits it."""
BAR = 14
NOTES = 3
"""Most sentences under the pictures."""

GREY, BLURPLE, GREEN, RED = 0x80848E, 0x5865F2, 0x23A55A, 0xDA373C

_FAMILY = {spec.id: spec for spec in FAMILY}


class Card(ui.LayoutView):
    """A message built of Components V2."""

    def __init__(self, *items: ui.Item[Any]) -> None:
        super().__init__(timeout=None)
        for item in items:
            self.add_item(item)

    def is_finished(self) -> bool:
        """Return True: buttons are answered by their custom_id alone, so discord.py need not remember any card."""
        return True


@dataclass(frozen=True, slots=True)
class Shown:
    """A finished picture and the name of the file that is uploaded with the card."""

    picture: Picture
    filename: str


@dataclass(frozen=True, slots=True)
class Turn:
    """When a job's turn is, as a card tells it."""

    position: int
    """1-based; 0 while it is being drawn."""
    ready_at: float | None
    """Unix seconds; None while nothing was measured yet."""
    workers: int
    """Living workers that can draw it."""
    paused: bool = False
    """Whether the moderators hold the queue."""
    draining: bool = False
    """Whether they take no new jobs, and have what waits drawn."""


def waiting(job: Job, turn: Turn | None) -> Card:
    """Show a queued job with its turn."""
    line = waiting_line(job, turn)
    return Card(
        _box(GREY, _asked(job.request, job.account.user_id, words=_withheld(job)), ui.TextDisplay(line), _cancel(job))
    )


def waiting_line(job: Job, turn: Turn | None) -> str:
    """Return the lines that tell when a queued job's turn is, and what is in its way."""
    if job.held == "approval":
        return "**Waits for a moderator's approval**\nIts turn comes after that; nothing is charged if it is refused."
    if turn is None:
        line = "**In the queue**"
    elif turn.position > 1:
        line = f"**{ordinal(turn.position)} in the queue**"
    else:
        line = "**Next in the queue**"
    if turn is not None and turn.paused:
        line += "\nThe moderators have paused drawing for now. Your place is kept."
    elif turn is not None and turn.workers == 0:
        line += "\nNobody is drawing at the moment. Your place is kept."
    elif turn is not None and turn.ready_at is not None:
        line += f" · ready {moment(turn.ready_at)}"
    if turn is not None and turn.draining:
        line += "\n-# The moderators take no new pictures for now; what waits is still drawn."
    if job.lane is Lane.RELAXED:
        line += "\n-# Relaxed: drawn when nobody with credits is waiting. It costs nothing."
    if (setback := remarks.setback(job)) is not None:
        line += f"\n-# {setback}"
    return line


def running(job: Job, turn: Turn | None, preview: str | None) -> Card:
    """Show a job being drawn; ``preview`` is the name of the uploaded preview file."""
    spoiler = job.reply_to is not None and job.reply_to.spoiler
    parts: list[ui.Item[Any]] = [_asked(job.request, job.account.user_id, by=remarks.drawn_by(job))]
    if preview is not None:
        parts.append(
            ui.MediaGallery(discord.MediaGalleryItem(f"attachment://{preview}", description="Preview", spoiler=spoiler))
        )
    line = progress(job)
    if turn is not None and turn.ready_at is not None and not job.cancel_requested:
        line += f" · ready {moment(turn.ready_at)}"
    return Card(_box(BLURPLE, *parts, ui.TextDisplay(line), _cancel(job)))


def progress(job: Job) -> str:
    """Return the line that tells how far a running job is."""
    if job.cancel_requested:
        return "**Cancelling…**"
    if job.steps_total <= 0:
        return "**Drawing** · getting started"
    share = min(1.0, max(0.0, job.steps_done / job.steps_total))
    full = round(share * BAR)
    bar = f"**Drawing** {'▰' * full}{'▱' * (BAR - full)} {share:.0%}"
    # A hosted provider tells how far it is, in no steps of ours.
    return bar if remarks.is_hosted(job.provider) else f"{bar} · step {job.steps_done} of {job.steps_total}"


def result(job: Job, shown: Sequence[Shown], *, lead: str | None = None) -> Card:
    """Show the finished pictures; ``lead`` is a line above them, where the card comes late or elsewhere."""
    spoiler = job.reply_to is not None and job.reply_to.spoiler
    by = remarks.drawn_by(job)
    # A provider draws the nearest of its own sizes, and some leave the picture to start from aside.
    size = (shown[0].picture.width, shown[0].picture.height) if shown else None
    request = remarks.as_drawn(job)
    parts: list[ui.Item[Any]] = [
        _asked(request, job.account.user_id, took=_took(job), by=by, size=size, mode=job.drawn_mode)
    ]
    if shown:
        parts.append(ui.MediaGallery(*(_gallery_item(job, one, spoiler=spoiler) for one in shown)))
    else:
        parts.append(ui.TextDisplay(sentence(from_code("picture_gone", {}))))
    if notes := remarks.notes(job):
        parts.append(ui.TextDisplay("\n".join(f"-# {note}" for note in notes[:NOTES])))
    if shown:
        parts.append(variations(job, [one.picture for one in shown]))
    parts.append(
        ui.ActionRow(
            _button("Reroll", Press(Action.REROLL, job.id), discord.ButtonStyle.primary),
            _button("Details", Press(Action.DETAILS, job.id)),
            _button("Delete", Press(Action.DELETE, job.id), discord.ButtonStyle.danger),
        )
    )
    return Card(*_lead(lead), _box(GREEN, *parts))


def variations(job: Job, pictures: Sequence[Picture]) -> ui.ActionRow[Any]:
    """Return a row with a button for each of up to 5 pictures, which varies it."""
    return ui.ActionRow(
        *(_button(f"V{one.position + 1}", Press(Action.VARY, job.id, one.position)) for one in pictures)
    )


def ended_without(job: Job, *, lead: str | None = None) -> Card:
    """Show a job that failed, was refused or was cancelled."""
    if job.state is JobState.CANCELLED:
        colour, line = GREY, f"Cancelled. {_back(job)}"
    else:
        colour, line = RED, sentence(from_code(job.error_code or "generation_failed", job.error_facts or {}))
    buttons = [
        _button("Details", Press(Action.DETAILS, job.id)),
        _button("Delete", Press(Action.DELETE, job.id), discord.ButtonStyle.danger),
    ]
    if job.state is not JobState.REFUSED and not job.unreadable:
        buttons.insert(0, _button("Try again", Press(Action.REROLL, job.id), discord.ButtonStyle.primary))
    return Card(
        *_lead(lead),
        _box(
            colour,
            _lost(job) if job.unreadable else _asked(job.request, job.account.user_id, words=_withheld(job)),
            ui.TextDisplay(line),
            ui.ActionRow(*buttons),
        ),
    )


def note(text: str) -> Card:
    """Show a sentence alone."""
    return Card(ui.TextDisplay(text))


def picture_name(job: Job, picture: Picture, extension: str) -> str:
    """Return the file name of a finished picture, unique within the message and telling its job."""
    return f"flux-{job.id}-{picture.position + 1}.{extension}"


def facts_of(request: GenerationRequest, size: tuple[int, int] | None = None, mode: Mode | None = None) -> list[str]:
    """Return what a request asks for, short: model, size, steps where there is a choice, mode, strength, seed.

    ``size``: width and height of the pictures, and ``mode`` the one they were drawn in, where that is known.
    """
    spec = _FAMILY.get(request.model)
    enlarge = spec.enlarge if spec is not None else 1
    width, height = size or (request.width * enlarge, request.height * enlarge)
    facts = [spec.title if spec is not None else request.model, f"{width}×{height}"]
    if remarks.has_steps(request.model):
        facts.append(f"{request.steps} step{'' if request.steps == 1 else 's'}")
    if (mode := mode or request.mode) is not Mode.QUALITY:
        facts.append(mode.value)
    if request.strength is not None:
        facts.append(f"strength {request.strength:g}")
    if request.lora is not None:
        facts.append(f"LoRA {request.lora.name} {request.lora.weight:g}")
    facts.append(f"seed {request.seed}")
    return facts


def _asked(
    request: GenerationRequest,
    user_id: int,
    *,
    took: float | None = None,
    by: str | None = None,
    size: tuple[int, int] | None = None,
    words: str | None = None,
    mode: Mode | None = None,
) -> ui.TextDisplay[Any]:
    """Tell who asked for what; ``words`` stand in place of the prompt."""
    facts = facts_of(request, size, mode)
    if took is not None:
        facts.append(duration(took))
    if by is not None:
        facts.append(by)
    # The title carries brackets, which would open a link.
    line = " · ".join(escape(fact) for fact in facts)
    prompt = words or escape(shorten(" ".join(request.prompt.split()), PROMPT_SHOWN))
    return ui.TextDisplay(f"**{prompt}**\n-# <@{user_id}> · {line}")


def _lost(job: Job) -> ui.TextDisplay[Any]:
    """Tell who asked for what cannot be read any more."""
    return ui.TextDisplay(f"**{escape(job.request.prompt)}**\n-# <@{job.account.user_id}>")


def _withheld(job: Job) -> str | None:
    """Return what stands in place of a prompt that no moderator has let everybody read; None for all others."""
    everybody = job.reply_to is not None and not job.reply_to.private
    return "A prompt that only moderators see" if job.held is not None and everybody else None


def _gallery_item(job: Job, one: Shown, *, spoiler: bool) -> discord.MediaGalleryItem:
    alt = shorten(f"{one.picture.position + 1}: {' '.join(job.request.prompt.split())}", ALT_TEXT)
    return discord.MediaGalleryItem(f"attachment://{one.filename}", description=alt, spoiler=spoiler)


def _took(job: Job) -> float | None:
    if job.started_at is None or job.ended_at is None:
        return None
    return max(0.0, job.ended_at - job.started_at)


def _back(job: Job) -> str:
    if job.cost == 0:
        return "It had cost nothing."
    return f"{credits(job.cost)} went back to <@{job.account.user_id}>."


def _lead(text: str | None) -> list[ui.TextDisplay[Any]]:
    return [] if text is None else [ui.TextDisplay(text)]


def _box(colour: int, *parts: ui.Item[Any]) -> ui.Container[Any]:
    return ui.Container(*parts, accent_colour=colour)


def _cancel(job: Job) -> ui.ActionRow[Any]:
    button = _button("Cancel", Press(Action.CANCEL, job.id))
    button.disabled = job.cancel_requested
    return ui.ActionRow(button)


def _button(label: str, press: Press, style: discord.ButtonStyle = discord.ButtonStyle.secondary) -> ui.Button[Any]:
    return ui.Button(label=label, custom_id=str(press), style=style)
