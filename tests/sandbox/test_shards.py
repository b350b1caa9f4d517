"""Several shards of one application: who hears what, who may start when, and what too many starts cost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from bot.sandbox.community import ADA_ID, GRACE_ID, GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from tests.sandbox.raw_bot import COMMANDS, RawBot, code_of
from tests.sandbox.test_gateway import RawClient, connect

TOGETHER = Limits(identify_seconds=0)


async def shards(stack: AsyncExitStack, sandbox: Sandbox, count: int) -> list[RawClient]:
    """Connect all shards and return their clients, each after READY."""
    clients = [await stack.enter_async_context(connect(sandbox)) for _ in range(count)]
    for number, client in enumerate(clients):
        await client.identify(sandbox, shard=[number, count])
    return clients


async def heard(client: RawClient) -> str:
    """Return the channel of the next interaction that a shard hears of."""
    return str((await client.until("INTERACTION_CREATE"))["d"]["channel"]["id"])


async def silent(client: RawClient) -> None:
    """Make sure that nothing but an acknowledged heartbeat comes."""
    await client.send(1, None)
    assert (await client.frame())["op"] == 11


@pytest.mark.parametrize("count", [1, 2, 3, 8])
async def test_each_guild_is_on_one_shard_and_they_spread(count: int) -> None:
    async with Sandbox(limits=TOGETHER, guilds=count) as sandbox, AsyncExitStack() as stack:
        guilds = []
        for number, client in enumerate(await shards(stack, sandbox, count)):
            ready = await client.until("READY")
            assert ready["d"]["shard"] == [number, count]
            [unavailable] = ready["d"]["guilds"]
            guild = (await client.until("GUILD_CREATE"))["d"]
            assert guild["id"] == unavailable["id"]
            assert (int(guild["id"]) >> 22) % count == number
            guilds.append(guild)
            await silent(client)
        assert {guild["id"] for guild in guilds} == set(sandbox.world.community.guilds)
        assert len({channel["id"] for guild in guilds for channel in guild["channels"]}) >= 2 * count


async def test_interactions_go_to_the_shard_of_their_guild_and_direct_ones_to_the_first() -> None:
    async with (
        Sandbox(limits=TOGETHER, guilds=2) as sandbox,
        AsyncExitStack() as stack,
        Person(sandbox.base_url) as ada,
        httpx.AsyncClient(base_url=sandbox.api_base, headers={"Authorization": f"Bot {sandbox.token}"}) as rest,
    ):
        await RawBot(sandbox, rest).register(COMMANDS)
        zero, one = await shards(stack, sandbox, 2)
        for client in (zero, one):
            await client.until("GUILD_CREATE")
        channels = {channel.name: channel.id for channel in sandbox.world.community.channels.values()}
        await ada.command("go", channel="studio")
        assert await heard(one) == channels["studio"]
        await ada.command("go", channel="studio-2")
        assert await heard(zero) == channels["studio-2"]
        await ada.command("go", channel="dm")
        assert await heard(zero) == sandbox.world.community.direct_channel(ADA_ID).id
        for client in (zero, one):
            await silent(client)


async def test_each_session_resumes_with_what_its_shard_missed() -> None:
    async with (
        Sandbox(limits=TOGETHER, guilds=2) as sandbox,
        Person(sandbox.base_url) as ada,
        httpx.AsyncClient(base_url=sandbox.api_base, headers={"Authorization": f"Bot {sandbox.token}"}) as rest,
    ):
        await RawBot(sandbox, rest).register(COMMANDS)
        sessions = []
        async with AsyncExitStack() as stack:
            for client in await shards(stack, sandbox, 2):
                sessions.append((await client.until("READY"))["d"]["session_id"])
                last = await client.until("GUILD_CREATE")
            sandbox.inject(drop_gateway="resume")
            await asyncio.sleep(0)
        await ada.command("go", channel="studio-2")
        await ada.command("go", channel="studio")
        for number, missed in ((0, "studio-2"), (1, "studio")):
            async with connect(sandbox) as again:
                await again.send(6, {"token": sandbox.token, "session_id": sessions[number], "seq": last["s"]})
                event = await again.until("INTERACTION_CREATE")
                assert event["d"]["channel"]["name"] == missed
                assert (await again.until("RESUMED"))["s"] == event["s"] + 1


async def test_a_guild_has_roles_and_members_of_its_own() -> None:
    async with Sandbox(guilds=2) as sandbox, Person(sandbox.base_url, "Grace", "moderators-2") as grace:
        assert grace.id == GRACE_ID
        headers = {"Authorization": f"Bot {sandbox.token}"}
        async with httpx.AsyncClient(base_url=sandbox.api_base, headers=headers) as client:
            first, second = (await client.get("/users/@me/guilds")).json()
            assert (first["id"], second["name"]) == (GUILD_ID, "Annex 2")
            members = [(await client.get(f"/guilds/{one['id']}/members/{GRACE_ID}")).json() for one in (first, second)]
            assert members[0]["roles"] != members[1]["roles"]
            roles = (await client.get(f"/guilds/{second['id']}/roles")).json()
            assert {role["id"] for role in roles} >= {second["id"], *members[1]["roles"]}
            assert code_of(await client.get("/guilds/123/channels")) == (404, 10004)


async def test_whoever_starts_too_early_is_sent_away() -> None:
    async with (
        Sandbox(limits=Limits(identify_seconds=30, max_concurrency=2)) as sandbox,
        connect(sandbox) as zero,
        connect(sandbox) as one,
        connect(sandbox) as two,
    ):
        for client in (zero, one, two):
            assert (await client.frame())["op"] == 10
        await zero.identify(sandbox, shard=[0, 4])
        assert (await zero.frame())["t"] == "READY"
        await one.identify(sandbox, shard=[1, 4])
        assert (await one.frame())["t"] == "READY", "a turn of its own"
        await two.identify(sandbox, shard=[2, 4])
        refused = await two.frame()
        assert (refused["op"], refused["d"]) == (9, False), "the turn of shard 0"


async def test_a_shard_with_too_many_guilds_has_to_be_split() -> None:
    async with Sandbox(limits=Limits(guilds_per_shard=1), guilds=2) as sandbox:
        async with connect(sandbox) as all_of_them:
            await all_of_them.identify(sandbox)
            assert await all_of_them.close_code() == 4011
        async with connect(sandbox) as half:
            await half.identify(sandbox, shard=[0, 2])
            await half.until("READY")


async def test_a_turn_is_free_again_after_its_time() -> None:
    async with Sandbox(limits=Limits(identify_seconds=0.2)) as sandbox:
        for _ in range(2):
            async with connect(sandbox) as client:
                await client.identify(sandbox, shard=[0, 1])
                await client.until("READY")
            await asyncio.sleep(0.25)


async def test_the_days_number_is_told_and_filled_up_again() -> None:
    limits = Limits(identify_seconds=0, session_starts=2, session_reset_seconds=2.0, max_concurrency=16)
    async with Sandbox(limits=limits, shards=3) as sandbox:
        headers = {"Authorization": f"Bot {sandbox.token}"}
        async with httpx.AsyncClient(base_url=sandbox.api_base, headers=headers) as client, connect(sandbox) as bot:
            await bot.identify(sandbox)
            await bot.until("READY")
            told = (await client.get("/gateway/bot")).json()
            assert told["shards"] == 3
            start = told["session_start_limit"]
            assert (start["total"], start["remaining"], start["max_concurrency"]) == (2, 1, 16)
            assert 0 <= start["reset_after"] <= 2_000
            await asyncio.sleep(start["reset_after"] / 1_000 + 0.01)
            assert (await client.get("/gateway/bot")).json()["session_start_limit"]["remaining"] == 2


async def test_going_over_the_days_number_ends_everything_and_takes_the_token() -> None:
    async with Sandbox(limits=Limits(identify_seconds=0, session_starts=1)) as sandbox:
        token = sandbox.token
        async with connect(sandbox) as first, connect(sandbox) as second:
            await first.identify(sandbox)
            await first.until("READY")
            await second.identify(sandbox)
            assert await second.close_code() == 4004
            assert await first.close_code() == 4004
        assert sandbox.token != token
        async with httpx.AsyncClient(base_url=sandbox.api_base) as client:
            answer = await client.get("/users/@me", headers={"Authorization": f"Bot {token}"})
            assert answer.status_code == 401
