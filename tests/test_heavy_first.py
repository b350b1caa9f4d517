"""The order in which several processes run the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.heavy_first import HEAVY, shared_out

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("processes", [2, 3, 4, 6])
@pytest.mark.parametrize("tests", [40, 41, 42, 43, 6251])
def test_every_other_process_begins_with_long_tests_and_none_ends_with_one(processes: int, tests: int) -> None:
    files = [[f"long{file}-{number}" for number in range(file % 2 + 1)] for file in range(3)]
    short = [f"short{number}" for number in range(tests - 4)]
    order = shared_out(files, short, processes)
    assert sorted(order) == sorted([*short, *(test for file in files for test in file)])
    unsent = list(order)
    for process in range(processes):
        run = [unsent.pop(0) for _ in range(len(unsent) // (processes - process))]
        long = [test.startswith("long") for test in run]
        assert long == sorted(long, reverse=True), "long ones first"
        assert process % 2 == 0 or not any(long)
    assert [order.index(test) for test in files[1]] == [order.index(files[1][0]), order.index(files[1][0]) + 1]


def test_what_takes_long_is_there() -> None:
    assert [path for path in HEAVY if not (ROOT / path).exists()] == []
