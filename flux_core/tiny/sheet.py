"""Draw the sample sheet: `python -m flux_core.tiny.sheet -o docs/flux-tiny.webp`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from flux_core.tiny.definition import GUIDANCE, STEPS, WEIGHTS
from flux_core.tiny.drawing_model import DrawingModel
from flux_core.tiny.enlarge import enlarge

PROMPTS: Final = (
    "a red circle on a blue background",
    "a yellow star on a purple background",
    "a small green square in the top left corner on a white background",
    "three pink hearts on a black background",
    "a red circle left of a green square",
    "a white diamond above an orange ring on a blue background",
    "an orange triangle on a blue to white gradient",
    "a house and a tree at night",
    "a house with a red roof by day",
    "the sun over the sea",
    "a sunset over the ocean",
    "snowy mountains at night",
    "a red rocket in space",
    "a snowman with a blue hat",
    "a red balloon in the sky",
    "a boat with white sails on the sea",
    "an orange fish",
    "an orange cat",
    "a purple flower in a meadow",
    "a smiling face",
    "a green car on the road",
    "a rainbow over green hills",
    "the moon and stars",
    "a dragon reading a newspaper",
)
_TILE, _GAP, _TEXT = 256, 8, 34


def compose(tiles: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Lay pictures out in a grid, each with its prompt below it."""
    rows = -(-len(tiles) // columns)
    width, height = columns * (_TILE + _GAP) + _GAP, rows * (_TILE + _TEXT + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), (30, 31, 34))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for index, (prompt, image) in enumerate(tiles):
        left = _GAP + index % columns * (_TILE + _GAP)
        top = _GAP + index // columns * (_TILE + _TEXT + _GAP)
        sheet.paste(image.resize((_TILE, _TILE), Image.Resampling.LANCZOS), (left, top))
        pen.multiline_text((left + 2, top + _TILE + 2), _wrap(prompt, font), fill=(219, 222, 225), font=font, spacing=1)
    return sheet


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > _TILE:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines[:2])


def main() -> None:
    """Draw every prompt of the sheet with seed 0 and write the sheet in the format of its file name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=6)
    arguments = parser.parse_args()
    seeds = [arguments.seed] * len(PROMPTS)
    images = DrawingModel(arguments.weights).draw(PROMPTS, seeds, steps=arguments.steps, guidance=arguments.guidance)
    sheet = compose(
        [(prompt, enlarge(image)) for prompt, image in zip(PROMPTS, images, strict=True)], arguments.columns
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.output, quality=90)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
