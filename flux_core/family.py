"""The FLUX family: every model that a studio may offer."""

from __future__ import annotations

from flux_core.models import Architecture, Bounds, ModelSpec, Operation
from flux_core.tiny import definition as tiny

_DEV_LICENCE = "FLUX.1 [dev] Non-Commercial License"

FLUX_SCHNELL = ModelSpec(
    id="flux-schnell",
    title="FLUX.1 [schnell]",
    summary="Fast: a good picture in 4 steps. Apache-2.0, any use.",
    licence="Apache-2.0",
    commercial=True,
    steps=Bounds(1, 12, 4),
    guidance=None,
    max_sequence_length=256,
)
FLUX_DEV = ModelSpec(
    id="flux-dev",
    title="FLUX.1 [dev]",
    summary="Finest detail in 28 steps. Non-commercial licence: not to be used for business.",
    licence=_DEV_LICENCE,
    commercial=False,
    steps=Bounds(1, 50, 28),
    guidance=Bounds(1.0, 10.0, 3.5),
    max_sequence_length=512,
)
FLUX_KREA = ModelSpec(
    id="flux-krea-dev",
    title="FLUX.1 Krea [dev]",
    summary="As dev, with a photographer's eye. Non-commercial licence: not to be used for business.",
    licence=_DEV_LICENCE,
    commercial=False,
    steps=Bounds(1, 50, 28),
    guidance=Bounds(1.0, 10.0, 4.5),
)
FLUX_KONTEXT_DEV = ModelSpec(
    id="flux-kontext-dev",
    title="FLUX.1 Kontext [dev]",
    summary="Give it a picture and say what shall change. Non-commercial licence.",
    licence=_DEV_LICENCE,
    commercial=False,
    steps=Bounds(1, 50, 28),
    guidance=Bounds(1.0, 10.0, 2.5),
    strength=None,
    operations=frozenset({Operation.EDIT}),
    architecture=Architecture.KONTEXT,
    picture_work=2.2,
)
FLUX_FILL = ModelSpec(
    id="flux-fill-dev",
    title="FLUX.1 Fill [dev]",
    summary="Give it a picture and a mask: what is white is painted anew. Non-commercial licence.",
    licence=_DEV_LICENCE,
    commercial=False,
    steps=Bounds(1, 50, 50),
    guidance=Bounds(1.0, 60.0, 30.0),
    strength=None,
    operations=frozenset({Operation.INPAINT}),
    architecture=Architecture.FILL,
)
FLUX_REDUX = ModelSpec(
    id="flux-redux-dev",
    title="FLUX.1 Redux [dev]",
    summary="Give it a picture: it draws others like it. Non-commercial licence.",
    licence=_DEV_LICENCE,
    commercial=False,
    steps=Bounds(1, 50, 28),
    guidance=Bounds(1.0, 10.0, 2.5),
    strength=None,
    operations=frozenset({Operation.VARIATION}),
    architecture=Architecture.REDUX,
    picture_work=1.2,
    drawn_by="flux-dev",
)
FLUX_KLEIN = ModelSpec(
    id="flux-klein-4b",
    title="FLUX.2 [klein] 4B",
    summary="Fast and small: draws in 4 steps, and edits pictures by your words. Apache-2.0, any use.",
    licence="Apache-2.0",
    commercial=True,
    steps=Bounds(1, 12, 4),
    guidance=None,
    strength=None,
    operations=frozenset({Operation.TEXT_TO_IMAGE, Operation.EDIT}),
    architecture=Architecture.KLEIN,
    millicredits_per_megapixel_step=125,
    step_cache=None,  # diffusers' cache does not know the blocks of FLUX.2, and four steps leave little out
    picture_work=2.2,
)
"""The work of a step is that of the real networks at one megapixel with 512 words, relative to schnell's; the factors
for a picture follow from its tokens, which attention weighs by the square (tests/gpu/test_work.py counts them)."""
FLUX_TINY = ModelSpec(
    id="flux-tiny",
    title="flux-tiny",
    summary=tiny.DESCRIPTION,
    licence="Apache-2.0",
    commercial=True,
    steps=Bounds(tiny.STEPS_MIN, tiny.STEPS_MAX, tiny.STEPS),
    guidance=Bounds(tiny.GUIDANCE_MIN, tiny.GUIDANCE_MAX, tiny.GUIDANCE),
    native_short_side=min(tiny.NATIVE_SIZES["1:1"]),
    enlarge=tiny.ENLARGE,
    max_sequence_length=tiny.MAX_SEQUENCE_LENGTH,
    # Its few steps are far apart: less than this leaves none of them out.
    step_cache=0.3,
)
_ANSWER = Bounds(1, 1, 1)
"""Steps of a model that is only hosted: whoever hosts it chooses them, and a picture has one price."""

FLUX_PRO = ModelSpec(
    id="flux-pro-1.1",
    title="FLUX1.1 [pro]",
    summary="Hosted only. Finer than dev, and faster.",
    licence="Hosted service of Black Forest Labs",
    commercial=True,
    steps=_ANSWER,
    guidance=None,
    operations=frozenset({Operation.TEXT_TO_IMAGE}),
    weights=False,
    millicredits_per_megapixel_step=13_000,
)
FLUX_KONTEXT = ModelSpec(
    id="flux-kontext-pro",
    title="FLUX.1 Kontext [pro]",
    summary="Hosted only. Give it a picture and say what shall change.",
    licence="Hosted service of Black Forest Labs",
    commercial=True,
    steps=_ANSWER,
    guidance=None,
    strength=None,
    operations=frozenset({Operation.TEXT_TO_IMAGE, Operation.EDIT}),
    weights=False,
    millicredits_per_megapixel_step=13_000,
)
FLUX_2_PRO = ModelSpec(
    id="flux-2-pro",
    title="FLUX.2 [pro]",
    summary="Hosted only. The newest: finest detail, readable words; edits pictures, too.",
    licence="Hosted service of Black Forest Labs",
    commercial=True,
    steps=_ANSWER,
    guidance=None,
    strength=None,
    operations=frozenset({Operation.TEXT_TO_IMAGE, Operation.EDIT}),
    weights=False,
    millicredits_per_megapixel_step=10_000,
)
FAMILY = (
    *(FLUX_SCHNELL, FLUX_DEV, FLUX_KREA, FLUX_KLEIN, FLUX_TINY, FLUX_2_PRO, FLUX_PRO, FLUX_KONTEXT),
    *(FLUX_KONTEXT_DEV, FLUX_FILL, FLUX_REDUX),
)
"""In the order in which a studio prefers them as its default; one that draws nothing from words alone is none."""
