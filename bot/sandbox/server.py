"""Start and stop the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from . import cdn, rest
from .gateway import Gateway
from .loopback import is_loopback
from .page import Page, keep_out_other_sites
from .recorder import Record, Recorder
from .rest.api import Api
from .world import Addresses, Limits, World

TOKEN = "sandbox.bot-token.not-a-secret"
"""The bot token of every sandbox; it opens nothing but a server on this machine."""


class Sandbox:
    """A stand-in for Discord on a loopback address.

    What happened stays until the object goes: stopped and started again on its port, it is Discord after an outage.
    Use it as an async context manager, or call `start` and `stop`. `limits` shortens times for tests, `owner` names
    the person who owns the application, `shards` is what /gateway/bot recommends, `guilds` is how many there are (up to
    8; Ada, Linus and Grace are in all of them), `record` is a file that gets every REST request of the bot as a line of
    JSON.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        token: str = TOKEN,
        owner: str = "Grace",
        shards: int = 1,
        guilds: int = 1,
        record: Path | None = None,
    ) -> None:
        self.world = World(limits or Limits(), token=token, application_owner=owner, shards=shards, guilds=guilds)
        self._record = record
        self._recorder = Recorder()
        self._runner: web.AppRunner | None = None
        self._gateway = Gateway(self.world)
        self._page = Page(self.world, self._gateway)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind and serve. Port 0 takes a free one.

        Raises ValueError for an address that others can reach: the sandbox has no passwords. Raises OSError when the
        port is taken.
        """
        if not is_loopback(host):
            raise ValueError(f"The sandbox has no passwords, so it listens on this machine only, not on {host!r}.")
        self._recorder = Recorder(self._record)
        app = web.Application(
            client_max_size=12 * self.world.limits.attachment_bytes, middlewares=[keep_out_other_sites]
        )
        app.router.add_get("/gateway", self._gateway.handle)
        app.router.add_get("/gateway/", self._gateway.handle)
        rest.add_routes(app, Api(self.world, self._gateway, self._recorder))
        cdn.add_routes(app, self.world)
        self._page.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError:
            await self.stop()
            raise
        bound = self._runner.addresses[0]
        name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        place = f"{name}:{bound[1]}"
        self.world.addresses = Addresses(f"http://{place}", f"ws://{place}/gateway", f"http://{place}")

    async def stop(self) -> None:
        """Close every connection and the port."""
        self.world.interactions.close()
        await self._gateway.close()
        await self._page.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._recorder.close()

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def base_url(self) -> str:
        """The page's address."""
        return self.world.addresses.base_url

    @property
    def api_base(self) -> str:
        """What discord.http.Route.BASE has to be."""
        return f"{self.base_url}/api/v10"

    @property
    def gateway_url(self) -> str:
        """What DiscordWebSocket.DEFAULT_GATEWAY has to be."""
        return self.world.addresses.gateway_url

    @property
    def cdn_base(self) -> str:
        """What discord.Asset.BASE has to be."""
        return self.world.addresses.cdn_base

    @property
    def token(self) -> str:
        return self.world.token

    @property
    def records(self) -> list[Record]:
        """Every REST request so far, oldest first."""
        return list(self._recorder.records)

    def inject(self, **patch: Any) -> None:
        """Put faults in force, as POST /sandbox/faults does."""
        self._page.set_faults(patch)


async def serve(
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    limits: Limits | None = None,
    owner: str = "Grace",
    record: Path | None = None,
    ready: Callable[[Sandbox], None] | None = None,
) -> None:
    """Run a sandbox until cancelled; `ready` hears of it once it answers."""
    sandbox = Sandbox(limits=limits, owner=owner, record=record)
    await sandbox.start(host, port)
    try:
        if ready is not None:
            ready(sandbox)
        await asyncio.Event().wait()
    finally:
        await sandbox.stop()
