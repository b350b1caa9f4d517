"""What a bench found, as data that goes into a file, and as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from pydantic import BaseModel, ConfigDict, computed_field
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flux_core.models import Mode

GIB = 1 << 30
MILLISECONDS = 1000
RANDOM_WEIGHTS = "random numbers"


class Drawn(BaseModel):
    """One mode at one size."""

    model_config = ConfigDict(frozen=True)

    mode: str
    width: int
    """Drawn pixels, before a model's enlargement."""
    height: int
    steps: int
    seconds: float
    """From the order to the finished picture: the median of ``runs``, after one that does not count."""
    slowest: float
    runs: int
    batch: int
    """Pictures of the batch that was measured, too."""
    batch_seconds: float
    """Of the whole batch."""
    peak_bytes: int
    """Most memory in use: of the card, or of this process where there is none."""
    operations: int
    """Floating-point operations of all steps of one picture."""
    floor: float | None
    """Seconds that these would take at the measured rate for the mode's numbers; None where that was not measured."""
    rate: str
    """Which rate that is: fp32, bf16 or fp8."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gain(self) -> float:
        """Return how many times faster a picture of the batch is than one by itself."""
        return self.batch * self.seconds / self.batch_seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float | None:
        """Return how many times the floor a picture takes."""
        return None if self.floor is None else self.seconds / self.floor


class Failed(BaseModel):
    """What was to be measured, and why there is no figure of it."""

    model_config = ConfigDict(frozen=True)

    what: str
    why: str


class Error(BaseModel):
    """How near the pictures of a mode are to those of quality, from the same seeds."""

    model_config = ConfigDict(frozen=True)

    psnr: float
    """Decibels: the mean."""
    worst_psnr: float
    similarity: float
    """Multi-scale structural similarity, 1 where nothing differs: the mean."""
    worst_similarity: float
    emulated: bool
    """Whether 8 bits were only imitated, since this device has none."""


class Bench(BaseModel):
    """All that was measured on one device with one model."""

    model_config = ConfigDict(frozen=True)

    device: str
    model: str
    weights: str
    """Where they are from, or that they are random."""
    profile: str
    why: str
    versions: dict[str, str]
    threads: int
    command: str
    at: str
    """ISO date and time."""
    rates: dict[str, float]
    """fp32, bf16 or fp8 → measured floating-point operations a second."""
    cold_seconds: float | None = None
    """From nothing in memory to the first picture."""
    gap_seconds: float | None = None
    """Between the last step of a job and what the next one's first step needs, both queued at once."""
    drawings: tuple[Drawn, ...] = ()
    errors: dict[str, Error] = {}
    """Mode → its error against quality; empty for random weights, whose pictures show nothing."""
    left_out: tuple[str, ...] = ()
    """Modes that were wanted and that this device does not draw."""
    failed: tuple[Failed, ...] = ()
    """What could not be measured; the rest counts all the same."""
    complete: bool = False
    """Whether this is all: it is written after each figure."""


def show(bench: Bench, console: Console) -> None:
    """Print ``bench``."""
    console.print(Group(*_parts(bench)))


def _parts(bench: Bench) -> Iterator[RenderableType]:
    yield Text(f"{bench.model} on {bench.device}", style="bold")
    versions = ", ".join(f"{name} {version}" for name, version in bench.versions.items())
    threads = f", {bench.threads} threads" if bench.device == "cpu" else ""
    yield Text(f"{bench.at} · {versions}{threads} · weights: {bench.weights}")
    yield Text(f"Profile {bench.profile}: {bench.why}")
    figures = [f"matrix rate {name} {rate / 1e12:.3g} TFLOP/s" for name, rate in bench.rates.items()]
    if bench.gap_seconds is not None:
        figures.insert(0, f"idle between two queued jobs {bench.gap_seconds * 1000:.0f} ms")
    if bench.cold_seconds is not None:
        figures.insert(0, f"Cold start {_seconds(bench.cold_seconds)} (loading and the first picture)")
    yield Text(" · ".join(figures))
    yield _table(bench)
    if bench.errors:
        yield _errors(bench)
    if bench.weights == RANDOM_WEIGHTS and any(one.mode == Mode.TURBO for one in bench.drawings):
        yield Text(
            "Turbo with random weights tells nothing of turbo: how many steps it leaves out depends on the real ones."
        )
    for one in bench.failed:
        yield Text(f"Not measured: {one.what}: {one.why}", style="red")
    if not bench.complete:
        yield Text("Broken off before the end.")
    if bench.left_out:
        yield Text(f"Not drawn on this device: {', '.join(bench.left_out)}.")
    yield Text(
        "A picture's time runs from its order to its last pixel. The floor is what the operations of its steps would "
        "take at the measured matrix rate; a step cache leaves operations out and may go below it.",
        style="dim",
    )


_NUMBERS = ("Steps", "One picture", "Slowest", "A batch", "Gain", "Memory", "TFLOP", "Floor", "Ratio")


def _table(bench: Bench) -> Table:
    table = Table()
    for title in ("Mode", "Size", *_NUMBERS):
        table.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=True)
    for one in bench.drawings:
        table.add_row(
            one.mode,
            f"{one.width}×{one.height}",
            str(one.steps),
            f"{_seconds(one.seconds)} ({one.runs}×)",
            _seconds(one.slowest),
            f"{one.batch} in {_seconds(one.batch_seconds)}",
            f"{one.gain:.2f}×",
            f"{one.peak_bytes / GIB:.1f} GiB",
            f"{one.operations / 1e12:.3g}",
            "" if one.floor is None else f"{_seconds(one.floor)} {one.rate}",
            "" if one.ratio is None else f"{one.ratio:.2f}×",
        )
    return table


def _errors(bench: Bench) -> Table:
    table = Table(title="Error against quality", title_justify="left")
    for title in ("Mode", "PSNR", "Worst", "Similarity (MS-SSIM)", "Worst"):
        table.add_column(title, justify="left" if title == "Mode" else "right", no_wrap=True)
    for mode, error in bench.errors.items():
        name = f"{mode} (8 bits imitated)" if error.emulated else mode
        decibels = [f"{one:.1f} dB" if isfinite(one) else "exact" for one in (error.psnr, error.worst_psnr)]
        table.add_row(name, *decibels, f"{error.similarity:.4f}", f"{error.worst_similarity:.4f}")
    return table


def _seconds(seconds: float) -> str:
    return f"{seconds * MILLISECONDS:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
