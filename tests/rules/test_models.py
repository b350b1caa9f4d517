"""The family: sizes, prices, and which models a studio offers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.errors import ConfigurationError, UnknownModel
from flux_core.models import (
    ASPECTS,
    CREDIT,
    FAMILY,
    FLUX_DEV,
    FLUX_SCHNELL,
    FLUX_TINY,
    MAX_PIXELS,
    MAX_SIDE,
    MEGAPIXEL,
    MIN_SIDE,
    MULTIPLE,
    Catalogue,
    ModelSpec,
)


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


def test_the_catalogue_prefers_the_best_model_and_remembers_sources() -> None:
    catalogue = Catalogue({"flux-tiny": "a", "flux-dev": "b"})
    assert catalogue.default.id == "flux-dev"
    assert [(spec.id, spec.source, spec.local) for spec in catalogue] == [
        ("flux-dev", "b", True),
        ("flux-tiny", "a", True),
    ]
    assert "flux-schnell" not in catalogue
    assert Catalogue({"flux-tiny": "a", "flux-dev": "b"}, default="flux-tiny").default.id == "flux-tiny"
    with pytest.raises(UnknownModel) as caught:
        catalogue["flux-schnell"]
    assert caught.value.facts == {"value": "flux-schnell", "known": ["flux-dev", "flux-tiny"]}


@pytest.mark.parametrize(
    ("offered", "default", "said"),
    [({}, None, "FLUX_TINY_PATH"), ({"sdxl": "x"}, None, "sdxl"), ({"flux-dev": "x"}, "flux-tiny", "DEFAULT_MODEL")],
)
def test_a_wrong_catalogue_says_what_to_do(offered: dict[str, str], default: str | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Catalogue(offered, default=default)


def test_an_operator_can_do_without_models_that_forbid_commerce() -> None:
    offered = Catalogue({"flux-tiny": "a", "flux-dev": "b"}, hosted=["flux-dev", "flux-pro-1.1"], non_commercial=False)
    assert {spec.id for spec in offered} == {"flux-tiny", "flux-pro-1.1"}
    assert all(spec.commercial for spec in offered)
    assert offered.default.commercial
    with pytest.raises(UnknownModel):
        offered["flux-dev"]
    everything = Catalogue({}, hosted=[spec.id for spec in FAMILY], non_commercial=False)
    assert [spec.id for spec in everything] == [spec.id for spec in FAMILY if spec.commercial]


@pytest.mark.parametrize(
    ("weights", "hosted", "default"),
    [
        ({"flux-tiny": "a", "flux-dev": "b"}, [], "flux-dev"),
        ({"flux-tiny": "a"}, ["flux-dev"], "flux-dev"),
        ({"flux-dev": "b"}, [], None),
        ({}, ["flux-dev"], None),
    ],
)
def test_that_the_licence_is_what_keeps_a_model_out_is_said(
    weights: dict[str, str], hosted: list[str], default: str | None
) -> None:
    with pytest.raises(ConfigurationError, match="NON_COMMERCIAL_MODELS") as caught:
        Catalogue(weights, hosted=hosted, default=default, non_commercial=False)
    assert "flux-dev" in str(caught.value)
    assert ("DEFAULT_MODEL" in str(caught.value)) is (default is not None)
    assert Catalogue(weights, hosted=hosted, default=default).default.id == "flux-dev"
