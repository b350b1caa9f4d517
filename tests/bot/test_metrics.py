"""What the bot counts of its dealings with Discord, and what it tells and logs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import discord
import pytest

from bot.client import FluxBot
from bot.commands import COMMANDS
from bot.delivery.posting import Poster
from bot.sandbox.driver import Person
from bot.session import run_bot, told
from flux_core.errors import ConfigurationError
from flux_core.logs import configure_logging
from flux_core.settings import Settings
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, delivered, draw, finished, order, press
from tests.metrics.asking import ask as get
from tests.metrics.asking import value, values
from tests.metrics.counting import growth, until


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"metrics_port": 0}


@pytest.fixture
async def port(stage: Stage) -> AsyncIterator[int]:
    """Where the bot on the stage tells how it is doing."""
    assert stage.bot is not None
    async with told(stage.settings, stage.studio, stage.bot) as port:
        assert port is not None
        yield port


@pytest.fixture
def grown() -> Callable[..., float]:
    return growth()


async def test_the_bot_tells_how_it_and_the_house_are_doing(stage: Stage, ada: Person, port: int) -> None:
    await order(stage, ada, prompt="a lighthouse that nobody shall read of")
    found = await values(port)
    assert value(found, "flux_discord_shard_up", shard="0") == 1
    assert value(found, "flux_database_up") == 1
    assert value(found, "flux_queue_jobs", lane="fast", model="flux-tiny", venue="ours") == 1
    assert value(found, "flux_workers", provider="local", state="open") == 1
    assert value(found, "flux_discord_requests_total", status="200") > 0
    said = await get(port, "/metrics")
    assert stage.sandbox.token not in said.text
    assert ada.id not in said.text
    assert "lighthouse" not in said.text


async def test_it_is_ready_while_gateway_and_database_answer(stage: Stage, ada: Person, port: int) -> None:
    ready = await get(port, "/readyz")
    assert (ready.status, ready.text) == (200, "database: ok\ngateway: ok\n")
    assert stage.bot is not None
    await stage.bot.shards[0].disconnect()
    away = await get(port, "/readyz")
    assert (away.status, away.text) == (503, "database: ok\ngateway: not connected: shard 0\n")
    assert value(await values(port), "flux_discord_shard_up", shard="0") == 0
    assert (await get(port, "/healthz")).status == 200


async def test_the_gateways_latency_is_told_while_it_is_connected(stage: Stage, port: int) -> None:
    assert stage.bot is not None
    shard = stage.bot.shards[0]
    await until(lambda: math.isfinite(shard.latency))  # the first heartbeat follows the greeting at once
    assert value(await values(port), "flux_discord_gateway_latency_seconds", shard="0") == pytest.approx(shard.latency)
    await shard.disconnect()
    assert "flux_discord_gateway_latency_seconds" not in {name for name, _ in await values(port)}


async def test_before_the_login_it_is_not_ready(stage: Stage) -> None:
    async with FluxBot(stage.settings, stage.studio, COMMANDS) as bot, told(stage.settings, stage.studio, bot) as port:
        assert port is not None
        assert (await get(port, "/readyz")).text == "database: ok\ngateway: not connected yet\n"


async def test_a_running_bot_tells_until_it_ends(stage: Stage) -> None:
    await stage.stop_bot()
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    settings = stage.settings.model_copy(update={"metrics_port": free})
    running = asyncio.create_task(run_bot(settings, stage.studio, token=stage.sandbox.token))
    async with asyncio.timeout(30):
        while True:
            try:
                if (await get(free, "/readyz")).status == 200:
                    break
            except ConnectionRefusedError:
                pass
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(ConnectionRefusedError):
        await get(free, "/healthz")


async def test_a_taken_port_is_the_operators_to_put_right(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = stage.settings.model_copy(update={"metrics_port": taken.getsockname()[1]})
        with pytest.raises(ConfigurationError, match="METRICS_PORT"):
            await run_bot(settings, stage.studio, token=stage.sandbox.token)


async def test_an_order_is_counted_from_its_acknowledgement_to_its_delivery(
    stage: Stage, ada: Person, grown: Callable[..., float]
) -> None:
    shown = await draw(stage, ada, prompt="a", count=1)
    assert shown is not None
    await until(lambda: grown("flux_deliveries_total", outcome="token") == 1)
    assert grown("flux_discord_acknowledged_seconds_count") == 1
    assert 0 <= grown("flux_discord_acknowledged_seconds_sum") < 30
    assert grown("flux_delivery_seconds_count") == 1
    assert grown("flux_discord_request_seconds_count") >= 2


async def test_rate_limits_are_counted_as_discord_names_them(
    stage: Stage, ada: Person, grown: Callable[..., float]
) -> None:
    await ada.faults(rest_429=1, retry_after=0.1)
    await ask(ada, prompt="a")
    assert grown("flux_discord_rate_limited_total", scope="user") == 1
    await ada.faults(rest_429=1, retry_after=0.1, **{"global": True})
    await ask(ada, prompt="b")
    assert grown("flux_discord_rate_limited_total", scope="global") == 1
    assert grown("flux_discord_requests_total", status="429") == 2
    assert grown("flux_discord_acknowledged_seconds_count") == 2, "what was refused is no answer"


async def test_faults_of_discord_are_counted(stage: Stage, ada: Person, grown: Callable[..., float]) -> None:
    await ada.faults(rest_500=1)
    await ask(ada, prompt="a")  # discord.py tries again after a second
    assert grown("flux_discord_requests_total", status="500") == 1


async def test_a_delivery_that_comes_later(
    stage: Stage, ada: Person, grown: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    send, broken = Poster.send, [aiohttp.ServerDisconnectedError()]

    async def breaking(*args: Any, **options: Any) -> int | None:
        if broken:
            raise broken.pop()
        return await send(*args, **options)

    await order(stage, ada, prompt="a", count=1)
    job = await stage.easel.take()
    monkeypatch.setattr(Poster, "send", breaking)
    await stage.easel.finish(job)
    await delivered(stage, job.id)
    await until(lambda: grown("flux_deliveries_total", outcome="token") == 1)
    assert grown("flux_deliveries_total", outcome="later") == 1


async def test_a_delivery_that_is_given_up(
    stage: Stage, ada: Person, grown: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    await order(stage, ada, prompt="a", count=1)
    job = await stage.easel.take()
    await ada.faults(expire_tokens=True, closed_dms=True, deny=["SEND_MESSAGES", "VIEW_CHANNEL"])
    await stage.easel.finish(job)
    await until(lambda: grown("flux_deliveries_total", outcome="given_up") == 1)
    assert (await stage.studio.job(job.id)).delivered_at is None


async def test_requests_without_an_answer_and_those_to_others(
    stage: Stage, ada: Person, grown: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage.bot is not None
    session: aiohttp.ClientSession = stage.bot.http._HTTPClient__session  # type: ignore[attr-defined]
    monkeypatch.setattr(discord.http.Route, "BASE", "http://127.0.0.1:9/api")
    with pytest.raises(aiohttp.ClientError):
        await session.get("http://127.0.0.1:9/api/gateway")
    assert grown("flux_discord_unanswered_total") == 1
    with pytest.raises(aiohttp.ClientError):
        await session.get("http://127.0.0.1:9/picture.png")
    assert grown("flux_discord_unanswered_total") == 1


async def test_drops_of_the_gateway_are_counted_once(stage: Stage, ada: Person, grown: Callable[..., float]) -> None:
    await ada.faults(drop_gateway="reconnect")
    await until(lambda: grown("flux_discord_gateway_resumes_total") == 1)
    assert grown("flux_discord_gateway_drops_total") == 1
    await ada.faults(drop_gateway="reconnect")
    await until(lambda: grown("flux_discord_gateway_resumes_total") == 2)
    assert grown("flux_discord_gateway_drops_total") == 2


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(Settings(_env_file=None, log_format="json"), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_what_discord_py_says_of_a_delivery_names_the_job(
    stage: Stage, ada: Person, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    await order(stage, ada, prompt="a", count=1)
    job = await stage.easel.take()
    await ada.faults(rest_429=1, retry_after=0.1)
    await stage.easel.finish(job)
    await delivered(stage, job.id)
    limited = [line for line in lines() if "rate limit" in line["event"].lower()]
    assert limited
    assert {line.get("job") for line in limited} == {job.id}


async def test_what_discord_py_says_of_an_order_names_the_job(
    stage: Stage, ada: Person, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    await ada.faults(rest_429=1, retry_after=0.1)
    await order(stage, ada, prompt="a", count=1)
    job = await stage.easel.take()
    limited = [line.get("job") for line in lines() if "rate limit" in line["event"].lower()]
    assert limited == [job.id]


async def test_what_breaks_at_a_button_names_the_job(
    stage: Stage, ada: Person, lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await order(stage, ada, prompt="a", count=1)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    shown = await finished(ada, first["id"])

    async def broken(_: str) -> Any:
        raise RuntimeError("a slip")

    monkeypatch.setattr(stage.studio, "pictures", broken)
    await press(ada, shown, "V1")
    assert [line.get("job") for line in lines() if "a slip" in line.get("exception", "")] == [job.id]
