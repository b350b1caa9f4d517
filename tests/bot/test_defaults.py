"""What holds where a member names nothing: their settings, the channel's, the studio's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.defaults import Settled, Source, settle
from flux_core.catalogue import Catalogue
from flux_core.family import FAMILY
from flux_core.generation import InputPicture, RequestOptions, resolve
from flux_core.models import ASPECTS, MEGAPIXEL
from flux_core.policy.guild import Defaults
from flux_core.policy.permitted import EVERYTHING, Permitted
from flux_core.preferences import NOTHING_SET, Preferences

CATALOGUE = Catalogue(
    {"flux-schnell": "schnell", "flux-dev": "dev"}, hosted=["flux-pro-1.1", "flux-kontext-pro"], default="flux-schnell"
)
NO_DEFAULTS = Defaults()
PICTURE = InputPicture(key="k", width=640, height=480)


def settled(
    own: Preferences = NOTHING_SET,
    channel: Defaults = NO_DEFAULTS,
    permitted: Permitted = EVERYTHING,
    *,
    picture: InputPicture | None = None,
    private: bool | None = None,
    spoiler: bool | None = None,
    **typed: Any,
) -> Settled:
    options = RequestOptions(prompt="a fox", **typed)
    return settle(options, own, channel, CATALOGUE, permitted, picture=picture, private=private, spoiler=spoiler)


def test_nothing_set_changes_nothing() -> None:
    found = settled()
    assert found.options == RequestOptions(prompt="a fox")
    assert (found.private, found.spoiler) == (False, False)
    assert found.sources == {"prompt": Source.TYPED, "private": Source.STUDIO, "spoiler": Source.STUDIO}


def test_typed_goes_before_own_before_the_channels() -> None:
    own = Preferences(model="flux-dev", aspect="16:9", private=True)
    channel = Defaults(model="flux-pro-1.1", aspect="1:1", count=2, output_format="png", spoiler=True, private=False)
    found = settled(own, channel, aspect="9:16")
    assert found.options == RequestOptions(
        prompt="a fox", model="flux-dev", aspect="9:16", count=2, output_format="png"
    )
    assert (found.private, found.spoiler) == (True, True)
    assert found.sources["aspect"] is Source.TYPED
    assert found.sources["model"] is found.sources["private"] is Source.OWN
    assert found.sources["count"] is found.sources["spoiler"] is Source.CHANNEL
    shown = settled(own, channel, private=False, spoiler=False)
    assert (shown.private, shown.spoiler) == (False, False)


def test_an_own_choice_that_cannot_be_had_leaves_the_channels() -> None:
    own, channel = Preferences(model="flux-pro-1.1"), Defaults(model="flux-dev")
    assert settled(own, channel, Permitted(denied={"flux-pro-1.1"})).options.model == "flux-dev"
    assert settled(own, channel, Permitted(models=frozenset({"flux-schnell"}))).options.model is None
    assert settled(Preferences(model="a-model-of-yesterday"), channel).options.model == "flux-dev"
    # It draws from words only.
    assert settled(own, channel, picture=PICTURE).options.model == "flux-dev"


def test_where_the_studios_model_is_denied_the_first_allowed_one_draws() -> None:
    found = settled(permitted=Permitted(denied={"flux-schnell"}))
    assert (found.options.model, found.sources["model"]) == ("flux-dev", Source.STUDIO)
    assert settled(permitted=Permitted(denied={"flux-schnell"}), model="flux-schnell").options.model == "flux-schnell"
    assert settled(permitted=Permitted(models=frozenset())).options.model is None


def test_steps_belong_to_the_channels_model() -> None:
    channel = Defaults(model="flux-dev", steps=8)
    assert settled(channel=channel).options.steps == 8
    assert settled(channel=channel, model="flux-schnell").options.steps is None
    assert settled(channel=channel, steps=30).options.steps == 30
    assert settled(channel=Defaults(steps=8)).options.steps == 8
    # More than this model can do; and one that has no steps to choose.
    assert settled(channel=Defaults(steps=40)).options.steps is None
    assert settled(channel=Defaults(steps=1), model="flux-pro-1.1").options.steps is None


def test_a_count_stays_within_what_the_member_may_have() -> None:
    assert settled(Preferences(count=3)).options.count == 3
    assert settled(Preferences(count=3), permitted=Permitted(max_count=2)).options.count == 2
    assert settled(Preferences(count=3), Defaults(count=1), Permitted(max_count=2)).options.count == 1
    assert settled(permitted=Permitted(max_count=1)).options.count == 1
    assert settled(Preferences(count=9)).options.count is None
    # What was typed is never touched: the member is told instead.
    assert settled(permitted=Permitted(max_count=1), count=4).options.count == 4


def test_a_shape_gives_way_to_a_size_and_to_a_picture() -> None:
    own = Preferences(aspect="16:9")
    assert settled(own).options.aspect == "16:9"
    assert settled(own, size="512x512").options.aspect is None
    assert settled(own, picture=PICTURE).options.aspect is None
    assert settled(Preferences(aspect="7:5"), Defaults(aspect="3:2")).options.aspect == "3:2"


@pytest.mark.parametrize("wrong", ["tiff", ""])
def test_a_format_of_another_time_is_left_aside(wrong: str) -> None:
    assert settled(Preferences(output_format=wrong)).options.output_format is None


def test_a_picture_is_no_larger_than_the_member_may_have() -> None:
    quarter = Permitted(max_megapixels=0.25)
    assert settled(permitted=quarter).options.size == "512x512"
    assert settled(Preferences(aspect="16:9"), permitted=quarter).options.size == "672x384"
    assert settled(permitted=quarter, aspect="9:16").options.size == "384x672"
    assert settled(permitted=quarter, picture=PICTURE).options.size == "592x432"
    # What was typed is never touched, and what fits stays as it is.
    assert settled(permitted=quarter, size="1024x1024").options.size == "1024x1024"
    assert settled(permitted=Permitted(max_megapixels=1)).options.size is None
    # Nothing that small can be drawn: the member is told.
    assert settled(permitted=Permitted(max_megapixels=0.01)).options.size is None


_text = st.sampled_from([None, "flux-dev", "flux-pro-1.1", "flux-kontext-pro", "gone", *ASPECTS, "png", "x"])
_number = st.sampled_from([None, 1, 2, 4, 9, 50, 200])


@given(
    own=st.builds(Preferences, model=_text, aspect=_text, count=_number, output_format=_text),
    channel=st.builds(
        lambda **parts: Defaults.model_construct(**parts),
        model=_text,
        aspect=_text,
        count=_number,
        steps=_number,
        output_format=_text,
        spoiler=st.none(),
        private=st.none(),
    ),
    model=st.sampled_from([None, *(spec.id for spec in CATALOGUE)]),
    max_count=st.sampled_from([None, 1, 2, 3]),
    max_megapixels=st.sampled_from([None, 0.25, 0.5, 1.0, 2.0]),
    picture=st.booleans(),
)
def test_no_default_ever_makes_a_request_impossible(
    own: Preferences,
    channel: Defaults,
    model: str | None,
    max_count: int | None,
    max_megapixels: float | None,
    picture: bool,
) -> None:
    if picture and model == "flux-pro-1.1":
        model = None
    start = PICTURE if picture else None
    permitted = Permitted(max_count=max_count, max_megapixels=max_megapixels)
    found = settled(own, channel, permitted, picture=start, model=model)
    request = resolve(found.options, CATALOGUE, picture=start)
    assert model in (None, request.model)
    assert max_count is None or request.count <= max_count
    assert max_megapixels is None or request.width * request.height <= max_megapixels * MEGAPIXEL
    assert request.model in {spec.id for spec in FAMILY}
