"""A worker process that draws by script: ``python -m tests.worker.scripted_worker <seconds a step> [supervised]``."""

from __future__ import annotations

import asyncio
import sys

from flux_core.logs import configure_logging
from flux_core.providers.scripted import ScriptedProvider
from flux_core.settings import load_settings
from flux_core.worker_process import run_worker


def main() -> None:
    """Run until stopped."""
    settings = load_settings()
    configure_logging(settings)
    provider = ScriptedProvider(settings.catalogue, step_seconds=float(sys.argv[1]))
    asyncio.run(run_worker(settings, provider=provider, supervised="supervised" in sys.argv))


if __name__ == "__main__":
    main()
