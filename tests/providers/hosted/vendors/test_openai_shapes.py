"""What errors say, whichever framework wrote them down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flux_core.providers.hosted.transport import Answer
from flux_core.providers.hosted.vendors.openai_shapes import MODERATED, NO_MODEL, complaint, whole


def said(body: Any) -> tuple[str, str | None, set[str]]:
    found = complaint(Answer(400, {}, json.dumps(body).encode()))
    return found.text, found.field, set(found.codes)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"error": {"message": "No.", "type": "Invalid_Request_Error", "param": "size", "code": "bad"}},
            ("No.", "size", {"invalid_request_error", "bad"}),
        ),
        ({"error": {"code": 500, "message": "rpc", "type": ""}}, ("rpc", None, {""})),
        ({"error": "plain"}, ("plain", None, set())),
        ({"detail": "Not Found"}, ("Not Found", None, set())),
        ({"detail": {"error": "no"}}, ("no", None, set())),
        ({"detail": [{"loc": ["body", "a", 0], "msg": "bad"}, "odd"]}, ("a.0: bad; odd", "a.0", set())),
        ({"statusCode": "400", "error": "Bad Request", "message": "why"}, ("why", None, set())),
        ({"error": True, "message": "why", "code": "x"}, ("why", None, {"x"})),
        ({"message": ["one", "two"], "error": ""}, ("one; two", None, set())),
        ({"error": {"message": ["one", "two"]}}, ("one; two", None, set())),
        ({"error": None}, ("", None, set())),
        ({}, ("", None, set())),
        ([], ("", None, set())),
        ("text", ("", None, set())),
        ({"detail": 7}, ("7", None, set())),
    ],
)
def test_it_is_found_wherever_it_is_written(body: Any, expected: tuple[str, str | None, set[str]]) -> None:
    assert said(body) == expected


def test_a_line_is_never_long() -> None:
    text, _, _ = said({"error": {"message": "word \n" * 500}})
    assert len(text) <= 300
    assert "\n" not in text


@pytest.mark.parametrize(
    "text", ["NSFW content", "blocked by moderation", "violates our content policy", "flagged", "our safety system"]
)
def test_words_of_moderation(text: str) -> None:
    assert MODERATED.search(text)


@pytest.mark.parametrize(
    "text",
    ["Invalid enable_safety_checker", "safety_tolerance must be below 7", "unsafe characters", "check_nsfw_level"],
)
def test_names_of_fields_are_no_moderation(text: str) -> None:
    assert not MODERATED.search(text)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("The model `x` does not exist", True),
        ("Model flux/dev not found", True),
        ("Unable to access model x. Please visit", True),
        ("could not load model: rpc error", True),
        ("Not Found", False),
        ("Invalid size for this model", False),
        ("no model specified", False),
    ],
)
def test_words_of_a_model_that_is_not_there(text: str, missing: bool) -> None:
    assert bool(NO_MODEL.search(text)) is missing


@pytest.mark.parametrize(("value", "expected"), [(7, 7), ("7", 7), (True, None), (None, None), (-1, None), (1.5, None)])
def test_whole_numbers(value: object, expected: int | None) -> None:
    assert whole(value) == expected
