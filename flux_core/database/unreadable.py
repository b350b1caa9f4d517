"""Orders that this version cannot read: damaged ones, and those of a version that is too new or long outgrown.

Such a row stops nobody. It is listed with words that say so, never drawn again, and given up by whoever claims it.
"""

from __future__ import annotations

import json

from pydantic import ValidationError

from flux_core.generation import GenerationRequest

WORDS = "An order that cannot be read"
"""What stands in place of the prompt."""


def request_in(text: str) -> GenerationRequest | None:
    """Return the request that a row holds, or None where it cannot be read."""
    try:
        return GenerationRequest.model_validate_json(text)
    except ValidationError:
        return None


def stand_in(model: str) -> GenerationRequest:
    """Return what stands in place of a request for ``model`` that cannot be read: it is listed, and never drawn."""
    return GenerationRequest(
        prompt=WORDS, model=model, width=1024, height=1024, steps=1, guidance=None, seed=0, count=1
    )


def object_in(text: str) -> dict[str, object]:
    """Return the JSON object in ``text``; an empty one where there is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
