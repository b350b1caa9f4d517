"""What the doctor finds about shards: what Discord recommends, and which process keeps which."""

from __future__ import annotations

import itertools
import socket
import time

import httpx

from bot.command_line.findings import Finding
from flux_core.bootstrap import open_database
from flux_core.database import bots
from flux_core.settings import Settings
from flux_core.shards import AUTO, Keeper, missing, mistakes, shown


async def gateway(client: httpx.AsyncClient, settings: Settings) -> list[Finding]:
    """Ask Discord, as the bot, how many shards it recommends and how many sessions may be started."""
    try:
        answer = await client.get("gateway/bot")
        told = answer.raise_for_status().json()
        recommended, limits = int(told["shards"]), told["session_start_limit"]
        left, total, reset = int(limits["remaining"]), int(limits["total"]), float(limits["reset_after"]) / 3_600_000
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return [Finding("Gateway", None, "Discord does not say how many shards it recommends.")]
    said = f"Discord recommends {recommended} {'shard' if recommended == 1 else 'shards'}"
    said += f"; {left:,} of {total:,} sessions may still be started in the next {reset:.1f} hours."
    if not left:
        return [Finding("Gateway", False, f"{said} The bot waits until then: find out what starts it so often.")]
    if settings.shard_count and settings.shard_count < recommended:
        return [Finding("Gateway", None, f"{said} SHARD_COUNT is {settings.shard_count}: raise it.")]
    return [Finding("Gateway", True, said)]


async def processes(settings: Settings) -> list[Finding]:
    """Say which bots live, which shards nobody keeps, and which are kept twice; raises ConfigurationError."""
    if settings.shards != AUTO:
        settings.kept_shards(socket.gethostname())
    async with open_database(settings) as database:
        alive = await database.read(bots.alive, time.time() - settings.lease_seconds)
    if not alive:
        return [Finding("Bots", None, "None is running. `flux-bot run` or `flux-bot bot` starts one.")]
    by_application = sorted(alive, key=lambda one: one.application_id)
    groups = itertools.groupby(by_application, key=lambda one: one.application_id)
    return [finding for _, group in groups for finding in _of_one_bot(list(group))]


def _of_one_bot(crew: list[Keeper]) -> list[Finding]:
    found = [Finding(f"Bot {one}", True, f"shards {shown(one.shards)} of {one.count}") for one in crew]
    found += [Finding("Shards", False, mistake) for mistake in mistakes(crew)]
    count = max(crew, key=lambda one: one.started_at).count
    unkept = missing(count, [one.shards for one in crew if one.count == count])
    if unkept:
        found.append(
            Finding(
                "Shards",
                False,
                f"Nobody keeps {shown(unkept)} of {count}, so no member of their servers is answered. Start "
                f"`flux-bot bot` with SHARDS={shown(unkept).replace(' ', '')} and SHARD_COUNT={count}.",
            )
        )
    return found
