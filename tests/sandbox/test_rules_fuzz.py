"""Whatever JSON a bot or a member sends, the rules answer with violations and never with an exception."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import pytest

from bot.sandbox import errors
from bot.sandbox.composing import Body, check_body
from bot.sandbox.errors import ApiError
from bot.sandbox.faults import check_patch
from bot.sandbox.rules.commands import check_overwrite
from bot.sandbox.rules.forms import Violation
from bot.sandbox.rules.invocations import DoesNotFit, fit_options
from bot.sandbox.rules.messages import CHANNEL_FORM, check_outcome
from bot.sandbox.rules.modals import check_answer, check_modal, fields_of

CASES = 400
KEYS = [
    *("type", "components", "component", "accessory", "content", "items", "media", "url", "custom_id", "style"),
    *("label", "options", "name", "value", "description", "id", "min_values", "max_values", "flags", "embeds"),
    *("fields", "footer", "image", "attachments", "allowed_mentions", "parse", "users", "nonce", "choices"),
    *("required", "autocomplete", "default", "emoji", "title", "file", "spacing", "values"),
]
SCALARS: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 17, 18, 19, 21, 22, 23, 1.5, 1e300),
    *("", "a", "b", "attachment://a.png", "attachment://b.png", "https://x/y", "x" * 101, "1"),
]


def anything(random: Random, depth: int = 4) -> Any:
    """Make a JSON value whose objects use the names that Discord's do."""
    shape = random.random() if depth else 0.0
    if shape < 0.45:
        return random.choice(SCALARS)
    if shape < 0.7:
        return [anything(random, depth - 1) for _ in range(random.randrange(4))]
    return {random.choice(KEYS): anything(random, depth - 1) for _ in range(random.randrange(7))}


def likely(random: Random, depth: int = 3) -> Any:
    """Make something close to a component or an option: often right, often not."""
    kind = random.choice([1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 17, 18, 19, 21, 22, 23])
    made: dict[str, Any] = {"type": kind, "custom_id": random.choice("abcdef"), "style": 1, "label": "l"}
    made |= {"content": "c", "name": random.choice("abcdef"), "description": "d"}
    made |= {"options": [{"label": "a", "value": random.choice("ab"), "name": "n"}]}
    made |= {"items": [{"media": {"url": random.choice(SCALARS[-8:])}}], "media": {"url": "https://x/y"}}
    if depth:
        made["components"] = [likely(random, depth - 1) for _ in range(random.randrange(1, 4))]
        made["component"] = made["accessory"] = likely(random, depth - 1)
    for key in random.sample(sorted(made), random.randrange(len(made))):
        made[key] = anything(random, 2) if random.random() < 0.2 else made[key]
        if random.random() < 0.5:
            del made[key]
    return made


def well_formed(violations: list[Violation]) -> list[Violation]:
    """Check that violations can be answered, and hand them on."""
    assert all(violation.code and violation.message for violation in violations)
    assert not violations or errors.invalid_form(violations).body()["errors"]
    return violations


def refused(body: Body) -> bool:
    """Tell whether a body is refused for its fields, in Discord's shape."""
    try:
        check_body(body, CHANNEL_FORM, kept={})
    except ApiError as error:
        return error.code == 50035 and bool(error.body()["errors"])
    return False


@pytest.fixture
def random() -> Random:
    return Random(20_261_121)


def test_messages(random: Random) -> None:
    for number in range(CASES):
        components = [likely(random) for _ in range(random.randrange(1, 4))] if number % 2 else anything(random)
        embeds = anything(random) if number % 3 else None
        if not refused(Body({"components": components, "embeds": embeds})):
            outcome = check_outcome(
                content="", embeds=embeds, components=components, v2=random.random() < 0.7, filenames=["a.png"]
            )
            well_formed(list(outcome))


def test_message_fields(random: Random) -> None:
    messages = {"components", "flags", "embeds", "attachments", "content", "allowed_mentions", "nonce"}
    for _ in range(CASES):
        fields = {random.choice(KEYS): anything(random) for _ in range(5)}
        assert refused(Body(fields)) or fields.keys() <= messages


def test_commands(random: Random) -> None:
    for number in range(CASES):
        commands = [likely(random) for _ in range(3)] if number % 2 else anything(random)
        well_formed(list(check_overwrite(commands)))


def test_modals(random: Random) -> None:
    for number in range(CASES):
        modal: Any = anything(random)
        if number % 4:
            modal = {"custom_id": "m", "title": "t", "components": [likely(random)]}
        well_formed(list(check_modal(modal)))


OPTIONS = [{"label": "A", "value": "a"}, {"label": "B", "value": "b"}]
FIELDS: list[dict[str, Any]] = [
    {"type": 4, "custom_id": "x", "style": 1, "min_length": 2},
    {"type": 3, "custom_id": "x", "options": OPTIONS},
    {"type": 5, "custom_id": "x", "required": False},
    {"type": 19, "custom_id": "x", "max_values": 3},
    {"type": 21, "custom_id": "x", "options": OPTIONS},
    {"type": 22, "custom_id": "x", "options": OPTIONS, "min_values": 0},
    {"type": 23, "custom_id": "x"},
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field["type"]))
def test_answers_to_modals(random: Random, field: dict[str, Any]) -> None:
    label = {"type": 18, "label": "X", "component": field}
    assert not list(check_modal({"custom_id": "m", "title": "t", "components": [label]}))
    for _ in range(CASES):
        answer = {"type": field["type"], "custom_id": "x", "value": anything(random, 2), "values": anything(random, 2)}
        for given in (None, {}, answer):
            wrong = check_answer("X", field, given)
            assert wrong is None or wrong.startswith("X: ")
        fields_of([{"type": 18, "component": anything(random)}])


def test_options_of_members(random: Random) -> None:
    registered = [{"type": kind, "name": f"o{kind}", "description": "x"} for kind in range(3, 12)]
    for _ in range(CASES):
        value = anything(random, 2)
        for options in (anything(random), *([{"name": f"o{kind}", "value": value}] for kind in range(3, 12))):
            with contextlib.suppress(DoesNotFit):
                fit_options(registered, options, {})


def test_faults(random: Random) -> None:
    names = ["rest_500", "rest_429", "deny", "retry_after", "global", "drop_gateway", "slow_ms", "closed_dms"]
    for _ in range(CASES):
        well_formed(list(check_patch({random.choice(names): anything(random, 2)}, ())))
        well_formed(list(check_patch(anything(random, 2), ())))
