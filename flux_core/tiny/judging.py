"""Judge a picture against what its prompt asked for: each fact right or wrong, nothing in between."""

from PIL import Image

from flux_core.tiny.measuring import Found, backdrop_colour, find_things
from flux_core.tiny.world import ShapePicture

Verdict = dict[str, bool]

_FAR, _NEAR = 0.42, 0.58
"""A thing on the left has its centre left of 42% of the width; one on neither side lies between the two."""


def judge_shapes(wanted: ShapePicture, image: Image.Image) -> Verdict:
    """Judge a shape picture on a plain backdrop; which facts are judged follows from what the prompt names."""
    things = find_things(image)
    backdrop = wanted.backdrop.colours[0]
    if wanted.relation is not None:
        return _judge_pair(wanted, things, image)
    if not things:
        verdict = dict.fromkeys(("subject colour", "backdrop colour", "both colours", "shape"), False)
        verdict["swapped"] = False
        first = None
    else:
        first = things[0]
        seen = backdrop_colour(image)
        colour = wanted.things[0].colour
        verdict = {
            "subject colour": first.colour == colour,
            "backdrop colour": seen == backdrop,
            "both colours": first.colour == colour and seen == backdrop,
            "swapped": first.colour == backdrop and seen == colour,
            "shape": first.shape == wanted.things[0].shape,
        }
    if wanted.place is not None:
        verdict["position"] = first is not None and _is_at(first, wanted.place)
    if wanted.count > 1:
        verdict["count"] = len(things) == wanted.count
    return verdict


def _is_at(thing: Found, place: str) -> bool:
    """Check a half (`left`) or a corner (`top left`); a half leaves the other direction in the middle."""
    across = "left" if thing.x < _FAR else "right" if thing.x > _NEAR else ""
    down = "top" if thing.y < _FAR else "bottom" if thing.y > _NEAR else ""
    return f"{down} {across}".strip() == place


def _judge_pair(wanted: ShapePicture, things: list[Found], image: Image.Image) -> Verdict:
    """Judge two things: their colours in the asked order, the backdrop's colour, and their shapes."""
    if len(things) != 2:
        return {"pair colours": False, "pair shapes": False}
    axis = "y" if wanted.relation in ("above", "below") else "x"
    ordered = sorted(things, key=lambda thing: float(getattr(thing, axis)))
    if wanted.relation in ("right of", "below"):
        ordered.reverse()
    if wanted.relation == "and" and [t.colour for t in ordered] != [t.colour for t in wanted.things]:
        ordered.reverse()  # "and" asks for no order
    backdrop = not wanted.backdrop.named or backdrop_colour(image) == wanted.backdrop.colours[0]
    pairs = list(zip(ordered, wanted.things, strict=True))
    return {
        "pair colours": backdrop and all(seen.colour == thing.colour for seen, thing in pairs),
        "pair shapes": all(seen.shape == thing.shape for seen, thing in pairs),
    }
