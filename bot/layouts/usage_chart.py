"""The chart of /admin usage, drawn by a process of its own: JSON on stdin becomes a PNG on stdout.

matplotlib takes a second and a hundred megabytes to load, and its drawing holds the interpreter: the bot does neither.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

log = logging.getLogger(__name__)

SECONDS = 25.0
"""How long a chart may take; about two on an idle machine."""
AT_ONCE = 2
"""Charts drawn at the same time: each takes a hundred megabytes."""

# As Discord's dark theme has them, so that the picture sits in the message; legible in the light theme as well.
GROUND, TEXT, FAINT, LINE, BAR, OTHERS = "#2b2d31", "#f2f3f5", "#b5bac1", "#3f4147", "#7983f5", "#5c5f6b"
WIDTH, DPI = 8.0, 150
"""Inches and dots: 1,200 pixels, of which Discord shows about 550."""
FAMILIES = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "Noto Emoji")
"""matplotlib brings the first along; the others, where the system has them, write what that one cannot."""
LABEL = 20
"""Characters of a bar's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Bars with names, and what stands above them."""

    title: str
    subtitle: str
    names: Sequence[str]
    values: Sequence[float]
    told: Sequence[str]
    """What is written at each bar."""
    over_time: bool = False
    """Whether the bars are days, side by side in their order."""
    others_last: bool = False
    """Whether the last bar is many taken together."""


_drawing = 0


async def draw(chart: Chart, *, seconds: float = SECONDS) -> bytes | None:
    """Return the chart as a PNG; None, with a line in the log, where it could not be drawn in ``seconds``."""
    global _drawing
    if _drawing >= AT_ONCE:
        log.warning("no chart: %d are being drawn already", _drawing)
        return None
    _drawing += 1
    try:
        return await _in_a_process(json.dumps(asdict(chart)).encode(), seconds)
    finally:
        _drawing -= 1


async def _in_a_process(order: bytes, seconds: float) -> bytes | None:
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot.layouts.usage_chart", stdin=pipe, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        log.warning("no chart: %s", error)
        return None
    try:
        async with asyncio.timeout(seconds):
            picture, said = await process.communicate(order)
    except TimeoutError:
        log.warning("no chart: it took longer than %g s", seconds)
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        log.warning("no chart: the process ended with %s: %s", process.returncode, *last or [""])
        return None
    return picture


def main() -> None:
    """Read a chart from stdin and write its picture to stdout."""
    render(Chart(**json.load(sys.stdin)), sys.stdout.buffer)


def render(chart: Chart, out: Any) -> None:
    """Draw ``chart`` as a PNG into the file ``out``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.font_manager import get_font_names

    # Names and prices are text, never formulas: a dollar sign would begin one.
    installed = set(get_font_names())
    families = [family for family in FAMILIES if family in installed]
    matplotlib.rcParams.update({"text.parse_math": False, "font.size": 13, "font.family": families})
    height = 4.6 if chart.over_time else 1.5 + 0.44 * max(1, len(chart.names))
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=GROUND)
    # Left, bottom, width and height of the bars, as shares of the picture.
    if chart.over_time:
        axes = figure.add_axes((0.09, 0.62 / height, 0.87, 1 - 1.85 / height))
    else:
        axes = figure.add_axes((0.27, 0.2 / height, 0.56, 1 - 1.35 / height))
    axes.set_facecolor(GROUND)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(colors=FAINT, length=0)
    (_days if chart.over_time else _ranking)(axes, chart)
    top = 1 - 0.30 / height
    figure.text(0.035, top, chart.title, color=TEXT, fontsize=18, fontweight="bold", va="top")
    figure.text(0.035, top - 0.42 / height, chart.subtitle, color=FAINT, fontsize=12.5, va="top")
    figure.savefig(out, format="png", facecolor=GROUND)


def _days(axes: Any, chart: Chart) -> None:
    count = len(chart.names)
    axes.bar(range(count), chart.values, width=0.82 if count <= 45 else 0.9, color=BAR)
    axes.set_ylim(0, max([*chart.values, 1]) * (1.12 if count <= 16 else 1.04))
    axes.set_xlim(-0.6, max(count, 1) - 0.4)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_axisbelow(True)
    # About eight dates are legible, and the last one, today, is always among them.
    step = max(1, -(-count // 8))
    shown = list(range(count - 1, -1, -step))[::-1]
    axes.set_xticks(shown, [chart.names[place] for place in shown], fontsize=11.5)
    if count <= 16:
        for place, value in enumerate(chart.values):
            if value:
                _write(axes, chart.told[place], (place, value), (0, 4), ha="center")


def _ranking(axes: Any, chart: Chart) -> None:
    count = len(chart.names)
    names = [name if len(name) <= LABEL else f"{name[: LABEL - 1]}…" for name in chart.names]
    colours = [BAR] * count
    if chart.others_last:
        colours[-1] = OTHERS
    axes.barh(range(count), chart.values, height=0.64, color=colours)
    axes.set_xlim(0, max([*chart.values, 1]))
    axes.set_ylim(max(count, 1) - 0.45, -0.55)
    axes.set_yticks(range(count), names, fontsize=12.5, color=TEXT)
    axes.set_xticks([])
    for place, value in enumerate(chart.values):
        _write(axes, chart.told[place], (value, place), (7, 0), va="center_baseline")


def _write(axes: Any, text: str, at: tuple[float, float], points: tuple[float, float], **alignment: str) -> None:
    axes.annotate(text, at, points, textcoords="offset points", color=TEXT, fontsize=12, **alignment)


if __name__ == "__main__":
    main()
