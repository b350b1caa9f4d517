"""From what a member typed to one exact request, with the error for everything that cannot be drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flux_core.catalogue import Catalogue
from flux_core.errors import (
    InvalidRequest,
    InvalidSize,
    NotANumber,
    OperationUnavailable,
    OutOfRange,
    PromptMissing,
    PromptTooLong,
    SizeContradiction,
    StrengthWithoutPicture,
    UnknownAspect,
    UnknownFormat,
    UnknownMode,
    UnknownModel,
)
from flux_core.generation import GenerationRequest, InputPicture, OutputFormat, RequestOptions, parse_size, resolve
from flux_core.models import Mode, Operation

CATALOGUE = Catalogue({"flux-schnell": "a", "flux-dev": "b", "flux-tiny": "c"})
DEV, TINY = {"model": "flux-dev"}, {"model": "flux-tiny"}
PICTURE = InputPicture(key="inputs/a.png", width=800, height=600)


def asked(picture: InputPicture | None = None, **options: Any) -> GenerationRequest:
    """Resolve a circle with ``options``."""
    wanted = RequestOptions(**({"prompt": "a red circle"} | options))
    return resolve(wanted, CATALOGUE, picture=picture, draw_seed=lambda: 42)


def test_what_was_not_said_is_decided() -> None:
    assert asked() == GenerationRequest(
        prompt="a red circle", model="flux-schnell", width=1024, height=1024, steps=4, guidance=None, seed=42, count=4
    )
    dev = asked(model="flux-dev")
    assert (dev.steps, dev.guidance) == (28, 3.5)


def test_what_was_said_counts() -> None:
    request = asked(model="flux-dev", size="768 x 1280", steps=20, guidance=2.5, seed=0, count=2, output_format=" JPG ")
    assert (request.width, request.height, request.steps, request.guidance) == (768, 1280, 20, 2.5)
    assert (list(request.seeds), request.output_format) == ([0, 1], OutputFormat.JPEG)


def test_a_picture_to_start_from_gives_shape_and_strength() -> None:
    request = asked(PICTURE)
    assert CATALOGUE[request.model].operation(picture=True) is Operation.IMAGE_TO_IMAGE
    assert request.width / request.height == pytest.approx(4 / 3, rel=0.05)
    assert request.strength == 0.6
    assert asked(PICTURE, strength=0.3, aspect="1:1").width == 1024
    assert CATALOGUE[asked().model].operation(picture=False) is Operation.TEXT_TO_IMAGE


@pytest.mark.parametrize(
    ("options", "error", "facts"),
    [
        ({"prompt": ""}, PromptMissing, {}),
        ({"prompt": " \n\t"}, PromptMissing, {}),
        ({"prompt": "\x00\x07\u200b"}, PromptMissing, {}),
        ({"prompt": "a" * 10_000}, PromptTooLong, {"length": 10_000, "limit": 2000}),
        ({"model": "sdxl"}, UnknownModel, {"value": "sdxl", "known": ["flux-schnell", "flux-dev", "flux-tiny"]}),
        ({"steps": 0}, OutOfRange, {"field": "steps", "value": 0, "low": 1, "high": 12}),
        ({"steps": 13}, OutOfRange, {"field": "steps", "value": 13, "low": 1, "high": 12}),
        (DEV | {"guidance": 99.0}, OutOfRange, {"field": "guidance", "value": 99.0, "low": 1, "high": 10}),
        (DEV | {"guidance": float("nan")}, NotANumber, {"field": "guidance", "value": "nan"}),
        (DEV | {"guidance": float("inf")}, NotANumber, {"field": "guidance", "value": "inf"}),
        ({"seed": -1}, OutOfRange, {"field": "seed", "value": -1, "low": 0, "high": 2**32 - 1}),
        ({"seed": 2**32}, OutOfRange, {"field": "seed", "value": 2**32, "low": 0, "high": 2**32 - 1}),
        ({"count": 5}, OutOfRange, {"field": "count", "value": 5, "low": 1, "high": 4}),
        ({"strength": 0.5}, StrengthWithoutPicture, {}),
        ({"aspect": "5:7"}, UnknownAspect, None),
        ({"output_format": "gif"}, UnknownFormat, {"value": "gif", "known": ["webp", "png", "jpeg"]}),
        ({"mode": "warp"}, UnknownMode, {"value": "warp", "known": ["quality", "fast", "turbo"]}),
        ({"size": "big"}, InvalidSize, {"value": "big", "reason": "format", "limit": "1024x1024"}),
        ({"size": "0x1024"}, InvalidSize, {"value": "0x1024", "reason": "format", "limit": "1024x1024"}),
        ({"size": "1000x1024"}, InvalidSize, {"value": "1000×1024", "reason": "multiple", "limit": 16}),
        ({"size": "128x1024"}, InvalidSize, {"value": "128×1024", "reason": "small", "limit": 256}),
        ({"size": "2064x256"}, InvalidSize, {"value": "2064×256", "reason": "large", "limit": 2048}),
        ({"size": "2048x2048"}, InvalidSize, {"value": "2048×2048", "reason": "large", "limit": 2 * 1024 * 1024}),
        ({"size": "1024x1024", "aspect": "16:9"}, SizeContradiction, {"size": "1024×1024", "aspect": "16:9"}),
        (TINY | {"size": "640x640"}, InvalidSize, {"value": "640×640", "reason": "fixed", "limit": "512×512"}),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_says_why(
    options: dict[str, Any], error: type[InvalidRequest], facts: dict[str, Any] | None
) -> None:
    with pytest.raises(error) as caught:
        asked(**options)
    assert facts is None or caught.value.facts == facts


def test_an_operation_that_a_model_lacks_is_refused() -> None:
    spec = replace(CATALOGUE["flux-schnell"], operations=frozenset({Operation.TEXT_TO_IMAGE}))
    with pytest.raises(OperationUnavailable):
        resolve(RequestOptions(prompt="x"), _OneModel(spec), picture=PICTURE)  # type: ignore[arg-type]


class _OneModel:
    def __init__(self, spec: Any) -> None:
        self.default = spec


def test_a_size_and_the_aspect_it_has_agree() -> None:
    assert asked(size="1344x768", aspect="16:9").width == 1344


def test_tiny_takes_its_own_sizes_drawn_or_delivered() -> None:
    assert asked(model="flux-tiny", size="512x512").width == asked(model="flux-tiny", size="128x128").width == 128
    assert asked(model="flux-tiny", aspect="16:9").height == 128


@pytest.mark.parametrize("text", ["1024x768", "1024X768", " 1024 × 768 ", "1024*768"])
def test_sizes_are_read_as_people_write_them(text: str) -> None:
    assert parse_size(text) == (1024, 768)


@given(st.text(max_size=40))
def test_any_text_is_a_size_or_an_invalid_size(text: str) -> None:
    try:
        width, height = parse_size(text)
    except InvalidSize:
        return
    assert width > 0
    assert height > 0


@given(st.text(max_size=3000))
def test_any_text_is_a_prompt_or_refused(text: str) -> None:
    try:
        prompt = asked(prompt=text).prompt
    except (PromptMissing, PromptTooLong):
        return
    assert prompt == prompt.strip()
    assert prompt.encode()


def test_a_request_is_immutable_and_json_both_ways() -> None:
    request = asked(PICTURE, model="flux-dev", strength=0.3, output_format="png")
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request
    with pytest.raises(ValidationError):
        request.seed = 1


def test_price_and_work_follow_what_is_drawn() -> None:
    assert asked().price(CATALOGUE) == 4000
    assert asked().megapixel_steps == 16.0
    varied = asked(PICTURE, size="1024x1024", strength=0.3, count=1)
    assert varied.megapixel_steps == 2.0
    assert varied.price(CATALOGUE) == 500
    assert asked(model="flux-tiny", count=1).megapixel_steps == 8 / 64


def test_a_mode_leaves_the_price_and_lessens_the_work() -> None:
    exact, quick = asked(), asked(mode=" Turbo ")
    assert (exact.mode, quick.mode) == (Mode.QUALITY, Mode.TURBO)
    assert quick.price(CATALOGUE) == exact.price(CATALOGUE)
    assert exact.work == exact.megapixel_steps == quick.megapixel_steps > asked(mode="fast").work > quick.work > 0
