"""What a member is told of the modes they can choose. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flux_core.models import Mode, ModelSpec
from flux_core.service import WorkerInfo

MODES: Mapping[Mode, str] = {
    Mode.QUALITY: "nothing is left out",
    Mode.FAST: "computed in 8 bits, a little less exact",
    Mode.TURBO: "quickest: steps that change little are left out",
}


def choices(workers: Sequence[WorkerInfo], spec: ModelSpec) -> dict[Mode, str]:
    """Return a label for every mode; it says so where none of the living ``workers`` draws ``spec`` in it."""
    drawing = [worker.offers[spec.id] for worker in workers if spec.id in worker.offers]
    offered = {mode for offer in drawing for mode in offer.modes}
    labels = {mode: f"{mode}: {what}" for mode, what in MODES.items()}
    if not drawing:
        return labels
    return labels | {mode: f"{label} (nobody here can now)" for mode, label in labels.items() if mode not in offered}
