"""One run: a house is opened, a crowd draws, the schedule kills, and in the end everything is compared."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bot.sandbox.server import Sandbox
from flux_core.bootstrap import open_database
from flux_core.database.engine import Database
from flux_core.database.tables import jobs
from flux_core.errors import StorageUnavailable
from flux_core.settings import Settings
from tests.database.postgres import Server
from tests.soak.crowd import Crowd
from tests.soak.house import House
from tests.soak.inspection import Findings, inspect, still_open
from tests.soak.schedule import TOKENS, Kill, Setup, draw_schedule
from tests.soak.watching import Watch

log = logging.getLogger(__name__)

LEASE_SECONDS = 3
STEP_SECONDS = 0.03
"""Of a scripted worker: a drawing of eight steps takes a quarter of a second."""
SETTLE_SECONDS = 180.0
"""For what is left after the last order: a bot that was killed in the middle of a delivery is waited for."""
_ANSWERED = sa.select(jobs.c.key).where(
    jobs.c.message_id.is_not(None), jobs.c.delivered_at.is_(None), jobs.c.undeliverable_at.is_(None)
)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run went."""

    seed: int
    setup: Setup
    schedule: Sequence[Kill]
    findings: Findings
    did: dict[str, int]
    killed: dict[str, int]
    ended: Sequence[str]
    seconds: float
    settled_after: float


class Run:
    """The parts of a run in ``folder``; an async context manager that opens and closes them."""

    def __init__(self, folder: Path, setup: Setup, seed: int, *, at_once: int = 24, hasty: bool = False) -> None:
        """Prepare a run with ``at_once`` orders in flight; ``hasty`` bots take a dead bot's deliveries over sooner."""
        self.folder, self.setup, self.seed = folder, setup, seed
        self._at_once, self._hasty = at_once, hasty
        self.sandbox = Sandbox(shards=setup.bots, guilds=setup.bots)
        self.server = Server() if setup.server else None
        self.accepted: dict[str, str] = {}

    async def __aenter__(self) -> Run:
        """Start the sandbox, and every process of the house."""
        await self.sandbox.start()
        self.watch = Watch(self.sandbox.world)
        url = None if self.server is None else await self.server.new_database()
        values = {
            "DATA_DIR": str(self.folder),
            "DISCORD_TOKEN": self.sandbox.token,
            "DISCORD_API_BASE": self.sandbox.api_base,
            "DISCORD_GATEWAY": self.sandbox.gateway_url,
            "DISCORD_CDN": self.sandbox.cdn_base,
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "DAILY_ALLOWANCE": "1000000",
            "MAX_WAITING": "1000000",
            "TORCH_THREADS": "1",
            "LOG_FORMAT": "json",
            **({} if url is None else {"DATABASE_URL": url}),
        }
        self.settings = Settings(**{name.lower(): value for name, value in values.items()}, _env_file=None)
        self.house = House(self.folder, values, self.server)
        program = ("tests.soak.hasty_bot",) if self._hasty else ("bot", "bot")
        for number in range(self.setup.bots):
            shards = {"SHARDS": str(number), "SHARD_COUNT": str(self.setup.bots)} if self.setup.bots > 1 else {}
            self.house.add(f"bot-{number}", *program, **shards)
        for number in range(self.setup.workers):
            self.house.add(f"worker-{number}", *self._worker(number))
        return self

    def _worker(self, number: int) -> tuple[str, ...]:
        """Return what a worker runs: all draw by script but one of a long run, which draws with flux-tiny."""
        if number == 0 and not self._hasty:
            return ("bot", "worker")
        return ("tests.worker.scripted_worker", str(STEP_SECONDS))

    async def __aexit__(self, *exc_info: object) -> None:
        """End everything."""
        try:
            await self.house.close()
        finally:
            self.watch.close()
            await self.sandbox.stop()
            if self.server is not None:
                await asyncio.to_thread(self.server.close)

    async def go(self) -> Result:
        """Run until every order was accepted and all that follows from them has happened; then compare."""
        began = time.monotonic()
        schedule = draw_schedule(self.seed, self.setup)
        crowd = Crowd(self.sandbox, self.watch, jobs=self.setup.jobs, seed=self.seed, at_once=self._at_once)
        self.accepted = crowd.accepted
        async with open_database(self.settings) as db:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._kill(schedule, crowd, db), name="kills")
                group.create_task(crowd.run(), name="crowd")
            ordered = time.monotonic()
            await self._settle(db)
            settled = time.monotonic()
            await self.house.close()
            findings = await self.inspect(db)
        return Result(
            seed=self.seed,
            setup=self.setup,
            schedule=schedule,
            findings=findings,
            did=dict(crowd.did),
            killed=dict(self.house.killed),
            ended=list(self.house.ended),
            seconds=settled - began,
            settled_after=settled - ordered,
        )

    async def inspect(self, db: Database) -> Findings:
        """Compare everything with everything, once nobody is at work."""
        return await inspect(db, self.settings, self.watch, self.accepted)

    async def _kill(self, schedule: Sequence[Kill], crowd: Crowd, db: Database) -> None:
        for kill in schedule:
            await crowd.reached(kill.after)
            await asyncio.sleep(kill.delay)
            log.info("%d orders: %s", len(crowd.accepted), " and ".join(kill.victims))
            await self.house.kill([one for one in kill.victims if one != TOKENS], kill.down)
            if TOKENS in kill.victims:
                await self._expire_tokens(db)

    async def _expire_tokens(self, db: Database) -> None:
        """Let tokens die of answers whose message the bot knows: after a quarter of an hour it knows all of them."""
        try:
            known = set(await db.read(lambda connection: connection.execute(_ANSWERED).scalars().all()))
        except StorageUnavailable:
            return
        now = asyncio.get_running_loop().time()
        for interaction in self.sandbox.world.interactions.every():
            if interaction.id in known:
                interaction.expires_at = min(interaction.expires_at, now)
                self.house.killed[TOKENS] += 1

    async def _settle(self, db: Database) -> None:
        """Wait until every job has ended and was delivered, as far as that ever happens."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            try:
                if await db.read(still_open) == 0:
                    return
            except StorageUnavailable:
                pass
            await asyncio.sleep(0.25)
