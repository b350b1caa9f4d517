"""What becomes of pictures that a check thinks are not for everybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.moderation.output import fate, needs_check, shows_drafts
from flux_core.policy.guild import OutputRule

ACTIONS = ["allow", "spoiler", "age_restricted", "refuse"]


@pytest.mark.parametrize(
    ("action", "here", "in_age_restricted"),
    [
        ("allow", "show", "show"),
        ("spoiler", "spoiler", "spoiler"),
        ("age_restricted", "refuse", "show"),
        ("refuse", "refuse", "refuse"),
    ],
)
def test_each_action_in_each_kind_of_channel(action: str, here: str, in_age_restricted: str) -> None:
    rule = OutputRule.model_validate({"action": action, "threshold": 0.5})
    assert fate(rule, [0.1, 0.5], age_restricted=False) == here
    assert fate(rule, [0.1, 0.5], age_restricted=True) == in_age_restricted


@given(st.sampled_from(ACTIONS), st.lists(st.none() | st.floats(0, 1)), st.floats(0.01, 1), st.booleans())
def test_only_pictures_over_the_threshold_matter(
    action: str, unsafe: list[float | None], threshold: float, age_restricted: bool
) -> None:
    rule = OutputRule.model_validate({"action": action, "threshold": threshold})
    if all(sure is None or sure < threshold for sure in unsafe):
        assert fate(rule, unsafe, age_restricted=age_restricted) == "show"
    else:
        assert fate(rule, unsafe, age_restricted=age_restricted) == fate(rule, [1.0], age_restricted=age_restricted)


@given(st.sampled_from(ACTIONS), st.booleans())
def test_a_check_is_needed_where_it_might_refuse_and_drafts_are_shown_where_nothing_would_happen(
    action: str, age_restricted: bool
) -> None:
    rule = OutputRule.model_validate({"action": action})
    worst = fate(rule, [1.0], age_restricted=age_restricted)
    assert needs_check(rule, age_restricted=age_restricted) == (worst == "refuse")
    assert shows_drafts(rule, age_restricted=age_restricted) == (worst == "show")
