"""Faults and rate limits: what a bot has to live with."""

from __future__ import annotations

import httpx
import pytest

from bot.sandbox.driver import Person, Refused
from bot.sandbox.ratelimits import DEFAULT, GLOBAL_PER_SECOND, RateLimits
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from tests.sandbox.conftest import StartBot
from tests.sandbox.example_bot import ExampleBot


async def _studio(person: Person) -> str:
    return f"/channels/{(await person.world())['channels'][0]['id']}/messages"


async def test_discord_py_tries_again_after_500s(bot: ExampleBot, ada: Person) -> None:
    await ada.faults(rest_500=1)
    message = await ada.response(await ada.command("say", text="in spite of it"))
    assert message["content"] == "in spite of it"
    assert (await ada.faults())["rest_500"] == 0


async def test_an_answer_that_is_lost(bot: ExampleBot, ada: Person, rest: httpx.AsyncClient) -> None:
    """discord.py sends again what was already done; its nonce is what keeps it from being done twice."""
    await ada.faults(rest_lost=1)
    message = await bot.guilds[0].text_channels[0].send("once")
    assert [m["id"] for m in await ada.messages()] == [str(message.id)]
    await ada.faults(rest_lost=1)
    path = await _studio(ada)
    assert [(await rest.post(path, json={"content": "raw"})).status_code for _ in range(2)] == [500, 200]
    assert [m["content"] for m in await ada.messages()] == ["once", "raw", "raw"]


@pytest.mark.parametrize("everywhere", [False, True])
async def test_discord_py_waits_out_429s(bot: ExampleBot, ada: Person, everywhere: bool) -> None:
    await ada.faults(rest_429=1, retry_after=0.05, **{"global": everywhere})
    await ada.outcome(await ada.command("post", text="patience"))
    await ada.wait_for(lambda m: m["content"] == "privately: patience")
    assert not bot.errors


async def test_the_shape_of_a_429(rest: httpx.AsyncClient, ada: Person) -> None:
    await ada.faults(rest_429=2, retry_after=1.5)
    limited = await rest.get("/users/@me")
    assert limited.status_code == 429
    assert limited.json() == {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
    assert limited.headers["via"]
    assert limited.headers["x-ratelimit-scope"] == "user"
    await ada.faults(**{"global": True})
    limited = await rest.get("/users/@me")
    assert limited.json()["global"] is True
    assert limited.headers["x-ratelimit-global"] == "true"
    assert (await rest.get("/users/@me")).status_code == 200


async def test_headers_count_down_to_a_429(rest: httpx.AsyncClient, ada: Person) -> None:
    path = await _studio(ada)
    answers = [await rest.post(path, json={"content": "x"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers[:5]] == ["4", "3", "2", "1", "0"]
    assert answers[0].headers["x-ratelimit-limit"] == "5"
    assert len({answer.headers["x-ratelimit-bucket"] for answer in answers}) == 1
    assert 0 < answers[5].json()["retry_after"] <= 5
    other = path.replace(path.split("/")[2], (await ada.world())["channels"][1]["id"])
    assert (await rest.post(other, json={"content": "x"})).status_code == 200


def test_the_global_limit_counts_the_bot_token_only() -> None:
    limits = RateLimits(enforced=True)
    for number in range(GLOBAL_PER_SECOND):
        assert limits.take(DEFAULT, str(number), counts_globally=True).retry_after is None
    verdict = limits.take(DEFAULT, "one more", counts_globally=True)
    assert verdict.is_global
    assert 0 < (verdict.retry_after or 0) <= 1
    assert limits.take(DEFAULT, "an interaction", counts_globally=False).retry_after is None


async def test_discord_py_keeps_within_the_limits_by_itself(bot: ExampleBot, ada: Person, sandbox: Sandbox) -> None:
    messages = [await ada.response(await ada.command("say", text=str(number))) for number in range(7)]
    channel = bot.guilds[0].text_channels[0]
    for message in messages:
        await channel.get_partial_message(int(message["id"])).delete()
    assert [record.status for record in sandbox.records if record.method == "DELETE"] == [204] * 7


class TestUnlimited:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(rate_limits=False)

    async def test_limits_can_be_switched_off(self, rest: httpx.AsyncClient, ada: Person) -> None:
        path = await _studio(ada)
        answers = [await rest.post(path, json={"content": "x"}) for _ in range(8)]
        assert {answer.status_code for answer in answers} == {200}
        assert "0" not in {answer.headers["x-ratelimit-remaining"] for answer in answers}


async def test_denied_permissions_reach_the_bots_cache(bot: ExampleBot, ada: Person) -> None:
    channel = bot.guilds[0].text_channels[0]
    assert channel.permissions_for(channel.guild.me).attach_files
    await ada.faults(deny=["ATTACH_FILES"])
    # The gateway is in order: once the bot has answered this, it has seen the change before it.
    await ada.response(await ada.command("say", text="seen"))
    assert not channel.permissions_for(channel.guild.me).attach_files
    await ada.faults(deny=[])
    await ada.response(await ada.command("say", text="seen again"))
    assert channel.permissions_for(channel.guild.me).attach_files


class TestShortTimes:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(ack_seconds=0.2)

    async def test_a_bot_that_says_nothing(self, bot: ExampleBot, ada: Person) -> None:
        assert (await ada.outcome(await ada.command("silent"))).state == "failed"
        assert not bot.errors

    async def test_a_bot_that_is_away(self, start_bot: StartBot, ada: Person) -> None:
        bot = await start_bot()
        await bot.finish()
        assert (await ada.outcome(await ada.command("say", text="hello?"))).state == "failed"


async def test_slowness(rest: httpx.AsyncClient, ada: Person) -> None:
    await ada.faults(slow_ms=300)
    answer = await rest.get("/users/@me")
    assert answer.elapsed.total_seconds() >= 0.3


async def test_what_a_community_takes_away(bot: ExampleBot, ada: Person, rest: httpx.AsyncClient) -> None:
    """Channels, open threads, the size of files, and the bot itself; it hears of each."""
    channels = {channel["name"]: channel["id"] for channel in (await ada.world())["channels"]}
    thread, general = (f"/channels/{channels[name]}/messages" for name in ("colour studies", "general"))
    sent = (await rest.post(thread, json={"content": "x"})).json()["id"]
    await ada.faults(archive_threads="archived")
    assert (await rest.patch(f"{thread}/{sent}", json={"content": "y"})).json()["code"] == 50083
    assert (await rest.post(thread, json={"content": "it opens it"})).status_code == 200
    assert (await rest.patch(f"{thread}/{sent}", json={"content": "y"})).status_code == 200
    await ada.faults(archive_threads="locked")
    assert (await rest.post(thread, json={"content": "x"})).json()["code"] == 50083
    await ada.faults(largest_file=10)
    large = await rest.post(general, files={"files[0]": ("a.bin", bytes(11))}, data={"payload_json": "{}"})
    assert (large.status_code, large.json()["code"]) == (413, 40005)
    await ada.faults(delete_channel="general")
    assert (await rest.post(general, json={"content": "x"})).json()["code"] == 10003
    with pytest.raises(Refused, match="no channel called 'nowhere'"):
        await ada.faults(delete_channel="nowhere")
    await ada.faults(remove_bot=True)
    assert (await rest.post(thread, json={"content": "x"})).json()["code"] == 50001
    assert (await rest.get(f"/guilds/{bot.guilds[0].id}" if bot.guilds else "/guilds/1")).status_code == 404
    with pytest.raises(Refused, match="There is no command"):
        await ada.command("say", text="x")
    await ada.faults(remove_bot=False)
    await ada.response(await ada.command("say", text="here again"))
    assert [channel.name for channel in bot.guilds[0].text_channels if channel.name == "general"] == []
