"""Running a sandbox by itself."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from bot.sandbox.server import Sandbox, serve


async def test_serve_until_cancelled() -> None:
    ready: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(port=0, ready=ready.set_result))
    sandbox = await asyncio.wait_for(ready, 30)
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{sandbox.base_url}/healthz")).json() == {"ok": True}
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        try:
            await http.get(f"{sandbox.base_url}/healthz")
        except httpx.ConnectError:
            return
    raise AssertionError("The sandbox still answers.")


async def test_a_sandbox_starts_again_on_its_port() -> None:
    async with Sandbox() as first:
        port = int(first.base_url.rsplit(":", 1)[1])
    second = Sandbox()
    await second.start(port=port)
    assert second.base_url == first.base_url
    await second.stop()
