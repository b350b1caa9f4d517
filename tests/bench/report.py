"""What a benchmark says: rows of figures against aims, with the machine and the day they come from."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

Row = tuple[str, str, str]
"""What was measured, the figure, the aim."""


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below which ``part`` (0 to 1) of ``values`` lie; nan where there are none."""
    if not values:
        return math.nan
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, max(0, round(part * 1000) - 1))]


def milliseconds(seconds: float) -> str:
    """Return "12.3 ms"."""
    return f"{seconds * 1000:.1f} ms"


def machine() -> str:
    """Describe this machine in a line."""
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in names if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} × {model}, {platform.system()}, Python {platform.python_version()}"


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table."""
    table = Table(title=f"{machine()}, {datetime.now(UTC):%Y-%m-%d}", title_justify="left")
    for heading in ("what", "measured", "aim"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
