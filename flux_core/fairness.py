"""Start-time fair queueing (Goyal, Vin and Cheng, 1996): whose turn it is, by cost and weight. Pure.

Guilds take turns with one another, each for what its jobs take. Within a guild, workers claim the smallest start tag;
the guild's virtual time is the largest start tag claimed. An account's turns follow one another in it, so many waiting
jobs of one account never stand before the first of another.
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


def change_hands(turns: Sequence[Turn], order: Sequence[int]) -> list[Turn]:
    """Return the turns of an account's waiting jobs when they shall come in another ``order`` (places in ``turns``).

    Each begins where the turn in its new place began, or behind the one before it where that takes longer, and early
    enough for all of them to end where the last one ended: whoever comes behind is not touched.
    """
    changed: list[Turn] = []
    lengths = [turns[place].finish - turns[place].start for place in order]
    for number, slot in enumerate(turns):
        latest = turns[-1].finish - sum(lengths[number:])
        start = max(changed[-1].finish, min(slot.start, latest)) if changed else slot.start
        changed.append(Turn(start, start + lengths[number]))
    return changed


def come_back(virtual_time: float, turns: Sequence[Turn]) -> list[Turn]:
    """Return the turns of an account's waiting jobs, in order, when it may be served again after a while.

    None starts before now; each still starts behind the one before it.
    """
    moved: list[Turn] = []
    end = virtual_time
    for turn in turns:
        moved.append(turn if turn.start >= end else Turn(end, end + turn.finish - turn.start))
        end = moved[-1].finish
    return moved


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
