"""Play many lives, and print the seed with which they can be played again.

``python -m tests.database.life --examples 2000 --seed 7 --database both``
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Literal, get_args

from tests.database.life.base import Base
from tests.database.life.machine import live

Kind = Literal["sqlite", "postgresql"]


def main() -> int:
    """Play until all examples are done, or one fails; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.database.life", description=__doc__)
    parser.add_argument("--examples", type=int, default=2000, help="lives on each database")
    parser.add_argument("--steps", type=int, default=100, help="most deeds in a life")
    parser.add_argument("--seed", type=int, default=None, help="of the lives of an earlier run")
    parser.add_argument("--database", choices=[*get_args(Kind), "both"], default="both")
    parser.add_argument("--no-shrink", action="store_true", help="print the program that fails as it was found")
    asked = parser.parse_args()
    seed = random.randrange(10**9) if asked.seed is None else asked.seed
    for kind in get_args(Kind) if asked.database == "both" else [asked.database]:
        print(f"{asked.examples} lives of {asked.steps} deeds on {kind}, seed {seed}", flush=True)  # noqa: T201
        began = time.monotonic()
        Base.met.clear()
        live(kind, examples=asked.examples, steps=asked.steps, from_seed=seed, shortest=not asked.no_shrink)
        met = dict(sorted(Base.met.items()))
        print(f"  all is right after {time.monotonic() - began:.0f} s; what they met: {met}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
