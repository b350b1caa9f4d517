"""The order of the tests when several processes share them: what takes long goes first, and in half of them alone.

``--dist worksteal`` gives each process an equal run of neighbouring tests, and lets one that has no more take from the
end of another's. Long tests at an end would keep one process busy while the others have nothing left; long ones in all
processes at once would keep each other waiting. So half of the processes begin with long tests, most of which wait
for processes of their own, and the others have short ones, which fill the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest

HEAVY = (
    "tests/e2e/",
    "tests/soak/",
    "tests/database/test_spending_spree.py",
    "tests/database/test_processes.py",
    "tests/database/test_life.py",
    "tests/database/test_hammer.py",
    "tests/database/test_engine.py",
    "tests/gpu/test_compiled_blocks.py",
    "tests/gpu/test_bench.py",
    "tests/tiny/",
    "tests/bot/test_slow_bucket.py",
    "tests/bot/test_admin_bad_input.py",
    "tests/database/test_fair_bounds.py",
    "tests/worker/test_output_check.py",
    "tests/worker/test_hang.py",
    "tests/worker/test_worker_process.py",
    "tests/test_imports.py",
)
"""Files and folders with tests of several seconds, in the order in which they begin."""
T = TypeVar("T")


def in_order(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """Return ``items`` for this many processes; for one, in the order they have."""
    if processes < 2:
        return list(items)
    long: dict[str, list[pytest.Item]] = {}
    short: list[pytest.Item] = []
    for item in items:
        file = item.nodeid.partition("::")[0]
        if _rank(file) is None:
            short.append(item)
        else:
            long.setdefault(file, []).append(item)
    files = [long[file] for file in sorted(long, key=lambda file: (_rank(file), file))]
    return shared_out(files, short, processes)


def shared_out(files: Sequence[Sequence[T]], short: Sequence[T], processes: int) -> list[T]:
    """Return all tests in runs of equal length, every other of which begins with those of its share of ``files``.

    The tests of a file stay together, so that what they share is made once.
    """
    starters = (processes + 1) // 2
    fillers, unsent = list(short), sum(map(len, files)) + len(short)
    order: list[T] = []
    for process in range(processes):
        size = unsent // (processes - process)  # as xdist reckons
        unsent -= size
        first = [] if process % 2 else [item for file in files[process // 2 :: starters] for item in file]
        room = max(0, size - len(first))
        order += first + fillers[:room]
        del fillers[:room]
    return order + fillers


def _rank(file: str) -> int | None:
    """Return a file's place among those that take long; None where it takes no time to speak of."""
    return next((rank for rank, path in enumerate(HEAVY) if file.startswith(path)), None)
