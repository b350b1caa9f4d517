"""A real worker process whose pictures cost nothing to draw, so that the bot is what is measured."""

from __future__ import annotations

import asyncio
import sys

from flux_core.providers.scripted import ScriptedProvider
from flux_core.settings import load_settings
from flux_core.worker.process import run_worker

if __name__ == "__main__":
    settings = load_settings()
    # As many at once as it likes, at no cost; or with an argument one after the other, each step for so many seconds.
    pace = {"concurrency": 4} if len(sys.argv) < 2 else {"step_seconds": float(sys.argv[1])}
    asyncio.run(run_worker(settings, provider=ScriptedProvider(settings.catalogue, **pace)))  # type: ignore[arg-type]
