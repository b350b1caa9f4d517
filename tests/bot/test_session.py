"""How the bot starts and ends."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import discord
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from discord import app_commands
from pydantic import SecretStr

from bot import client, session
from bot.client import FluxBot
from bot.commands import COMMANDS
from bot.sandbox.driver import Person, Refused
from bot.sandbox.reading import labels_of
from bot.session import connect_to, run_bot
from flux_core.errors import ConfigurationError
from flux_core.jobs import Job
from flux_core.logs import configure_logging
from flux_core.service import Studio, Submission
from flux_core.settings import Settings
from tests.bot.conftest import Stage


async def test_a_wrong_token_says_what_to_do(stage: Stage) -> None:
    with pytest.raises(ConfigurationError, match="Reset Token") as caught:
        await run_bot(stage.settings, stage.studio, token="wrong-token")
    assert "wrong-token" not in str(caught.value)


async def test_an_unreachable_discord_says_where_it_was_looked_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOGIN_TRIES", 1)
    settings = stage.settings.model_copy(update={"discord_api_base": "http://127.0.0.1:9/api/v10"})
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:9"):
        await run_bot(settings, stage.studio, token=stage.sandbox.token)


@pytest.mark.parametrize(("status", "says"), [(429, "does not answer"), (404, "answers the bot's login with 404")])
async def test_whatever_else_answers_in_discords_place_is_explained(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, status: int, says: str
) -> None:
    async def refuse(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text="<html>error code: 1015</html>", content_type="text/html")

    monkeypatch.setattr(session, "LOGIN_TRIES", 1)
    async with RawTestServer(refuse) as wall:
        settings = stage.settings.model_copy(update={"discord_api_base": str(wall.make_url("/api/v10"))})
        with pytest.raises(ConfigurationError, match=says):
            await run_bot(settings, stage.studio, token=stage.sandbox.token)


async def test_cancelling_ends_everything_it_started(stage: Stage) -> None:
    await stage.stop_bot()
    before = asyncio.all_tasks()
    running = asyncio.create_task(run_bot(stage.settings, stage.studio, token=stage.sandbox.token))
    async with asyncio.timeout(30), stage.person("Ada") as ada:
        await answered(ada)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if "deliver" in task.get_name() or "shard" in task.get_name()]
    assert left == []


async def test_what_a_member_has_begun_is_ended_before_the_bot_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    submit = Studio.submit

    async def slow(self: Studio, submission: Submission) -> Job:
        begun.set()
        await go_on.wait()
        return await submit(self, submission)

    monkeypatch.setattr(Studio, "submit", slow)
    async with asyncio.timeout(30), stage.person("Ada") as ada:
        order = await ada.command("imagine", prompt="a red circle", count=1)
        await begun.wait()
        stopping = asyncio.create_task(stage.stop_bot())
        while (await ada.world())["bot"]["online"]:  # noqa: ASYNC110 (the sandbox's world has no event for it)
            await asyncio.sleep(0.02)
        go_on.set()
        await stopping
        assert "Cancel" in labels_of(await ada.response(order))
    assert (await stage.easel.take()).request.prompt == "a red circle"


async def test_what_comes_to_no_end_keeps_no_bot_from_ending(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client, "ANSWERED_WITHIN", 0.2)
    begun = asyncio.Event()

    async def endless(self: Studio, submission: Submission) -> Job:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Studio, "submit", endless)
    async with asyncio.timeout(30), stage.person("Ada") as ada:
        await ada.command("imagine", prompt="a red circle", count=1)
        await begun.wait()
        await stage.stop_bot()
    assert "because the bot ends: 1" in caplog.text


async def test_no_token_reaches_the_log(stage: Stage) -> None:
    await stage.stop_bot()
    token, written = stage.sandbox.token, io.StringIO()
    settings = stage.settings.model_copy(update={"discord_token": SecretStr(token), "log_level": "debug"})
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging(settings, written)
    try:
        running = asyncio.create_task(run_bot(settings, stage.studio, token=token))
        async with asyncio.timeout(20), stage.person("Ada") as ada:
            await answered(ada)
            await ada.response(await ada.command("imagine", prompt="a", count=1))
            job = await stage.easel.take()
            assert job.reply_to is not None
            await stage.easel.finish(job)
            version = None
            while (await stage.studio.job(job.id)).delivered_at is None:
                version = await stage.studio.changed(version, 1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "/webhooks/" in written.getvalue()
    assert job.reply_to.interaction_token not in written.getvalue()
    assert token not in written.getvalue()


async def answered(ada: Person) -> None:
    """Wait until the new bot answers."""
    while True:
        try:
            await ada.response(await ada.command("help"), within=5)
        except (AssertionError, TimeoutError, Refused):
            await asyncio.sleep(0.1)
        else:
            return


def test_all_three_addresses_are_set_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord.http.Route, "BASE", "")
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", None)
    monkeypatch.setattr(discord.asset.Asset, "BASE", "")
    settings = Settings(
        discord_api_base="http://proxy/api/v10/", discord_gateway="ws://proxy/gateway", discord_cdn="http://proxy/cdn/"
    )
    connect_to(settings)
    assert discord.http.Route("GET", "/users/@me").url == "http://proxy/api/v10/users/@me"
    assert str(discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY) == "ws://proxy/gateway"
    assert discord.asset.Asset.BASE == "http://proxy/cdn"


def test_no_privileged_intent_is_asked_for(tmp_path: Path) -> None:
    async def intents() -> discord.Intents:
        return FluxBot(Settings(data_dir=tmp_path), None, COMMANDS).intents  # type: ignore[arg-type]

    asked = asyncio.run(intents())
    assert [name for name, on in asked if on] == ["guilds"]


def walk(commands: Any) -> Any:
    for command in commands:
        if isinstance(command, app_commands.Group):
            yield from walk(command.commands)
        elif not isinstance(command, app_commands.ContextMenu):
            # Discord lets those of context menus have neither a description nor options.
            yield command


@pytest.mark.parametrize("command", list(walk(COMMANDS)), ids=lambda command: command.qualified_name)
def test_every_option_is_described(command: app_commands.Command[Any, ..., Any]) -> None:
    assert 1 <= len(command.description) <= 100
    for option in command.parameters:
        assert str(option.description) not in ("", "…"), option.name
        assert len(str(option.description)) <= 100


def test_the_bot_imports_neither_torch_nor_the_sandbox() -> None:
    check = "import bot.session, sys; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    loaded = set(ran.stdout.split())
    assert "discord" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "diffusers", "transformers", "bot.sandbox", "bot.sandbox.server"})
