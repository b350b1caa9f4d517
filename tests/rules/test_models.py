"""The family: sizes, prices and licences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.family import FAMILY, FLUX_DEV, FLUX_SCHNELL, FLUX_TINY
from flux_core.models import ASPECTS, CREDIT, MAX_PIXELS, MAX_SIDE, MEGAPIXEL, MIN_SIDE, MULTIPLE, ModelSpec


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("spec", FAMILY, ids=lambda spec: spec.id)
def test_every_aspect_has_a_size_that_can_be_drawn(spec: ModelSpec, aspect: str) -> None:
    width, height = spec.size_for_aspect(aspect)
    assert width % MULTIPLE == height % MULTIPLE == 0
    assert width / height == pytest.approx(ASPECTS[aspect], rel=0.08)
    if spec.native_short_side is not None:
        assert min(width, height) == spec.native_short_side
    else:
        assert 0.96 * MEGAPIXEL <= width * height <= MEGAPIXEL
        assert min(width, height) >= MIN_SIDE
        assert max(width, height) <= MAX_SIDE


def test_an_aspect_and_its_mirror_are_the_same_picture_turned() -> None:
    for aspect in ASPECTS:
        mirrored = ":".join(reversed(aspect.split(":")))
        assert FLUX_DEV.size_for_aspect(aspect) == tuple(reversed(FLUX_DEV.size_for_aspect(mirrored)))


@given(st.floats(0.001, 1000))
def test_any_ratio_of_an_upload_can_be_drawn(ratio: float) -> None:
    for spec in FAMILY:
        width, height = spec.size_for_ratio(ratio)
        assert width * height * spec.enlarge**2 <= MAX_PIXELS
        assert ASPECTS["9:21"] * 0.9 <= width / height <= ASPECTS["21:9"] * 1.1


def test_one_credit_is_one_megapixel_of_schnell() -> None:
    assert FLUX_SCHNELL.price(width=1024, height=1024, steps=4, count=1) == CREDIT


def test_prices_follow_the_work() -> None:
    def price(spec: ModelSpec = FLUX_DEV, **changes: int | float) -> int:
        return spec.price(**({"width": 1024, "height": 1024, "steps": 28, "count": 1} | changes))  # type: ignore[arg-type]

    assert price() == 7 * CREDIT
    assert price(count=4) == 4 * price()
    assert price(width=2048) == 2 * price()
    assert price(strength=0.5) == price(steps=14)
    assert price(strength=0.01) == price(steps=1)
    assert price(FLUX_TINY, width=128, height=128, steps=8) == FLUX_TINY.price(width=128, height=128, steps=8, count=1)
    assert price(FLUX_TINY, width=16, height=16, steps=1) >= 1
    assert FLUX_TINY.price(width=128, height=128, steps=8, count=1) < CREDIT


def test_a_licence_that_forbids_commerce_is_said_where_the_model_is_chosen() -> None:
    for spec in FAMILY:
        assert spec.commercial or "non-commercial" in spec.summary.lower()
        assert len(spec.summary) <= 100
