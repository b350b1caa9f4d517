"""/jobs and /history: what a member's lists hold, read from the studio page by page."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Any

import discord

from bot.delivery.turns import turns_of
from bot.interactions.paging import page_buttons, paged
from bot.interactions.whereabouts import account_of
from bot.layouts import listings
from bot.layouts.cards import Card
from bot.layouts.listings import PAGE, Entry
from bot.words.phrasing import quoted
from flux_core.jobs import Account, Job, JobState
from flux_core.service import Studio

RECENT = 2 * PAGE
"""Ended jobs that /jobs shows behind those that wait and run."""
MOST_ACTIVE = 1000
"""The most that any policy lets one member have waiting."""
LONGEST_OFFSET = 99_999
CURSOR_LENGTH = 60
"""Characters that a page's button has room for."""


async def jobs_page(studio: Studio, account: Account, offset: int = 0) -> Card:
    """Return the page of /jobs that begins at the job ``offset``: running, waiting in their turn, then the latest."""
    active = await studio.jobs_of(account, active_only=True, limit=MOST_ACTIVE)
    latest = await studio.jobs_of(account, active_only=False, limit=len(active) + RECENT)
    known = {job.id for job in active}
    active = sorted(active, key=_order)
    listed = [*active, *[job for job in latest if job.id not in known][:RECENT]]
    offset = offset if offset < len(listed) else 0
    page = listed[offset : offset + PAGE]
    first = {job.lane: job.id for job in reversed(active) if job.state is JobState.QUEUED and job.held is None}
    living = [job for job in page if not job.state.ended]
    turns = dict(zip([job.id for job in living], await turns_of(studio, living), strict=True))
    movable = {job.id for job in living if job.state is JobState.QUEUED and job.held is None} - set(first.values())
    entries = [Entry(job, turns.get(job.id), can_move=job.id in movable) for job in page]
    for job in page:
        # One that ended and could not be delivered: without pictures to show, the list itself tells how it ended.
        if job.id in known and job.state.ended and job.state is not JobState.SUCCEEDED:
            await studio.looked_up(job.id)
    rows = page_buttons(
        "jobs",
        back=str(max(0, offset - PAGE)) if offset else None,
        on=str(offset + PAGE) if len(listed) > offset + PAGE else None,
    )
    return listings.jobs(entries, rows)


def _order(job: Job) -> tuple[Any, ...]:
    if job.state is JobState.RUNNING:
        return (0, 0, job.started_at or 0.0, job.id)
    if job.state is JobState.QUEUED:
        return (1, job.lane, job.start_tag, job.id)
    return (2, 0, 0.0, job.id)


@paged("jobs")
async def turn_jobs_page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    """Show another page of one's own jobs."""
    return await jobs_page(interaction.client.studio, account_of(interaction), _offset(cursor))


@dataclass(frozen=True, slots=True)
class Search:
    """What /history looks for, and where its page begins."""

    words: str = ""
    model: str = ""
    offset: int = 0

    def __str__(self) -> str:
        """Return the cursor, which is longer than ``CURSOR_LENGTH`` where there are too many words."""
        packed = base64.urlsafe_b64encode(self.words.encode()).decode().rstrip("=")
        return f"{self.offset}|{self.model}|{packed}"

    def fits(self) -> bool:
        """Say whether every page's cursor has room in a button."""
        return len(str(replace(self, offset=LONGEST_OFFSET))) <= CURSOR_LENGTH


def read_search(cursor: str) -> Search:
    """Read a cursor; whatever nobody of ours wrote begins at the beginning."""
    offset, _, rest = cursor.partition("|")
    model, _, packed = rest.partition("|")
    try:
        words = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except (binascii.Error, ValueError):
        words = ""
    return Search(words, model, _offset(offset))


async def history_page(studio: Studio, account: Account, search: Search) -> Card:
    """Return the page of /history that ``search`` describes."""
    found = await studio.personal.history(
        account, words=search.words, model=search.model or None, skipped=search.offset, limit=PAGE + 1
    )
    rows = page_buttons(
        "history",
        back=str(replace(search, offset=max(0, search.offset - PAGE))) if search.offset else None,
        on=str(replace(search, offset=search.offset + PAGE))
        if len(found.jobs) > PAGE and search.offset + PAGE <= LONGEST_OFFSET
        else None,
    )
    about = f" with {quoted(search.words)}" if search.words else ""
    about += f" by `{search.model}`" if search.model else ""
    return listings.history(found.jobs[:PAGE], about=about, rows=rows, cut=found.cut)


@paged("history")
async def turn_history_page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    """Show another page of one's own history."""
    return await history_page(interaction.client.studio, account_of(interaction), read_search(cursor))


def _offset(text: str) -> int:
    return min(int(text), LONGEST_OFFSET) if text.isdecimal() else 0
