"""Several bots of one application: who starts when, who uploads, who answers, and who stands in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord.gateway import DiscordWebSocket

from bot.connection import session_starts
from bot.connection.gateway import Gateway
from bot.delivery.posting import Poster, Way
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from bot.session import run_bot
from flux_core.errors import ConfigurationError
from flux_core.jobs import Job
from flux_core.service import bots
from tests.bot.crew import Crew, a_crew
from tests.database.postgres import new_database
from tests.sandbox.openapi_check import check, description_path

GAP = 0.2
"""Seconds between two shards' starts that the sandbox demands here, instead of Discord's five."""
TURN = 0.6
"""Seconds that a turn lasts here: a busy machine may stand still for the difference."""


@pytest.fixture
def limits() -> Limits:
    return Limits(identify_seconds=GAP)


@pytest.fixture
async def sandbox(limits: Limits) -> AsyncIterator[Sandbox]:
    async with Sandbox(limits=limits, guilds=2, shards=2) as running:
        yield running
        if description_path() is not None:
            check(running.records)


@pytest.fixture(params=["sqlite"])
async def database_url(request: pytest.FixtureRequest) -> str | None:
    """None: a file of its own. Otherwise an empty database on the PostgreSQL server of the tests."""
    return None if request.param == "sqlite" else await new_database()


ON_BOTH = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def crew(
    sandbox: Sandbox, tmp_path: Path, database_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Crew]:
    monkeypatch.setattr(discord.http.Route, "BASE", discord.http.Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    monkeypatch.setattr(discord.asset.Asset, "BASE", discord.asset.Asset.BASE)
    monkeypatch.setattr(session_starts, "TURN", TURN)
    monkeypatch.setattr(bots, "BEAT", 0.1)
    async with a_crew(sandbox, tmp_path, lease_seconds=2.0, database_url=database_url) as crew:
        yield crew


@pytest.fixture
async def ada(sandbox: Sandbox) -> AsyncIterator[Person]:
    """She is in the server of shard 1."""
    async with Person(sandbox.base_url, "Ada", "studio") as person:
        yield person


@pytest.fixture
async def linus(sandbox: Sandbox) -> AsyncIterator[Person]:
    """He is in the server of shard 0."""
    async with Person(sandbox.base_url, "Linus", "studio-2") as person:
        yield person


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[discord.Client, Job]]:
    """Note which bot sends what about a job, on its way to Discord."""
    noted: list[tuple[discord.Client, Job]] = []
    send = Poster.send

    async def noting(self: Poster, way: Way, job: Job, *parts: object) -> int | None:
        noted.append((self._client, job))
        return await send(self, way, job, *parts)  # type: ignore[arg-type]

    monkeypatch.setattr(Poster, "send", noting)
    return noted


async def order(person: Person) -> str:
    """Ask for a picture and return the message's id."""
    return str((await person.response(await person.command("imagine", prompt="a red circle", count=1)))["id"])


async def finished(person: Person, message_id: str) -> None:
    await person.wait_for(lambda m: m["id"] == message_id and "Reroll" in labels_of(m))


def paths(sandbox: Sandbox, method: str, end: str) -> int:
    return sum(record.method == method and record.path.endswith(end) for record in sandbox.records)


@ON_BOTH
async def test_bots_that_start_together_start_in_turn_and_upload_once(
    crew: Crew, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await crew.connected(crew.begin("0", 3), crew.begin("1-2", 3))
    assert paths(sandbox, "PUT", "/commands") == 1
    assert sandbox._gateway.starts.left == 1_000 - 3, "nobody came too early"
    assert "invalidated" not in caplog.text
    await crew.start("0", 3)
    assert paths(sandbox, "PUT", "/commands") == 1, "they have not changed"


async def test_commands_that_discord_lost_are_uploaded_again(crew: Crew, sandbox: Sandbox) -> None:
    await crew.end(await crew.start("0", 2))
    sandbox.world.commands.replace_all(None, [])
    await crew.start("1", 2)
    assert paths(sandbox, "PUT", "/commands") == 2


async def test_an_upload_whose_bot_died_is_done_by_another(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.connection.command_upload.LEASE", 0.5)
    application = int(crew.sandbox.world.community.bot.id)
    assert await crew.studio.bots.begin_upload(application, crew.sandbox.api_base, None, "of a bot that died")
    await crew.start()
    known = await crew.studio.bots.uploaded(application, crew.sandbox.api_base)
    assert known is not None
    assert known.ids


async def test_one_process_keeps_all_the_shards_that_discord_recommends(crew: Crew, ada: Person) -> None:
    bot = await crew.start()
    assert (bot.shard_count, bot.kept_shards) == (2, (0, 1))
    assert bot.keeping is not None
    assert bot.keeping.part() is None, "everything is its own"
    assert await Gateway(bot).trouble() is None


@pytest.mark.parametrize("limits", [Limits(identify_seconds=0, session_starts=2, session_reset_seconds=4.0)])
async def test_a_bot_waits_until_discord_lets_it_start_sessions(
    crew: Crew, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    token = sandbox.token
    await crew.start("0", 3)
    late = await crew.start("1-2", 3)
    assert "1 more sessions (of 2 a day) and 2 are needed" in caplog.text
    assert sandbox.token == token, "more would have ended everything"
    assert late.kept_shards == (1, 2)
    assert sandbox._gateway.starts.left == 0


@pytest.mark.parametrize("limits", [Limits(identify_seconds=GAP, session_starts=2, session_reset_seconds=4.0)])
async def test_bots_that_all_see_the_last_sessions_do_not_start_one_too_many(crew: Crew, sandbox: Sandbox) -> None:
    token = sandbox.token
    await crew.connected(*(crew.begin(str(shard), 3) for shard in range(3)))
    assert sandbox.token == token, "one too many would have ended everything"


@pytest.mark.parametrize("limits", [Limits(identify_seconds=GAP, heartbeat_seconds=1.0)])
async def test_a_shard_that_waits_for_its_turn_keeps_no_connection_waiting(
    crew: Crew, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_starts, "TURN", 2.0)
    application = int(crew.sandbox.world.community.bot.id)
    assert await crew.studio.bots.take_turn(application, 0, 3.5) == 0.0
    bot = crew.begin("0", 2)
    bot._connection.heartbeat_timeout = 1.5
    await crew.connected(bot)
    assert "has stopped responding" not in caplog.text
    assert "Failed to connect" not in caplog.text


async def test_each_bot_hears_and_edits_its_own_servers(
    crew: Crew, sent: list[tuple[discord.Client, Job]], ada: Person, linus: Person
) -> None:
    zero, one = await crew.start("0", 2), await crew.start("1", 2)
    first, second = await order(ada), await order(linus)
    jobs = [await crew.easel.take(), await crew.easel.take()]
    for job in jobs:
        await crew.easel.step(job, 1)
    await asyncio.gather(*(crew.easel.finish(job) for job in jobs))
    await finished(ada, first)
    await finished(linus, second)
    assert sent
    for client, job in sent:
        assert client is (zero if (job.account.guild_id >> 22) % 2 == 0 else one)
    direct = await linus.response(await linus.command("help", channel="dm"))
    assert "/imagine" in text_of(direct)


@ON_BOTH
@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
async def test_another_bot_posts_what_a_bot_left_behind_once(
    crew: Crew, sandbox: Sandbox, sent: list[tuple[discord.Client, Job]], ada: Person, killed: bool
) -> None:
    zero, one = await crew.start("0", 2), await crew.start("1", 2)
    message = await order(ada)
    job = await crew.easel.take()
    await (crew.kill if killed else crew.end)(one)
    await crew.easel.finish(job)
    await finished(ada, message)
    assert [client for client, told in sent if told.state.ended] == [zero]
    assert zero.keeping is not None
    assert zero.keeping.missing == [1]
    assert [m for m in await ada.messages() if "Reroll" in labels_of(m)] == [await ada.message(message)]
    [unkept] = [family for family in Gateway(zero).collect() if family.name == "flux_shard_unkept"]
    assert [(sample.labels, sample.value) for sample in unkept.samples] == [({"shard": "1"}, 1.0)]

    again = await crew.start("1", 2)
    keeping = zero.keeping
    await soon(lambda: not keeping.missing)
    second = await order(ada)
    await crew.easel.finish(await crew.easel.take())
    await finished(ada, second)
    assert sent[-1][0] is again


async def soon(holds: Callable[[], bool]) -> None:
    """Wait for what a bot finds out or does by itself."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.02)


async def test_an_answer_that_a_late_edit_covered_is_put_back(
    crew: Crew, sent: list[tuple[discord.Client, Job]], ada: Person
) -> None:
    bot = await crew.start("1", 2)
    message = await order(ada)
    job = await crew.easel.take()
    assert bot._delivery is not None
    held, go_on = asyncio.Event(), asyncio.Event()
    send = Poster.send

    async def slow(self: Poster, way: Way, job: Job, *parts: object) -> int | None:
        if not job.state.ended and not held.is_set():
            held.set()
            await go_on.wait()  # the network takes its time with this edit
        return await send(self, way, job, *parts)  # type: ignore[arg-type]

    Poster.send = slow  # type: ignore[assignment, method-assign]
    try:
        await crew.easel.step(job, 1)
        await held.wait()
        await crew.easel.finish(job)
        other = crew.begin("1", 2)
        await finished(ada, message)
        assert [client for client, told in sent if told.state.ended] == [other]
        go_on.set()
        await soon(lambda: [client for client, told in sent if told.state.ended] == [other, bot])
        await finished(ada, message)
    finally:
        Poster.send = send  # type: ignore[method-assign]


async def test_two_bots_with_the_same_shard_or_other_counts_are_told_loudly(
    crew: Crew, caplog: pytest.LogCaptureFixture
) -> None:
    await crew.start("0-1", 2)
    twin = crew.begin("1", 2)
    await soon(lambda: "Shard 1 is kept twice" in caplog.text)
    await crew.end(twin)
    await crew.start("2", 3)
    await soon(lambda: "Give all the same SHARD_COUNT" in caplog.text)


@pytest.mark.parametrize("limits", [Limits(identify_seconds=0)])
async def test_a_gateway_that_stays_away_is_tried_again_and_again(
    crew: Crew, ada: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(session_starts, "TURN", 0.0)
    monkeypatch.setattr(discord.shard, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": at_once}))
    connect, tries = DiscordWebSocket.from_client, iter(range(5))

    async def away(*given: Any, **options: Any) -> DiscordWebSocket:
        if next(tries, None) is not None:
            raise ConnectionRefusedError
        return await connect(*given, **options)

    monkeypatch.setattr(DiscordWebSocket, "from_client", away)
    await crew.start()
    told = [record.exc_info[1] for record in caplog.records if record.exc_info and "Failed to connect" in record.msg]
    assert len(told) == 5
    # Attempts within attempts would end in a RecursionError after an hour or so.
    assert [error.__context__ for error in told if error is not None] == [None] * 5
    await order(ada)


@pytest.mark.parametrize("limits", [Limits(identify_seconds=0, guilds_per_shard=1)])
async def test_too_few_shards_are_the_operators_to_put_right(crew: Crew, sandbox: Sandbox) -> None:
    settings = crew.settings.model_copy(update={"shard_count": 1})
    with pytest.raises(ConfigurationError, match="Raise SHARD_COUNT"):
        await run_bot(settings, crew.studio, token=sandbox.token)


@pytest.mark.parametrize(
    ("given", "says"),
    [({"shards": "0"}, "SHARD_COUNT"), ({"shards": "1-7", "shard_count": 4}, "4-7"), ({"shards": "auto"}, "SHARD_")],
)
async def test_shards_that_do_not_exist_are_explained(crew: Crew, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await run_bot(crew.settings.model_copy(update=given), crew.studio, token=crew.sandbox.token)


async def test_it_is_not_ready_while_a_shard_is_away(crew: Crew) -> None:
    bot = await crew.start("0-1", 2)
    assert await Gateway(bot).trouble() is None
    await bot.shards[1].disconnect()
    assert await Gateway(bot).trouble() == "not connected: shard 1"
