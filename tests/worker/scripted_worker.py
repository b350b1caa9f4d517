"""A worker process that draws by script.

``python -m tests.worker.scripted_worker <seconds a step> [supervised] [stuck]``; a stuck one never closes its provider.
"""

from __future__ import annotations

import asyncio
import sys
import threading

from flux_core.logs import configure_logging
from flux_core.providers.scripted import ScriptedProvider
from flux_core.settings import load_settings
from flux_core.worker import process as worker_process


class Stuck(ScriptedProvider):
    """Closes like an engine in the middle of a download."""

    async def close(self) -> None:
        """Wait for a thread that Python would wait for as well."""
        thread = threading.Thread(target=threading.Event().wait)
        thread.start()
        await asyncio.to_thread(thread.join)


def main() -> None:
    """Run until stopped."""
    settings = load_settings()
    configure_logging(settings)
    kind = ScriptedProvider
    if "stuck" in sys.argv:
        kind, worker_process.STOP_SECONDS = Stuck, 0.3
    provider = kind(settings.catalogue, step_seconds=float(sys.argv[1]))
    asyncio.run(worker_process.run_worker(settings, provider=provider, supervised="supervised" in sys.argv))


if __name__ == "__main__":
    main()
