"""``make soak``: the long run on PostgreSQL, a shorter one on SQLite; status 1 where a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
from pathlib import Path

from tests.soak.report import written
from tests.soak.run import Result, Run
from tests.soak.schedule import Setup

SQLITE_PART = 4
"""The run on SQLite has a quarter of the jobs: everything runs on one machine there, and less can be killed."""


async def soak(setup: Setup, seed: int, logs: Path | None) -> Result:
    """Run once in a folder that is removed afterwards, or kept under ``logs``."""
    with tempfile.TemporaryDirectory(prefix="flux-soak-") as folder:
        kept = Path(folder) if logs is None else logs / ("postgresql" if setup.server else "sqlite")
        kept.mkdir(parents=True, exist_ok=True)
        async with Run(kept, setup, seed) as run:
            return await run.go()


def main() -> None:
    """Run, print the reports, and write them to a file where one is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None, help="repeats the kills of an earlier run")
    parser.add_argument("--only", choices=("postgresql", "sqlite"), help="one of the two runs")
    parser.add_argument("--bots", type=int, default=2, help="bot processes on PostgreSQL; SQLite has one")
    parser.add_argument("--report", type=Path, help="file that gets the reports as well")
    parser.add_argument("--keep", type=Path, help="folder that keeps databases, pictures and logs")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("tests.soak").setLevel(logging.INFO)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    setups = []
    if given.only != "sqlite":
        setups.append(Setup(given.jobs, bots=given.bots))
    if given.only != "postgresql":
        setups.append(Setup(max(1, given.jobs // SQLITE_PART), bots=1, server=False))
    texts, broken = [], False
    for setup in setups:
        result = asyncio.run(soak(setup, seed, given.keep))
        texts.append(written(result, f"make soak SEED={seed} JOBS={given.jobs}"))
        broken |= bool(result.findings.wrong)
        print(texts[-1], end="\n\n", flush=True)  # noqa: T201 (the report)
    if given.report is not None:
        given.report.write_text("\n\n".join(texts) + "\n")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
