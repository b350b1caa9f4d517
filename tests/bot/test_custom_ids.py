"""What buttons carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.layouts.custom_ids import Action, Press, parse

JOB = "0123456789abcdef01234567"


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.VARY])
def test_a_press_survives_its_custom_id(action: Action) -> None:
    assert parse(str(Press(action, JOB))) == Press(action, JOB)


@pytest.mark.parametrize("position", range(4))
def test_a_variation_carries_its_picture(position: int) -> None:
    press = Press(Action.VARY, JOB, position)
    assert str(press) == f"flux:vary:{JOB}:{position + 1}"
    assert parse(str(press)) == press


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "flux",
        "flux:reroll",
        "flux:reroll:",
        f"flux:reroll:{JOB[:-1]}",
        f"flux:reroll:{JOB}0",
        f"flux:reroll:{JOB.upper()}",
        f"flux:reroll:{JOB}\n",
        f" flux:reroll:{JOB}",
        f"flux:REROLL:{JOB}",
        f"flux:reroll:{JOB}:1",
        f"flux:vary:{JOB}",
        f"flux:vary:{JOB}:0",
        f"flux:vary:{JOB}:5",
        f"flux:vary:{JOB}:1:1",
        f"flux:vary:{JOB}:١",
        f"flux:grant:{JOB}",
        f"other:reroll:{JOB}",
        f"flux:reroll:{'٠' * 24}",
    ],
)
def test_forged_ids_are_nobodys(forged: str) -> None:
    assert parse(forged) is None


@given(st.text(max_size=100))
def test_whatever_is_read_was_written_by_us(text: str) -> None:
    press = parse(text)
    assert press is None or str(press) == text
