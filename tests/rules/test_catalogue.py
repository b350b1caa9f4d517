"""What one studio offers."""

from __future__ import annotations

import pytest

from flux_core.catalogue import Catalogue
from flux_core.errors import ConfigurationError, UnknownModel
from flux_core.family import FAMILY


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
