"""A stand-in vendor in a process of its own. It writes address and key to the file it is told."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.providers.hosted.vendors.replicate_standin import ReplicateStandIn

POLLS = 12
"""Until a picture is done: about half a minute, as the worker asks more and more slowly."""


async def main(file: Path) -> None:
    async with ReplicateStandIn() as standin:
        standin.polls_needed = POLLS
        file.write_text(json.dumps({"REPLICATE_BASE_URL": standin.base_url, "REPLICATE_API_KEY": standin.key}))  # noqa: ASYNC240
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
