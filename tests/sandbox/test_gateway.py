"""Gateway sessions: what survives a dropped connection, and what the protocol refuses."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from bot.sandbox import events
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from tests.sandbox.conftest import StartBot
from tests.sandbox.example_bot import ExampleBot

GUILDS_AND_MESSAGES = 1 << 0 | 1 << 9


class RawClient:
    """A gateway client of a few lines, to see every frame."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, compressed: bool = False) -> None:
        self.socket = socket
        self._inflate = zlib.decompressobj() if compressed else None

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def frame(self) -> dict[str, Any]:
        """Return the next frame; fails when the socket is closed instead."""
        message = await self.socket.receive(timeout=30)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), (message, self.socket.close_code)
        if self._inflate is None:
            return dict(json.loads(message.data))
        assert message.data.endswith(b"\x00\x00\xff\xff")
        return dict(json.loads(self._inflate.decompress(message.data)))

    async def until(self, event: str) -> dict[str, Any]:
        while (frame := await self.frame())["t"] != event:
            pass
        return frame

    async def close_code(self) -> int | None:
        while (await self.socket.receive(timeout=30)).type not in (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSING,
        ):
            pass
        return self.socket.close_code

    async def identify(self, sandbox: Sandbox, **changes: Any) -> None:
        properties = {"os": "linux", "browser": "raw", "device": "raw"}
        known = {"token": sandbox.token, "intents": GUILDS_AND_MESSAGES, "properties": properties}
        await self.send(2, {**known, **changes})


@asynccontextmanager
async def connect(sandbox: Sandbox, *, compress: str | None = None) -> AsyncIterator[RawClient]:
    query = {"v": "10", "encoding": "json"} | ({"compress": compress} if compress else {})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(sandbox.gateway_url, params=query, autoclose=True) as socket,
    ):
        yield RawClient(socket, compressed=compress == "zlib-stream")


async def test_hello_heartbeat_ready_and_guild(sandbox: Sandbox) -> None:
    async with connect(sandbox) as client:
        assert (await client.frame())["d"] == {"heartbeat_interval": 41250}
        await client.send(1, None)
        assert (await client.frame())["op"] == 11
        await client.identify(sandbox, shard=[0, 1])
        ready = await client.frame()
        assert (ready["t"], ready["s"], ready["d"]["shard"]) == ("READY", 1, [0, 1])
        assert ready["d"]["guilds"] == [{"id": GUILD_ID, "unavailable": True}]
        assert ready["d"]["resume_gateway_url"] == sandbox.gateway_url
        guild = await client.frame()
        assert (guild["t"], guild["s"], guild["d"]["id"]) == ("GUILD_CREATE", 2, GUILD_ID)


async def test_a_heartbeat_is_acknowledged_after_a_moment(sandbox: Sandbox) -> None:
    async with connect(sandbox) as client:
        await client.frame()
        await client.send(1, None)
        await client.identify(sandbox)
        assert [(await client.frame())["t"] for _ in range(2)] == ["READY", "GUILD_CREATE"]
        assert (await client.frame())["op"] == 11


async def test_zlib_stream_is_one_stream_flushed_after_each_message(sandbox: Sandbox) -> None:
    async with connect(sandbox, compress="zlib-stream") as client:
        await client.frame()
        await client.identify(sandbox)
        await client.until("GUILD_CREATE")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"shard": [2, 2]}, 4010),
        ({"shard": "0"}, 4010),
        ({"intents": 1 << 15}, 4014),
        ({"intents": -1}, 4013),
        ({"intents": None}, 4013),
        ({"properties": None}, 4002),
    ],
)
async def test_identify_is_checked(sandbox: Sandbox, changes: dict[str, Any], code: int) -> None:
    async with connect(sandbox) as client:
        await client.identify(sandbox, **changes)
        assert await client.close_code() == code


@pytest.mark.parametrize(
    ("text", "code"), [("{", 4002), ("[]", 4002), ('{"op": 3, "d": {}}', 4003), ('{"op": 8, "d": {}}', 4003)]
)
async def test_frames_are_checked(sandbox: Sandbox, text: str, code: int) -> None:
    async with connect(sandbox) as client:
        await client.socket.send_str(text)
        assert await client.close_code() == code


async def test_identifying_twice_and_unknown_opcodes(sandbox: Sandbox) -> None:
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        await client.identify(sandbox)
        assert await client.close_code() == 4005
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        await client.send(99, None)
        assert await client.close_code() == 4001


async def test_members_can_be_asked_for(sandbox: Sandbox) -> None:
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        await client.send(8, {"guild_id": GUILD_ID, "query": "gra", "limit": 5, "nonce": "n"})
        chunk = (await client.until("GUILD_MEMBERS_CHUNK"))["d"]
        assert [member["user"]["username"] for member in chunk["members"]] == ["grace"]
        assert chunk["nonce"] == "n"


async def test_resume_replays_what_was_missed_in_order(sandbox: Sandbox, ada: Person, rest: Any) -> None:
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        session = (await client.until("READY"))["d"]["session_id"]
        seen = (await client.until("GUILD_CREATE"))["s"]
        await ada.faults(drop_gateway="resume")
        assert await client.close_code() == 4000
    channel = (await ada.world())["channels"][0]["id"]
    for text in ("one", "two"):
        assert (await rest.post(f"/channels/{channel}/messages", json={"content": text})).status_code == 200
    async with connect(sandbox) as client:
        await client.send(6, {"token": sandbox.token, "session_id": session, "seq": seen})
        await client.frame()
        frames = [await client.frame() for _ in range(3)]
        assert [frame["t"] for frame in frames] == ["MESSAGE_CREATE", "MESSAGE_CREATE", "RESUMED"]
        assert [frame["s"] for frame in frames] == [seen + 1, seen + 2, seen + 3]
        assert [frame["d"].get("content") for frame in frames] == ["one", "two", None]


async def test_resume_of_what_is_not_there_is_an_invalid_session(sandbox: Sandbox) -> None:
    async with connect(sandbox) as client:
        await client.frame()
        await client.send(6, {"token": sandbox.token, "session_id": "none", "seq": 1})
        assert await client.frame() == {"op": 9, "d": False, "s": None, "t": None}
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        session = (await client.until("READY"))["d"]["session_id"]
        await client.socket.close(code=1000)
    async with connect(sandbox) as client:
        await client.frame()
        await client.send(6, {"token": sandbox.token, "session_id": session, "seq": 1})
        assert (await client.frame())["op"] == 9


async def test_resume_with_a_sequence_of_the_future(sandbox: Sandbox, ada: Person) -> None:
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        session = (await client.until("READY"))["d"]["session_id"]
        await ada.faults(drop_gateway="resume")
        await client.close_code()
    async with connect(sandbox) as client:
        await client.send(6, {"token": sandbox.token, "session_id": session, "seq": 99})
        assert await client.close_code() == 4007


class TestShortTimes:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(heartbeat_seconds=0.2, resume_seconds=0.1)

    async def test_a_silent_client_is_closed(self, sandbox: Sandbox) -> None:
        async with connect(sandbox) as client:
            await client.identify(sandbox)
            assert await client.close_code() == 4009

    async def test_a_session_that_waited_too_long_cannot_be_resumed(self, sandbox: Sandbox, ada: Person) -> None:
        async with connect(sandbox) as client:
            await client.identify(sandbox)
            session = (await client.until("READY"))["d"]["session_id"]
            await ada.faults(drop_gateway="resume")
            await client.close_code()
        await asyncio.sleep(0.2)
        async with connect(sandbox) as client:
            await client.frame()
            await client.send(6, {"token": sandbox.token, "session_id": session, "seq": 1})
            assert (await client.frame())["op"] == 9


class TestShortMemory:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(replay_events=2)

    async def test_a_session_that_missed_too_much_cannot_be_resumed(
        self, sandbox: Sandbox, ada: Person, rest: Any
    ) -> None:
        channel = (await ada.world())["channels"][0]["id"]
        async with connect(sandbox) as client:
            await client.identify(sandbox)
            session = (await client.until("READY"))["d"]["session_id"]
            for _ in range(3):
                await rest.post(f"/channels/{channel}/messages", json={"content": "x"})
            await ada.faults(drop_gateway="resume")
            await client.close_code()
        async with connect(sandbox) as client:
            await client.frame()
            await client.send(6, {"token": sandbox.token, "session_id": session, "seq": 1})
            assert (await client.frame())["op"] == 9


@pytest.mark.parametrize(("how", "then"), [("resume", "RESUMED"), ("reconnect", "RESUMED"), ("invalid", "READY")])
async def test_discord_py_comes_back(bot: ExampleBot, ada: Person, how: str, then: str) -> None:
    back = asyncio.ensure_future(bot.wait_for("socket_event_type", check=lambda event: event == then, timeout=20))
    await ada.faults(drop_gateway=how)
    await back
    assert (await ada.response(await ada.command("say", text="back")))["content"] == "back"


async def test_sessions_and_messages_outlive_an_outage(sandbox: Sandbox, ada: Person, rest: Any) -> None:
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        session = (await client.until("READY"))["d"]["session_id"]
        seen = (await client.until("GUILD_CREATE"))["s"]
        path = f"/channels/{(await ada.world())['channels'][0]['id']}/messages"
        await rest.post(path, json={"content": "before"})
        port = int(sandbox.base_url.rsplit(":", 1)[1])
        stopping = asyncio.create_task(sandbox.stop())
        assert await client.close_code() == 1001
        await stopping
    await sandbox.start(port=port)
    assert [message["content"] for message in (await rest.get(path)).json()] == ["before"]
    async with connect(sandbox) as client:
        await client.send(6, {"token": sandbox.token, "session_id": session, "seq": seen})
        assert (await client.until("MESSAGE_CREATE"))["d"]["content"] == "before"
        await client.until("RESUMED")


async def test_an_interaction_during_the_gap_is_replayed(bot: ExampleBot, ada: Person) -> None:
    await ada.faults(drop_gateway="resume")
    message = await ada.response(await ada.command("say", text="in the gap"))
    assert message["content"] == "in the gap"


async def test_a_bot_that_is_killed_comes_back_as_a_new_session(sandbox: Sandbox, ada: Person) -> None:
    gone: asyncio.Queue[events.Event] = asyncio.Queue()
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        first = (await client.until("READY"))["d"]["session_id"]
        sandbox.world.bus.subscribe(gone.put_nowait)
        client.socket._response.connection.transport.abort()  # type: ignore[union-attr]
        assert await asyncio.wait_for(gone.get(), 30) == events.BotPresence(False)
    async with connect(sandbox) as client:
        await client.identify(sandbox)
        assert (await client.until("READY"))["d"]["session_id"] != first


async def test_the_page_hears_whether_the_bot_is_there(sandbox: Sandbox, start_bot: StartBot, ada: Person) -> None:
    changes: asyncio.Queue[bool] = asyncio.Queue()

    def note(event: events.Event) -> None:
        if isinstance(event, events.BotPresence):
            changes.put_nowait(event.online)

    sandbox.world.bus.subscribe(note)
    assert (await ada.world())["bot"]["online"] is False
    bot = await start_bot()
    assert await asyncio.wait_for(changes.get(), 30) is True
    assert (await ada.world())["bot"]["online"] is True
    await bot.finish()
    assert await asyncio.wait_for(changes.get(), 30) is False
    assert (await ada.world())["bot"]["online"] is False
