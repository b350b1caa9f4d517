"""Who is drawn together: only alike, in turn, where it was seen to be faster and those who wait gain in sum."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flux_core.batching import GAIN, LOOK_AGAIN, TRIALS, WINDOW, InLine, Pace, company, scale_of, shape_of
from flux_core.catalogue import Catalogue
from flux_core.generation import InputPicture, RequestOptions, resolve

CATALOGUE = Catalogue({"flux-schnell": "x", "flux-dev": "x"}, default="flux-dev")
MOST = 8
ONE, OTHER = InLine(pictures=1, alike=True), InLine(pictures=1, alike=False)
KNOWN = 10
"""Drawings of each number of pictures, where that shall not matter."""


def paces(seconds: dict[int, float], samples: int = KNOWN) -> dict[int, Pace]:
    return {pictures: Pace(samples, pace) for pictures, pace in seconds.items()}


def gaining(fixed: float) -> dict[int, Pace]:
    """A device on which a part ``fixed`` of a picture's time is spent once per drawing."""
    return paces({n: (fixed + n * (1 - fixed)) / n for n in range(1, MOST + 1)})


_lines = st.lists(st.builds(InLine, pictures=st.integers(1, 4), alike=st.booleans()), max_size=2 * WINDOW)
_own = st.integers(1, 4)
_paces = st.dictionaries(
    st.integers(1, MOST), st.builds(Pace, samples=st.integers(1, 400), seconds=st.floats(0.01, 10)), max_size=MOST
)


@given(own=_own, line=_lines, known=_paces, most=st.integers(1, MOST))
def test_company_is_alike_and_near_and_in_turn(own: int, line: list[InLine], known: dict[int, Pace], most: int) -> None:
    places = company(own, line, known, most)
    alike = [place for place, job in enumerate(line) if job.alike]
    assert places == alike[: len(places)], "nobody alike is left standing for one behind"
    assert all(place < WINDOW for place in places)
    if places:
        assert own + sum(line[place].pictures for place in places) <= most


@given(own=_own, line=_lines, seconds=st.lists(st.floats(0.01, 10), min_size=MOST, max_size=MOST), data=st.data())
def test_what_is_known_is_used_only_for_everybodys_good(
    own: int, line: list[InLine], seconds: list[float], data: st.DataObject
) -> None:
    known = paces(dict(enumerate(seconds, 1)))
    places = company(own, line, known, MOST)
    assume(places)
    pictures = own + sum(line[place].pictures for place in places)
    together = pictures * known[pictures].seconds

    def alone(count: int) -> float:
        return count * known[count].seconds

    one_by_one = alone(own) + sum(alone(line[place].pictures) for place in places)
    assert together <= (1 - GAIN) * one_by_one + 1e-9
    # Played through, with any time that the others may take:
    others = {place: data.draw(st.floats(0, 10)) for place, job in enumerate(line[:WINDOW]) if place not in places}
    clock = alone(own)
    waited_apart = clock
    for place, job in enumerate(line[:WINDOW]):
        clock += alone(job.pictures) if place in places else others[place]
        waited_apart += clock
    clock = together
    waited_together = (1 + len(places)) * clock
    for place in others:
        clock += others[place]
        waited_together += clock
    assert waited_together <= waited_apart + 1e-6


@pytest.mark.parametrize("fixed", [0.0, 0.05, -0.3])
def test_a_device_that_gains_nothing_draws_every_job_alone(fixed: float) -> None:
    assert company(1, [ONE] * WINDOW, gaining(fixed), MOST) == []


def test_a_long_line_of_alike_jobs_fills_the_drawing_and_a_short_one_does_not() -> None:
    assert company(1, [ONE] * WINDOW, gaining(0.4), MOST) == list(range(6)), "an eighth picture would hold up seven"
    assert company(1, [ONE] * WINDOW, gaining(0.6), MOST) == list(range(7))
    assert company(1, [ONE], gaining(0.4), MOST) == [], "the first would wait for the second, who hardly gains"
    assert company(1, [ONE], gaining(0.6), MOST) == [0]
    assert company(1, [OTHER, ONE, OTHER, ONE, *[OTHER] * 9], gaining(0.4), MOST) == [1, 3]


def test_what_was_hardly_seen_is_tried_first_and_only_beside_what_is_known() -> None:
    known = gaining(0.4)
    assert company(1, [ONE] * 9, known | {3: Pace(TRIALS - 1, 9.9)}, MOST) == [0, 1]
    assert company(1, [ONE] * 9, known | {1: Pace(TRIALS - 1, 9.9)}, MOST) == []
    assert company(1, [ONE] * 9, {}, MOST) == []
    assert company(2, [ONE] * 9, known | {2: Pace(1, 1.0)}, MOST) == []


@pytest.mark.parametrize("line", [[OTHER] * 20, [*[OTHER] * WINDOW, ONE], [InLine(pictures=8, alike=True), ONE]])
def test_nobody_is_fetched_from_afar_or_taken_over_the_head_of_another(line: list[InLine]) -> None:
    assert company(1, line, gaining(0.9), MOST) == []


def play(device: dict[int, Pace], drawings: int, known: dict[int, Pace]) -> list[int]:
    """Draw with a long line of alike jobs of one picture, learning; return how many pictures each drawing had."""
    had = []
    for _ in range(drawings):
        pictures = 1 + len(company(1, [ONE] * WINDOW, known, MOST))
        known[pictures] = known.get(pictures, Pace(0, 0.0)).observed(device[pictures].seconds)
        had.append(pictures)
    return had


def test_a_device_that_gains_is_found_out_and_used() -> None:
    had = play(gaining(0.6), 1000, {})
    learning = TRIALS * MOST
    assert had[:TRIALS] == [1] * TRIALS
    assert had[learning:].count(MOST) / len(had[learning:]) > 0.85


def test_a_device_that_gains_nothing_is_tried_rarely() -> None:
    drawings = 1000
    had = play(gaining(0.0), drawings, {})
    trials = sum(pictures > 1 for pictures in had)
    assert TRIALS * (MOST - 1) <= trials <= (MOST - 1) * (TRIALS + drawings / LOOK_AGAIN)


def test_a_device_that_has_changed_is_found_out() -> None:
    known: dict[int, Pace] = {}
    play(gaining(0.0), 2000, known)
    assert play(gaining(0.6), 1000, known)[-100:].count(1) < 20
    assert play(gaining(0.0), 1000, known)[-100:].count(1) > 80


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=60))
def test_a_pace_is_the_mean_of_few_drawings_and_forgets_old_ones(seconds: list[float]) -> None:
    pace = Pace(0, 0.0)
    for one in seconds:
        pace = pace.observed(one)
    assert pace.samples == len(seconds)
    assert min(seconds) - 1e-9 <= pace.seconds <= max(seconds) + 1e-9
    if len(seconds) <= 20:
        assert pace.seconds == pytest.approx(sum(seconds) / len(seconds))
    for _ in range(200):
        pace = pace.observed(5.0)
    assert pace.seconds == pytest.approx(5.0, abs=0.01)


def test_a_shape_is_what_goes_through_the_network_side_by_side() -> None:
    def shape(picture: bool = False, **options: Any) -> object:
        given = RequestOptions.model_validate({"prompt": "a", "steps": 4, "seed": 1} | options)
        return shape_of(
            resolve(given, CATALOGUE, picture=InputPicture(key="k", width=9, height=9) if picture else None)
        )

    assert shape() == shape(prompt="b", seed=2, count=1, output_format="png")
    changes: list[dict[str, Any]] = [{"steps": 5}, {"size": "512x512"}, {"guidance": 2.0}, {"model": "flux-schnell"}]
    assert len({shape(), *(shape(**change) for change in changes)}) == 5
    assert shape(picture=True) is None


def test_sizes_of_about_as_many_pixels_share_a_pace() -> None:
    assert scale_of(1024 * 1024) == scale_of(1216 * 832) == 40
    assert [scale_of(side * side) for side in (128, 256, 512, 2048)] == [28, 32, 36, 44]
