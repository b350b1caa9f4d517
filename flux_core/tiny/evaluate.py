"""Measure flux-tiny on 500 held-out prompts: `python -m flux_core.tiny.evaluate`.

Every prompt is drawn once (seed = its number) and judged against the generator's ground truth. The column
`generator` shows how often the same judge passes the generator's own pictures: the judge's own error.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

from PIL import Image
from rich.console import Console
from rich.table import Table

from flux_core.tiny.definition import GUIDANCE, STEPS, WEIGHTS
from flux_core.tiny.drawing import draw
from flux_core.tiny.drawing_model import DrawingModel
from flux_core.tiny.held_out import held_out_prompts
from flux_core.tiny.image_to_image_check import check_image_to_image
from flux_core.tiny.judging import judge_shapes
from flux_core.tiny.scene_classifier import SceneClassifier
from flux_core.tiny.world import Picture, ScenePicture

GATE: Final[dict[str, tuple[float | None, float | None]]] = {
    "subject colour": (None, None),
    "backdrop colour": (None, None),
    "both colours": (0.95, 0.99),
    "swapped": (None, None),
    "position": (0.95, 0.99),
    "shape": (0.75, 0.92),
    "count": (0.70, 0.85),
    "scene": (0.90, 0.97),
    "pair colours": (None, 0.70),
    "pair shapes": (None, None),
}
"""Measure → (share needed to ship, share aimed at)."""

Score = dict[str, tuple[float, int]]
"""Measure → (share of pictures right, number of pictures judged)."""

BATCH = 25


def draw_all(model: DrawingModel, prompts: list[str], *, steps: int, guidance: float) -> list[Image.Image]:
    """Draw every prompt with its number as the seed."""
    images = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        images += model.draw(part, range(start, start + len(part)), steps=steps, guidance=guidance)
    return images


def score(pictures: list[Picture], images: list[Image.Image], classifier: SceneClassifier) -> Score:
    """Judge the pictures and return each measure's share."""
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for wanted, image in zip(pictures, images, strict=True):
        if isinstance(wanted, ScenePicture):
            verdicts["scene"].append(classifier([image])[0] == wanted.scene)
            continue
        for measure, right in judge_shapes(wanted, image).items():
            verdicts[measure].append(right)
    return {name: (sum(verdicts[name]) / len(verdicts[name]), len(verdicts[name])) for name in GATE if verdicts[name]}


def print_gate(console: Console, model: Score, generator: Score) -> bool:
    """Print the table and say whether the gate is met."""
    table = Table("measure", "pictures", "generator", "flux-tiny", "gate", "aim", "")
    met = True
    for name, (gate, aim) in GATE.items():
        share, count = model[name]
        passed = gate is None or share >= gate
        met = met and passed
        table.add_row(
            name,
            str(count),
            _percent(generator[name][0]),
            _percent(share),
            _percent(gate),
            _percent(aim),
            "" if gate is None else "ok" if passed else "MISSED",
        )
    console.print(table)
    return met


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}%"


def print_effects(console: Console, model: DrawingModel, prompts: dict[str, Picture], judge: SceneClassifier) -> None:
    """Print what steps and guidance change, on every fourth prompt."""
    table = Table("steps", "guidance", "both colours", "shape", "count", "scene", "pair colours")
    texts, pictures = list(prompts)[::4], list(prompts.values())[::4]
    settings = [(1, GUIDANCE), (2, GUIDANCE), (4, GUIDANCE), (8, GUIDANCE), (28, GUIDANCE), (STEPS, 1.0), (STEPS, 5.0)]
    for steps, guidance in settings:
        result = score(pictures, draw_all(model, texts, steps=steps, guidance=guidance), judge)
        measures = ("both colours", "shape", "count", "scene", "pair colours")
        table.add_row(str(steps), f"{guidance:g}", *(_percent(result[name][0]) for name in measures))
    console.print(table)


def main() -> None:
    """Print the gate's table, what steps and guidance change, and how well pictures are redrawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="diffusers folder to measure")
    parser.add_argument("--gate-only", action="store_true", help="leave the other two tables out")
    arguments = parser.parse_args()
    console, started = Console(), time.monotonic()
    prompts = dict(held_out_prompts())
    judge, model = SceneClassifier(), DrawingModel(arguments.weights)
    console.print(f"The scene classifier names {judge.accuracy():.1%} of fresh generated pictures right.")
    pictures = list(prompts.values())
    truth = score(pictures, [draw(picture) for picture in pictures], judge)
    drawn = score(pictures, draw_all(model, list(prompts), steps=STEPS, guidance=GUIDANCE), judge)
    console.print(f"{len(prompts)} held-out prompts, {STEPS} steps, guidance {GUIDANCE:g}")
    met = print_gate(console, drawn, truth)
    if not arguments.gate_only:
        print_effects(console, model, prompts, judge)
        check_image_to_image(console, model)
    console.print(f"The gate is {'met' if met else 'NOT met'}. {time.monotonic() - started:.0f} s")
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
