"""What members read."""

from __future__ import annotations

import re

import pytest

from bot.words import wording
from flux_core.errors import (
    FluxError,
    GenerationFailed,
    InvalidSize,
    NobodyDraws,
    PictureTooHeavy,
    PictureTooLarge,
    ProviderClosed,
    ProviderFault,
    QueuePaused,
    QuotaSpent,
    Refused,
    UnknownModel,
    UnknownProvider,
    walk,
)

ERRORS = sorted(set(walk()), key=lambda kind: kind.code)


@pytest.mark.parametrize("kind", ERRORS, ids=[kind.__name__ for kind in ERRORS])
def test_every_error_has_a_sentence_of_its_own(kind: type[FluxError]) -> None:
    assert kind.code in wording.SENTENCES, f"wording.SENTENCES lacks {kind.code!r} ({kind.__name__})"
    text = wording.sentence(kind())
    assert re.fullmatch(r"[A-Z“`].*[.!?]|[A-Z“`].*`", text, re.DOTALL), text
    assert "_" not in text
    assert "None" not in text


def test_no_sentence_is_left_over() -> None:
    assert set(wording.SENTENCES) == {kind.code for kind in walk()}


@pytest.mark.parametrize("kind", [k for k in ERRORS if issubclass(k, GenerationFailed)], ids=lambda k: k.__name__)
def test_a_failed_job_tells_where_the_credits_are(kind: type[GenerationFailed]) -> None:
    assert "credits are back" in wording.sentence(kind())


def test_a_spent_quota_tells_when_it_renews() -> None:
    text = wording.sentence(QuotaSpent(cost=4000, left=500, renews_at=1_800_000_000.2))
    assert "4 credits" in text
    assert "0.5 credits" in text
    assert "<t:1800000001:R>" in text


def test_what_a_member_typed_is_repeated_harmlessly() -> None:
    text = wording.sentence(UnknownModel(value="@everyone **x** [y](https://z) `", known=["flux-dev"]))
    assert "@everyone" not in text
    assert r"\*\*x\*\*" in text
    assert "https://" not in text
    assert "@here" not in wording.sentence(QueuePaused(reason="@here"))


def test_sizes_are_told_in_full() -> None:
    assert "25.5 MB; I take up to 25 MB" in wording.sentence(PictureTooHeavy(size=26_738_688, limit=26_214_400))
    assert "9000×9000" in wording.sentence(PictureTooLarge(width=9000, height=9000, limit=50_000_000))
    assert "50 megapixels" in wording.sentence(PictureTooLarge(width=9000, height=9000, limit=50_000_000))
    assert "2048 pixels a side" in wording.sentence(InvalidSize(value="4096×256", reason="large", limit=2048))


@pytest.mark.parametrize("kind", list(walk(ProviderFault)), ids=lambda kind: kind.__name__)
def test_a_providers_fault_names_the_provider_and_not_what_it_said(kind: type[ProviderFault]) -> None:
    text = wording.sentence(
        kind("Cloud Nine answered 500: stack trace of theirs", provider="Cloud *Nine*", reason="key")
    )
    assert r"Cloud \*Nine\*" in text
    assert "stack trace" not in text
    assert "key" not in text


def test_a_closed_provider_is_something_for_the_moderators() -> None:
    assert "tell the moderators" in wording.sentence(ProviderClosed(provider="x", reason="credit"))


def test_a_provider_that_is_not_there_is_told_with_those_that_are() -> None:
    text = wording.sentence(UnknownProvider(value="eachlab", known=["local", "eachlabs"]))
    assert "Did you mean `eachlabs`?" in text
    assert "`local`" in text


def test_a_provider_may_be_meant_by_the_name_people_call_it() -> None:
    assert "Did you mean `bfl`?" in wording.sentence(UnknownProvider(value="Black forest labs", known=["bfl", "fal"]))


def test_a_provider_that_was_named_does_not_stand_for_everybody() -> None:
    others = {"local": "another provider was asked for", "bfl": "another provider was asked for"}
    text = wording.sentence(NobodyDraws(model="flux-schnell", reasons={"eachlabs": "1 to 4 steps", **others}))
    assert "Nobody" not in text
    assert "(Eachlabs: 1 to 4 steps)" in text
    assert "name another" in text


def test_what_nobody_draws_is_told_with_the_reasons() -> None:
    many = {f"provider {i}": "x" * 200 for i in range(20)}
    text = wording.sentence(NobodyDraws(model="flux-dev", reasons={"Cloud Nine": "not 2048×512"}))
    assert "`flux-dev`" in text
    assert "Cloud Nine: not 2048×512" in text
    some = {"local": "another provider was asked for", "eachlabs": "no flux-dev", "bfl": "1 to 12 steps"}
    text = wording.sentence(NobodyDraws(model="flux-dev", reasons=some))
    assert "(Black Forest Labs: 1 to 12 steps; Eachlabs: no flux-dev)" in text
    assert len(wording.sentence(NobodyDraws(model="flux-dev", reasons=many))) < 1500


def test_a_refusal_tells_its_reason_in_words_and_harmlessly() -> None:
    text = wording.sentence(Refused(reason="the provider's safety filter held it back @everyone"))
    assert "the provider's safety filter held it back" in text
    assert "@everyone" not in text


def test_what_costs_less_is_true_of_every_model() -> None:
    told = wording.sentence(QuotaSpent(cost=4_000, left=1_000, renews_at=1_800_000_000.0))
    assert told.endswith("Fewer or smaller pictures cost less.")
    assert "steps" not in told


def test_moderators_hear_that_there_is_no_hosted_provider_at_all() -> None:
    assert wording.sentence(UnknownProvider(value="x", known=[], listed=True)).startswith(
        "No hosted provider is configured"
    )
    assert "Leave `provider` out" in wording.sentence(UnknownProvider(value="x", known=[]))
