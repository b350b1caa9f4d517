"""Whoever watches over work that may hang: patient with what is slow, and with a process that was stopped."""

from __future__ import annotations

import threading
import time
from itertools import count

from flux_core.worker.watchdog import FACTOR, FIRST_FACTOR, FIRST_SECONDS, StepPace, Watchdog


def test_who_gives_no_sign_of_life_is_told_of_once() -> None:
    told, done = [], threading.Event()

    def on_hang(said: str) -> None:
        told.append(said)
        done.set()

    dog = Watchdog(on_hang, tick=0.01)
    with dog.over("something slow", 600.0), dog.over("a step", 0.1):
        assert done.wait(20)
        time.sleep(0.1)
    assert told == ["a step has given no sign of life for 0 s"]


def test_who_gives_signs_of_life_may_take_as_long_as_it_likes() -> None:
    told: list[str] = []
    dog = Watchdog(told.append, tick=0.01)
    with dog.over("steps", 30.0) as guarded:
        for _ in range(5):
            time.sleep(0.05)
            guarded.renew(30.0)
            assert guarded.left > 29
            assert guarded.seconds < 20
    dog.close()
    assert told == []


def test_a_process_that_was_stopped_did_not_hang(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Every look finds that an hour has passed, as after a night of a laptop: each counts as two ticks and no more."""
    looks, done = count(), threading.Event()
    monkeypatch.setattr("flux_core.worker.watchdog.time.monotonic", lambda: 3600.0 * next(looks))
    dog = Watchdog(lambda said: done.set(), tick=0.01)
    with dog.over("a step", 1.0):
        assert done.wait(60)
    assert next(looks) > 50, "a second is fifty looks of two ticks, however many hours the clock tells"


def test_what_the_compiler_took_is_no_measure_of_a_step() -> None:
    pace, kind = StepPace(60), ("flux-dev", 1024)
    pace.took(kind, 600)
    assert pace.bound(kind) == FACTOR * 600, "it may just be a slow machine"
    pace.took(kind, 100)
    assert pace.bound(kind) == FACTOR * 100
    pace.took(kind, 1)
    assert pace.bound(kind) == FACTOR * 100


def test_a_step_that_leaves_most_out_is_no_measure_for_one_that_does_not() -> None:
    """Turbo on a processor: the first step takes two minutes, the second next to nothing, the third two minutes."""
    pace, kind = StepPace(60), ("flux-dev", 1024, "turbo")
    pace.took(kind, 120)
    pace.took(kind, 2)
    assert pace.bound(kind) == FIRST_FACTOR * 120


def test_nothing_is_watched_where_nobody_wants_to_know() -> None:
    threads = threading.active_count()
    with Watchdog().over("a step", 0.0):
        assert threading.active_count() == threads


def test_a_step_may_take_long_at_first_and_then_twenty_times_what_its_like_took() -> None:
    pace = StepPace(60.0)
    assert pace.bound(("flux-dev", 1024)) == FIRST_SECONDS
    pace.took(("flux-dev", 1024), 0.5)
    assert pace.bound(("flux-dev", 1024)) == 60.0
    pace.took(("flux-dev", 1024), 30.0)
    pace.took(("flux-dev", 1024), 1.0)
    assert pace.bound(("flux-dev", 1024)) == FACTOR * 30
    assert pace.bound(("flux-dev", 2048)) == FIRST_SECONDS
