"""One error tree: drawn completely, codes that stay, failures that can be rebuilt from the database."""

from __future__ import annotations

import json

import pytest

from flux_core import errors
from flux_core.errors import FluxError, GenerationFailed, MemberError, from_code, walk

KINDS = list(walk())


def test_every_error_is_in_the_drawing() -> None:
    assert errors.__doc__ is not None
    missing = [kind.__name__ for kind in KINDS if kind.__name__ not in errors.__doc__]
    assert missing == []


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_survives_the_database(kind: type[FluxError]) -> None:
    before = kind(attempts=3, reason="x")
    after = from_code(before.code, json.loads(json.dumps(before.facts)))
    assert type(after) is kind
    assert after.facts == before.facts
    assert str(after) == f"{kind.code} (attempts=3, reason=x)"


def test_a_code_of_another_version_is_a_failure() -> None:
    assert type(from_code("gone_with_the_wind", {})) is GenerationFailed
    assert str(FluxError()) == "internal"
    assert str(FluxError("the disk is full")) == "the disk is full"


def test_only_what_may_work_next_time_is_tried_again() -> None:
    assert {kind.__name__ for kind in walk(GenerationFailed) if kind.retryable} == {"DrawingBroken"}  # type: ignore[attr-defined]
    assert not any(issubclass(kind, MemberError) for kind in walk(GenerationFailed))
