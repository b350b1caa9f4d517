"""What a provider offers: sizes that keep the aspect, prices, objections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.catalogue import Catalogue
from flux_core.family import FLUX_SCHNELL
from flux_core.generation import RATIO_TOLERANCE, GenerationRequest, InputPicture
from flux_core.models import ASPECTS
from flux_core.offers import ImageInput, Offer, Price, Range, Sizes, own_offers

LISTED = Sizes(listed=((1024, 1024), (512, 512), (1344, 768), (768, 1344)))
FREE = Sizes(low=256, high=1440, multiple=32, most_pixels=1_500_000)


@pytest.mark.parametrize(
    ("sizes", "asked", "drawn"),
    [
        (LISTED, (1024, 1024), (1024, 1024)),
        (LISTED, (600, 600), (512, 512)),
        (LISTED, (1376, 768), (1344, 768)),
        (LISTED, (1024, 512), None),
        (FREE, (1024, 1024), (1024, 1024)),
        (FREE, (1376, 768), (1376, 768)),
        (FREE, (1360, 768), (1376, 768)),
        (FREE, (2048, 2048), (1216, 1216)),
        (FREE, (128, 128), (256, 256)),
    ],
)
def test_the_nearest_size_of_the_same_aspect_is_drawn(
    sizes: Sizes, asked: tuple[int, int], drawn: tuple[int, int] | None
) -> None:
    assert sizes.nearest(*asked) == drawn


@given(st.integers(16, 128).map(lambda n: n * 16), st.integers(16, 128).map(lambda n: n * 16))
def test_no_size_changes_the_aspect_or_leaves_the_bounds(width: int, height: int) -> None:
    for sizes in (LISTED, FREE):
        drawn = sizes.nearest(width, height)
        if drawn is None:
            continue
        assert abs(drawn[0] / drawn[1] / (width / height) - 1) <= RATIO_TOLERANCE
        if sizes is FREE:
            assert all(side % 32 == 0 and 256 <= side <= 1440 for side in drawn)
            assert drawn[0] * drawn[1] <= 1_500_000


@pytest.mark.parametrize("aspect", ASPECTS)
def test_free_sizes_draw_every_aspect_of_the_studio(aspect: str) -> None:
    assert Sizes(low=256, high=1536, multiple=32).nearest(*FLUX_SCHNELL.size_for_aspect(aspect)) is not None


def test_money_is_counted_in_millionths_and_never_rounded_down() -> None:
    assert Price(picture=0.025).of(1024, 1024, 28) == 25_000
    assert Price(megapixel=0.0027).of(512, 512, 4) == 675
    assert Price(megapixel=0.003, round_up=True).of(1040, 1024, 4) == 6_000
    assert Price(megapixel_step=0.0005).of(1024, 1024, 4) == 2_000
    assert Price(picture=0.0000001).of(64, 64, 1) == 1


def test_that_it_takes_no_pictures_is_said_before_the_shape_that_the_picture_gave() -> None:
    request = GenerationRequest(
        prompt="x", model="flux-dev", width=1184, height=880, steps=4, guidance=None, seed=1, count=1
    )
    square = Offer(theirs="x", sizes=Sizes(listed=((1024, 1024),)))
    assert square.objection(request, links=False) == "not 1184×880"
    picture = InputPicture(key="inputs/x.png", width=800, height=600)
    varied = request.model_copy(update={"input_picture": picture, "strength": 0.5})
    assert square.objection(varied, links=False) == "from words only"


def test_an_offer_travels_as_json() -> None:
    offer = Offer(
        theirs="dev", sizes=LISTED, steps=Range(low=1, high=4), price=Price(picture=1), image_input=ImageInput.LINK
    )
    assert Offer.model_validate_json(offer.model_dump_json()) == offer


def test_our_own_cards_offer_what_has_weights() -> None:
    offers = own_offers(Catalogue({"flux-tiny": "here"}, hosted=["flux-dev"]))
    assert list(offers) == ["flux-tiny"]
    assert offers["flux-tiny"].sizes.nearest(128, 224) == (128, 224)
    assert offers["flux-tiny"].starts_from_pictures(links=False)
