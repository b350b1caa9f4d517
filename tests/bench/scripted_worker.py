"""A real worker process whose pictures cost nothing to draw, so that the bot is what is measured."""

from __future__ import annotations

import asyncio

from flux_core.providers.scripted import ScriptedProvider
from flux_core.settings import load_settings
from flux_core.worker_process import run_worker

if __name__ == "__main__":
    settings = load_settings()
    asyncio.run(run_worker(settings, provider=ScriptedProvider(settings.catalogue, concurrency=4)))
