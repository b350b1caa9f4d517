"""The schedule of kills is drawn from its seed alone, and leaves nothing out."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.soak.schedule import POSTGRESQL, TOKENS, Setup, draw_schedule

LONG = Setup(2000)
SHORT = Setup(40, every=5)
SMALL = Setup(100, bots=1, workers=2, server=False)


@pytest.mark.parametrize("setup", [LONG, SHORT, SMALL])
def test_a_seed_always_draws_the_same_kills(setup: Setup) -> None:
    assert draw_schedule(7, setup) == draw_schedule(7, setup)
    assert draw_schedule(7, setup) != draw_schedule(8, setup)


def test_every_kind_of_process_and_every_pair_is_killed_about_as_often() -> None:
    schedule = draw_schedule(7, LONG)
    kinds = Counter(tuple(name.partition("-")[0] for name in kill.victims) for kill in schedule)
    assert set(kinds) == {
        *(("bot",), ("worker",), (POSTGRESQL,), (TOKENS,)),
        *(("bot", "bot"), ("worker", "worker"), ("bot", "worker"), ("bot", POSTGRESQL), ("worker", POSTGRESQL)),
        ("bot", TOKENS),
    }
    assert max(kinds.values()) - min(kinds.values()) <= 1
    assert len(schedule) > 100
    killed = Counter(name for kill in schedule for name in kill.victims)
    assert {name for name in killed if name[-1].isdigit()} == {"bot-0", "bot-1", *(f"worker-{n}" for n in range(4))}
    assert [kill.after for kill in schedule] == sorted(kill.after for kill in schedule)
    assert schedule[-1].after <= 2000 * LONG.until
    assert all(len(set(kill.victims)) == len(kill.victims) for kill in schedule)


def test_a_file_of_sqlite_is_not_killed_and_one_bot_is_no_pair() -> None:
    names = {name for kill in draw_schedule(7, SMALL) for name in kill.victims}
    assert names == {"bot-0", "worker-0", "worker-1", TOKENS}
