"""Requests that come from a finished job."""

from __future__ import annotations

import pytest

from flux_core.catalogue import Catalogue
from flux_core.errors import PictureGone, UnknownModel
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Job, Origin, Picture
from flux_core.variations import reroll_request, variation_request

HOSTED = ("flux-pro-1.1", "flux-kontext-pro")
CATALOGUE = Catalogue({"flux-dev": "dev", "flux-tiny": "tiny"}, hosted=HOSTED)
JOB = Job(
    id="0" * 24,
    account=Account(1, 2),
    request=resolve(RequestOptions(prompt="a fox", model="flux-dev", aspect="16:9", seed=7, count=3), CATALOGUE),
    origin=Origin.IMAGINE,
    cost=1,
    created_at=0.0,
)


def picture(key: str | None = "pictures/1.webp") -> Picture:
    return Picture(position=1, key=key, width=1360, height=768, seed=8, content_type="image/webp", size=9)


def test_a_reroll_changes_the_seed_and_nothing_else() -> None:
    request = reroll_request(JOB, draw_seed=lambda: 99)
    assert request.seed == 99
    assert request.model_copy(update={"seed": 7}) == JOB.request


def test_a_variation_starts_from_the_picture() -> None:
    request = variation_request(JOB, picture(), CATALOGUE, draw_seed=lambda: 99)
    assert request.input_picture is not None
    assert request.input_picture.key == "pictures/1.webp"
    assert (request.strength, request.seed, request.count) == (0.6, 99, 3)
    assert (request.width, request.height, request.prompt) == (JOB.request.width, JOB.request.height, "a fox")


def test_a_variation_of_a_variation_starts_from_the_new_picture() -> None:
    first = variation_request(JOB, picture("a"), CATALOGUE)
    child = Job(id="1" * 24, account=JOB.account, request=first, origin=Origin.VARIATION, cost=1, created_at=0.0)
    second = variation_request(child, picture("b"), CATALOGUE)
    assert second.input_picture is not None
    assert second.input_picture.key == "b"


def test_a_deleted_picture_cannot_be_varied() -> None:
    with pytest.raises(PictureGone):
        variation_request(JOB, picture(None), CATALOGUE)


def test_a_model_that_is_no_longer_offered_cannot_vary() -> None:
    with pytest.raises(UnknownModel):
        variation_request(JOB, picture(), Catalogue({"flux-tiny": "tiny"}))


def drawn_by(model: str) -> Job:
    request = resolve(RequestOptions(prompt="a fox", model=model, seed=7, count=2, provider="bfl"), CATALOGUE)
    return Job(id="2" * 24, account=JOB.account, request=request, origin=Origin.IMAGINE, cost=1, created_at=0.0)


def test_a_model_that_draws_from_words_only_starts_anew() -> None:
    before = drawn_by("flux-pro-1.1")
    request = variation_request(before, picture(), CATALOGUE, draw_seed=lambda: 99)
    assert request == before.request.model_copy(update={"seed": 99})
    assert (request.input_picture, request.strength) == (None, None)


def test_a_model_that_edits_by_instruction_takes_the_picture_without_a_strength() -> None:
    request = variation_request(drawn_by("flux-kontext-pro"), picture(), CATALOGUE)
    assert request.input_picture is not None
    assert request.strength is None
    assert request.provider == "bfl"
