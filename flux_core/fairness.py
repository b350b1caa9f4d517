"""Start-time fair queueing (Goyal, Vin and Cheng, 1996): whose turn it is, by cost and weight. Pure.

Workers claim the smallest start tag. Virtual time is the largest start tag claimed. An account's turns follow one
another in virtual time, so many waiting jobs of one account never stand before the first of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """The stretch of virtual time that a job takes up."""

    start: float
    finish: float


def next_turn(virtual_time: float, last_finish: float, cost: int, weight: float) -> Turn:
    """Return the turn of an account's next job: after its last one, and not before now."""
    start = max(virtual_time, last_finish)
    return Turn(start, start + max(cost, 1) / weight)


def move_up(gone: Turn, later: Sequence[Turn]) -> list[Turn]:
    """Return the turns of an account's ``later`` waiting jobs, in order, after its job ``gone`` left the queue.

    Turns that followed it without a gap close up, as though it had never been submitted; a turn that started later
    because virtual time had moved on, and all behind it, stay.
    """
    moved: list[Turn] = []
    free, end = gone.start, gone.finish
    for turn in later:
        if turn.start != end:
            break
        moved.append(Turn(free, free + turn.finish - turn.start))
        free, end = moved[-1].finish, turn.finish
    return moved + list(later[len(moved) :])
