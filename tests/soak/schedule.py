"""When something is killed: drawn from a seed and counted in orders, so that a run can be replayed on any machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

POSTGRESQL = "postgresql"
TOKENS = "tokens"
"""No process: every answer that the bot has had a message id for loses its interaction token."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How large the house is, and how long it is tried."""

    jobs: int
    bots: int = 2
    workers: int = 4
    server: bool = True
    """On PostgreSQL, which is killed as well; otherwise on a file of SQLite."""
    every: int = 15
    """Orders between two kills, on average."""
    until: float = 0.95
    """Part of the orders after which nothing is killed any more."""


@dataclass(frozen=True, slots=True)
class Kill:
    """What is killed at the same time, and when."""

    after: int
    """The number of accepted orders that have to be there."""
    delay: float
    """Seconds after that: less than a drawing takes, so that a kill meets any part of a job's life."""
    victims: tuple[str, ...]
    down: float
    """Seconds until it is started again."""

    def __str__(self) -> str:
        """Return one line of the report."""
        return f"order {self.after} + {self.delay:.2f} s: {' and '.join(self.victims)}, away for {self.down:.1f} s"


def draw_schedule(seed: int, setup: Setup) -> list[Kill]:
    """Return the kills in their order: every process, the server, and all pairs of them come up in turn."""
    chance = random.Random(f"kills {seed}")
    kinds = _kinds(setup)
    number = max(len(kinds), round(setup.jobs * setup.until / setup.every))
    # Every kind as often as any other, in an order of their own.
    turn = [kind for _ in range(number // len(kinds) + 1) for kind in chance.sample(kinds, len(kinds))][:number]
    moments = sorted(chance.randint(1, round(setup.jobs * setup.until)) for _ in turn)
    return [
        Kill(
            after=after,
            delay=chance.uniform(0, 0.5),
            victims=tuple(_names(kind, setup, chance)),
            down=0.0 if kind == (TOKENS,) else chance.uniform(0, 2),
        )
        for after, kind in zip(moments, turn, strict=True)
    ]


def _kinds(setup: Setup) -> list[tuple[str, ...]]:
    """Return what is killed together, by kinds of process."""
    kinds: list[tuple[str, ...]] = [("bot",), ("worker",), ("bot", "worker"), ("worker", "worker")]
    kinds += [(TOKENS,), ("bot", TOKENS)]
    if setup.bots > 1:
        kinds.append(("bot", "bot"))
    if setup.server:
        kinds += [(POSTGRESQL,), ("bot", POSTGRESQL), ("worker", POSTGRESQL)]
    return kinds


def _names(kind: Sequence[str], setup: Setup, chance: random.Random) -> list[str]:
    """Choose processes of these kinds, none twice."""
    bots = chance.sample(range(setup.bots), min(setup.bots, kind.count("bot")))
    workers = chance.sample(range(setup.workers), min(setup.workers, kind.count("worker")))
    others = [one for one in kind if one in (POSTGRESQL, TOKENS)]
    return [f"bot-{number}" for number in sorted(bots)] + [f"worker-{number}" for number in sorted(workers)] + others
