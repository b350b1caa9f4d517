"""A session with Discord: where it connects, how it logs in, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager

import aiohttp
import discord
import yarl
from discord.gateway import DiscordWebSocket

from bot.client import FluxBot
from bot.commands import COMMANDS
from bot.connection.gateway import Gateway
from bot.delivery.posting import passing
from flux_core.errors import ConfigurationError, StorageUnavailable
from flux_core.metrics.exposing import exposed
from flux_core.service import Studio
from flux_core.settings import Settings

log = logging.getLogger(__name__)

LOGIN_TRIES = 6
"""Attempts to reach Discord at the start, over about a minute; once connected, discord.py reconnects for ever."""

BAD_TOKEN = (
    "Discord refuses the bot token. Open https://discord.com/developers/applications, choose your application, Bot, "
    "Reset Token, and put the new one into DISCORD_TOKEN."
)

TOO_FEW_SHARDS = (
    "Discord closes the connection: a shard would have more servers than Discord allows (2,500). Raise SHARD_COUNT in "
    "every process of the bot, or leave it out where there is one; `flux-bot doctor` says what Discord recommends."
)
FATAL = {4004: BAD_TOKEN, 4011: TOO_FEW_SHARDS}
"""The gateway's close codes after which connecting again is of no use, and what to do about them."""


def connect_to(settings: Settings) -> None:
    """Point discord.py at the configured API, gateway and CDN, for the whole process; to be called before login.

    The three go together: with the API alone, discord.py would still send the token to Discord's own gateway.
    """
    discord.http.Route.BASE = settings.discord_api_base.rstrip("/")
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.discord_gateway)
    discord.asset.Asset.BASE = settings.discord_cdn.rstrip("/")


async def run_bot(settings: Settings, studio: Studio, *, token: str) -> None:
    """Run the bot until it is cancelled or closed, and tell meanwhile how it is doing.

    Raises ConfigurationError for a token that Discord refuses, for shards that do not exist or are too few, for an
    address of the metrics that is taken, and when Discord stays out of reach at the start; StorageUnavailable when the
    database does.
    """
    connect_to(settings)
    async with FluxBot(settings, studio, COMMANDS) as bot, told(settings, studio, bot):
        await _login(bot, token, settings)
        connection = asyncio.create_task(bot.connect(reconnect=True), name="gateway")
        try:
            # Not awaited itself: a cancellation has to arrive here even at a moment when discord.py would miss it.
            await asyncio.wait({connection})
            connection.result()
        except discord.ConnectionClosed as error:
            if error.code in FATAL:
                raise ConfigurationError(FATAL[error.code]) from None
            raise
        finally:
            await bot.close()
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)


def told(settings: Settings, studio: Studio, bot: FluxBot) -> AbstractAsyncContextManager[int | None]:
    """Tell meanwhile how the bot and the house are doing, where METRICS_PORT is set; yields the port."""
    gateway = Gateway(bot)
    checks = {"database": studio.house.trouble, "gateway": gateway.trouble}
    return exposed(settings, checks, house=studio.house, collectors=[gateway])


async def _login(bot: FluxBot, token: str, settings: Settings) -> None:
    for attempt in range(LOGIN_TRIES):
        try:
            await bot.login(token)
        except discord.LoginFailure:
            raise ConfigurationError(BAD_TOKEN) from None
        except StorageUnavailable as error:
            if attempt == LOGIN_TRIES - 1:
                raise
            log.warning("the bot cannot start yet: %s", error)
            await asyncio.sleep(min(20.0, 2.0**attempt))
        except (aiohttp.ClientError, OSError, discord.HTTPException, discord.GatewayNotFound) as error:
            status = error.status if isinstance(error, discord.HTTPException) else None
            if status is not None and not passing(error):
                raise ConfigurationError(
                    f"{settings.discord_api_base} answers the bot's login with {status}, which Discord does not. Check "
                    "DISCORD_API_BASE and whatever stands between."
                ) from None
            log.warning("cannot reach Discord yet: %s", type(error).__name__ if status is None else f"it says {status}")
            await asyncio.sleep(min(20.0, 2.0**attempt))
        else:
            return
    raise ConfigurationError(
        f"Discord does not answer at {settings.discord_api_base}. Check the network and DISCORD_API_BASE."
    )
