"""A worker prefers models that it has loaded, and nobody waits for that beyond the bound."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flux_core.affinity import PASSES, WINDOW, InLine, choose

_models = st.sampled_from("xyz")
_jobs = st.tuples(_models, st.integers(1, 3))


def test_the_first_job_for_a_loaded_model_is_taken() -> None:
    line = [InLine("x", 1), InLine("x", 1), InLine("y", 1), InLine("y", 1)]
    assert choose(line, {"y"}) == 2
    assert choose(line, {"x"}) == choose(line, {"x", "y"}) == choose(line, set()) == choose(line, {"z"}) == 0


def test_who_was_passed_over_often_enough_is_next() -> None:
    assert choose([InLine("x", 1, PASSES), InLine("y", 1)], {"y"}) == 0
    assert choose([InLine("x", 1, PASSES - 1), InLine("y", 1)], {"y"}) == 1
    assert choose([InLine("x", 1), InLine("x", 1, PASSES), InLine("y", 1)], {"y"}) == 0


def test_guilds_keep_their_own_order_where_several_wait() -> None:
    assert choose([InLine("x", 1), InLine("y", 1), InLine("y", 2)], {"y"}) == 2
    assert choose([InLine("x", 1), InLine("y", 1), InLine("x", 2)], {"y"}) == 0


def test_nobody_looks_further_than_the_window() -> None:
    line = [InLine("x", 1)] * WINDOW + [InLine("y", 1)]
    assert choose(line, {"y"}) == 0


@given(
    first=st.lists(_jobs, min_size=1, max_size=40), workers=st.lists(_models, min_size=1, max_size=4), data=st.data()
)
def test_no_job_is_taken_more_than_a_few_jobs_late(
    first: list[tuple[str, int]], workers: list[str], data: st.DataObject
) -> None:
    """Jobs arrive all the time, workers change their models as they draw; the line is drawn to its end."""
    line = list(enumerate(first))
    passed: Counter[int] = Counter()
    arrived, left = len(line), 30
    while line:
        number = data.draw(st.integers(0, len(workers) - 1))
        place = choose([InLine(model, guild, passed[job]) for job, (model, guild) in line], {workers[number]})
        passed.update(job for job, _ in line[:place])
        if place:
            assert line[place][1][0] == workers[number], "out of turn only for a model that is there"
        workers[number] = line.pop(place)[1][0]
        if left and data.draw(st.booleans()):
            line.append((arrived, data.draw(_jobs)))
            arrived, left = arrived + 1, left - 1
    assert max(passed.values(), default=0) <= PASSES
