"""Turns in virtual time, without any database."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flux_core.fairness import Turn, change_hands, come_back, move_up, next_turn

costs = st.integers(1, 5000)


def test_a_turn_starts_now_or_after_the_last_one() -> None:
    assert next_turn(10.0, 0.0, 4, 1.0) == Turn(10.0, 14.0)
    assert next_turn(10.0, 25.0, 4, 2.0) == Turn(25.0, 27.0)


def test_even_a_free_job_takes_a_turn() -> None:
    assert next_turn(0.0, 0.0, 0, 1.0).finish > 0


def queue_of(costs: list[int], start: float = 0.0) -> list[Turn]:
    turns: list[Turn] = []
    for cost in costs:
        turns.append(next_turn(0.0, turns[-1].finish if turns else start, cost, 1.0))
    return turns


@given(st.lists(costs, min_size=1, max_size=8), st.data())
def test_moving_up_is_as_if_the_job_had_never_been(waiting: list[int], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(waiting) - 1))
    turns = queue_of(waiting)
    without = queue_of(waiting[:gone] + waiting[gone + 1 :])
    assert turns[:gone] + move_up(turns[gone], turns[gone + 1 :]) == without


def test_turns_after_a_pause_stay() -> None:
    later = [Turn(4.0, 6.0), Turn(9.0, 12.0), Turn(12.0, 13.0)]
    assert move_up(Turn(1.0, 4.0), later) == [Turn(1.0, 3.0), *later[1:]]
    assert move_up(Turn(0.0, 1.0), later) == later
    assert move_up(Turn(0.0, 1.0), []) == []


@given(st.integers(1, 200), st.lists(costs, min_size=1, max_size=20), costs)
def test_a_flooder_stands_before_anybody_once_at_most(flood: int, others: list[int], cost: int) -> None:
    """However many jobs one account has queued, and whatever they cost, at most one goes before each newcomer."""
    flooder = queue_of([cost] * flood)
    virtual_time = flooder.pop(0).start
    newcomers = [next_turn(virtual_time, 0.0, other, 1.0) for other in others]
    for newcomer in newcomers:
        assert sum(turn.start < newcomer.start for turn in flooder) == 0


@given(gaps=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=8), data=st.data())
def test_turns_change_hands_within_their_stretch(gaps: list[tuple[int, int]], data: st.DataObject) -> None:
    turns, end = [], 0.0
    for gap, length in gaps:
        turns.append(Turn(end + gap, end + gap + length))
        end = turns[-1].finish
    order = data.draw(st.permutations(range(len(turns))))
    changed = change_hands(turns, order)
    assert changed[0].start == turns[0].start
    assert changed[-1].finish <= turns[-1].finish
    for place, turn in zip(order, changed, strict=True):
        assert turn.finish - turn.start == turns[place].finish - turns[place].start
    assert all(first.finish <= second.start for first, second in pairwise(changed))
    assert change_hands(turns, range(len(turns))) == turns


def test_who_comes_back_stands_where_it_is_now() -> None:
    turns = [Turn(0.0, 3.0), Turn(3.0, 4.0), Turn(30.0, 31.0)]
    assert come_back(10.0, turns) == [Turn(10.0, 13.0), Turn(13.0, 14.0), Turn(30.0, 31.0)]
    assert come_back(2.0, turns) == [Turn(2.0, 5.0), Turn(5.0, 6.0), Turn(30.0, 31.0)]
    assert come_back(0.0, turns) == turns
    assert come_back(10.0, []) == []
