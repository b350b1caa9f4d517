"""What moderators read about usage: a table, its CSV, and what the chart shows. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date

from discord import ui

from bot.layouts.cards import BLURPLE, Card
from bot.layouts.usage_chart import Chart
from bot.words.phrasing import counted, credits, duration, shorten, title_of
from flux_core.database.usage import By, Report, Use
from flux_core.family import FAMILY
from flux_core.models import CREDIT
from flux_core.router import LOCAL

CHART = "usage.png"
MOST_BARS = 12
ROOM = 3300
"""Characters of the table: Discord takes 4,000 in all, and more than that is no pleasure to read."""
NAME = 16
"""Characters of a row's name."""

_TITLES = {spec.id: spec.title for spec in FAMILY}
_HEADINGS = ("Jobs", "Pictures", "Credits", "Paid", "Failed", "Waited")
_FIELDS = ("jobs", "pictures", "credits", "dollars", "failed", "refused", "cancelled", "median_wait_seconds")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""A cell that begins so is executed by spreadsheets."""


def card(
    report: Report, by: By, names: Mapping[str, str], *, charted: bool, everywhere: bool, file: ui.File[ui.LayoutView]
) -> Card:
    """Show a report with its chart, where there is one, and its CSV. ``names``: how rows are called."""
    where = "in every server" if everywhere else "in this server"
    head = f"### Usage by {by}, {where}\n{_summary(report)}"
    parts: list[ui.Item[ui.LayoutView]] = [ui.TextDisplay(head)]
    if not report.total.jobs:
        parts.append(ui.TextDisplay("Nothing was asked for in this time."))
    else:
        if charted:
            gallery: ui.MediaGallery[ui.LayoutView] = ui.MediaGallery()
            gallery.add_item(media=f"attachment://{CHART}", description=shorten(f"Pictures by {by}", 256))
            parts.append(gallery)
        else:
            parts.append(ui.TextDisplay("-# The chart could not be drawn this time."))
        parts.append(ui.TextDisplay(_table(report, by, names)))
    parts.append(file)
    return Card(ui.Container(*parts, accent_colour=BLURPLE))


def _summary(report: Report) -> str:
    total = report.total
    told = [
        f"**{counted(total.jobs, 'job')}**",
        f"**{counted(total.pictures, 'picture')}**",
        credits(total.millicredits),
        f"{_money(total.microdollars)} to hosted providers",
    ]
    ends = {"failed": total.failed, "refused": total.refused, "cancelled": total.cancelled}
    told += [f"{number:,} {how}" for how, number in ends.items() if number]
    if total.wait is not None:
        told.append(f"median wait {duration(total.wait)}")
    return f"{span(report.first, report.last)}: {' · '.join(told)}"


def span(first: date, last: date) -> str:
    """Return the days of a report: ``21 Nov 2026``, ``15 – 21 Nov 2026``, ``23 Oct – 21 Nov 2026``."""
    if first == last:
        return f"{last.day} {last:%b %Y}"
    begin = f"{first.day}"
    if (first.year, first.month) != (last.year, last.month):
        begin += f" {first:%b}"
    if first.year != last.year:
        begin += f" {first:%Y}"
    return f"{begin} – {last.day} {last:%b %Y}"


def _table(report: Report, by: By, names: Mapping[str, str]) -> str:
    # Days without anything say nothing; the chart shows the gap.
    uses = [(key, use) for key, use in report.uses if use.jobs]
    if by == "day":
        uses.reverse()  # the newest first: it is never cut off
    rows = [(_plain(names.get(key, key)), *_cells(use)) for key, use in uses]
    heading = (by.capitalize(), *_HEADINGS)
    widths = [max(len(row[column]) for row in [heading, *rows]) for column in range(len(heading))]
    lines = [_row(heading, widths)]
    room = ROOM - len(lines[0])
    for row in rows:
        line = _row(row, widths)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    missing = len(rows) - (len(lines) - 1)
    more = f"\n-# and {missing:,} more; all of them are in the file" if missing else ""
    return "```\n" + "\n".join(lines) + "\n```" + more


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = cells
    return " ".join([name.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(numbers, widths[1:], strict=True))])


def _plain(name: str) -> str:
    """Return a name for a code block, which only backticks could end."""
    return shorten(" ".join(name.split()).replace("`", "'"), NAME)


def _cells(use: Use) -> tuple[str, ...]:
    return (
        f"{use.jobs:,}",
        f"{use.pictures:,}",
        f"{use.millicredits / CREDIT:,.1f}".removesuffix(".0"),
        _money(use.microdollars),
        f"{use.failed + use.refused:,}",
        "–" if use.wait is None else duration(use.wait),
    )


def _money(microdollars: int) -> str:
    """Return an amount to the cent, as a column of them needs it."""
    cents = round(microdollars / 10_000)
    return "<$0.01" if microdollars and not cents else f"${cents / 100:,.2f}"


def sheet(report: Report, by: By, names: Mapping[str, str]) -> bytes:
    """Return the report as CSV in UTF-8; members by name, and as ``<@id>``, which spreadsheets do not round.

    Names are made safe: none of them is a formula to a spreadsheet.
    """
    out = io.StringIO()
    # In quotes: a spreadsheet that parts cells at semicolons would begin a new one within a name.
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow([by, *(["mention"] if by == "member" else []), *_FIELDS])
    for key, use in report.uses:
        mention = [f"<@{key}>"] if by == "member" else []
        name = names.get(key, "") if by == "member" else key or names.get(key, "")
        writer.writerow([safe(name), *mention, *_values(use)])
    # With its mark, so that Excel reads UTF-8.
    return out.getvalue().encode("utf-8-sig")


def safe(cell: str) -> str:
    """Return a cell's text so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA) or cell.startswith(_FORMULA) else cell


def _values(use: Use) -> list[str]:
    return [
        str(use.jobs),
        str(use.pictures),
        f"{use.millicredits / CREDIT:.3f}",
        f"{use.microdollars / 1_000_000:.6f}",
        str(use.failed),
        str(use.refused),
        str(use.cancelled),
        "" if use.wait is None else f"{use.wait:.1f}",
    ]


def chart(report: Report, by: By, names: Mapping[str, str], where: str) -> Chart:
    """Return what the chart of a report shows: every day, or at most ``MOST_BARS`` of the others."""
    subtitle = f"{shorten(where, 40)} · {span(report.first, report.last)} · {counted(report.total.pictures, 'picture')}"
    shown = list(report.uses)
    if by == "day":
        bars = [(f"{day.day} {day:%b}", use.pictures) for key, use in shown if (day := date.fromisoformat(key))]
    else:
        if len(shown) > MOST_BARS:
            rest = shown[MOST_BARS - 1 :]
            others = Use(pictures=sum(use.pictures for _, use in rest))
            shown = [*shown[: MOST_BARS - 1], ("", others)]
            names = {**names, "": f"{len(rest):,} others"}
        bars = [(" ".join(names.get(key, key).split()), use.pictures) for key, use in shown]
    return Chart(
        title=f"Pictures by {by}",
        subtitle=subtitle,
        names=[name for name, _ in bars],
        values=[value for _, value in bars],
        told=[f"{value:,}" for _, value in bars],
        over_time=by == "day",
        others_last=by != "day" and len(report.uses) > MOST_BARS,
    )


def names_of(report: Report, by: By, members: Mapping[str, str]) -> dict[str, str]:
    """Return how the rows of a report are called; ``members`` are the names that are known."""
    keys = [key for key, _ in report.uses]
    match by:
        case "member":
            return {key: members.get(key, f"…{key[-6:]}") for key in keys}
        case "model":
            return {key: _TITLES.get(key, key) for key in keys}
        case "provider":
            own = {"": "not drawn", LOCAL: "own cards"}
            return {key: own.get(key) or title_of(key) for key in keys}
    return {key: f"{day.day} {day:%b}" for key in keys if (day := date.fromisoformat(key))}
