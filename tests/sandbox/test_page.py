"""The page's API: what a member may do, and the sentences they read when they may not."""

from __future__ import annotations

from typing import Any

import aiohttp
import httpx
import pytest

from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person, Refused
from bot.sandbox.reading import find_control, text_of
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from tests.sandbox.pictures import picture
from tests.sandbox.raw_bot import RawBot

EVERYTHING = {
    "name": "make",
    "description": "Make",
    "options": [
        {"type": 3, "name": "what", "description": "What", "required": True, "min_length": 2, "max_length": 5},
        {"type": 4, "name": "count", "description": "n", "min_value": 1, "max_value": 4},
        {"type": 10, "name": "share", "description": "n", "max_value": 1.0},
        {"type": 5, "name": "loud", "description": "b"},
        {"type": 6, "name": "whom", "description": "u"},
        {"type": 7, "name": "where", "description": "c"},
        {"type": 11, "name": "file", "description": "f"},
        {"type": 3, "name": "kind", "description": "k", "choices": [{"name": "A", "value": "a"}]},
        {"type": 8, "name": "role", "description": "r"},
        {"type": 7, "name": "thread", "description": "t", "channel_types": [11]},
    ],
}
ADULT = {"name": "adult", "description": "x", "nsfw": True}
NOT_DIRECT = {"name": "guildonly", "description": "x", "contexts": [0]}


@pytest.fixture
async def raw(sandbox: Sandbox, rest: httpx.AsyncClient) -> RawBot:
    bot = RawBot(sandbox, rest)
    assert (await bot.register([EVERYTHING, ADULT, NOT_DIRECT])).status_code == 200
    return bot


async def test_the_world(ada: Person) -> None:
    world = await ada.world()
    assert [(m["name"], m["role"]) for m in world["members"]] == [
        ("Ada", "member"),
        ("Linus", "member"),
        ("Grace", "moderator"),
    ]
    assert [m["title"] for m in world["members"]] == ["Member", "Patron", "Moderator"]
    assert [role["name"] for role in world["roles"]] == ["@everyone", "Patron", "Moderator", "flux-bot"]
    assert world["bot"] == {**world["bot"], "name": "flux-bot", "online": False}
    for address in (world["bot"]["avatar"], world["members"][0]["avatar"]):
        assert (await ada.download(address)).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "The option 'what' is required."),
        ({"what": "x"}, "The option 'what' must be 2 to 5 characters long."),
        ({"what": "xxxxxx"}, "The option 'what' must be 2 to 5 characters long."),
        ({"what": "  "}, "The option 'what' is required."),
        ({"what": 5}, "The option 'what' must be a text."),
        ({"what": "xx", "colour": 1}, "There is no option called 'colour'."),
        ({"what": "xx", "count": 0}, "The option 'count' must be at least 1."),
        ({"what": "xx", "count": 5}, "The option 'count' must be at most 4."),
        ({"what": "xx", "count": 1.5}, "The option 'count' must be a whole number."),
        ({"what": "xx", "count": True}, "The option 'count' must be a whole number."),
        ({"what": "xx", "share": 1.5}, "The option 'share' must be at most 1.0."),
        ({"what": "xx", "loud": "yes"}, "The option 'loud' must be true or false."),
        ({"what": "xx", "whom": "1"}, "The option 'whom' names no member that exists here."),
        ({"what": "xx", "where": "1"}, "The option 'where' names no channel that exists here."),
        ({"what": "xx", "file": "1"}, "The option 'file' names no uploaded file that exists here."),
        ({"what": "xx", "kind": "b"}, "The option 'kind' must be one of its choices."),
    ],
)
async def test_options_that_do_not_fit(raw: RawBot, ada: Person, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        await ada.command("make", **options)
    assert str(refused.value) == sentence
    assert raw.opened.empty()


async def test_options_that_fit_come_resolved(raw: RawBot, ada: Person, linus: Person) -> None:
    upload = await ada.upload(picture(), "x.png")
    where = (await ada.world())["channels"][1]["id"]
    given: dict[str, Any] = {"what": "xx", "count": 4, "share": 0.5, "loud": False, "kind": "a"}
    await ada.command("make", **given, whom=linus.id, where=where, file=upload)
    data = (await raw.next())["data"]
    assert {option["name"]: option["value"] for option in data["options"]} == {
        **given,
        "whom": linus.id,
        "where": where,
        "file": upload["id"],
    }
    resolved = data["resolved"]
    assert resolved["users"][linus.id]["username"] == "linus"
    assert "user" not in resolved["members"][linus.id]
    assert resolved["channels"][where]["name"] == "general"
    attachment = resolved["attachments"][upload["id"]]
    assert (attachment["width"], attachment["height"], attachment["content_type"]) == (32, 24, "image/png")
    assert attachment["ephemeral"] is True


async def test_roles_and_threads_come_resolved(raw: RawBot, linus: Person) -> None:
    world = await linus.world()
    patron = next(role["id"] for role in world["roles"] if role["name"] == "Patron")
    places = {channel["name"]: channel["id"] for channel in world["channels"]}
    with pytest.raises(Refused, match="The option 'role' names no role that exists here"):
        await linus.command("make", what="xx", role=linus.id)
    with pytest.raises(Refused, match="The option 'thread' takes another kind of channel"):
        await linus.command("make", what="xx", thread=places["studio"])
    assert raw.opened.empty()
    await linus.command("make", what="xx", role=patron, thread=places["colour studies"], channel="colour studies")
    payload = await raw.next()
    resolved = payload["data"]["resolved"]
    assert resolved["roles"][patron]["name"] == "Patron"
    thread = resolved["channels"][places["colour studies"]]
    assert (thread["type"], thread["parent_id"]) == (11, places["studio"])
    assert (payload["channel"]["type"], payload["channel"]["parent_id"]) == (11, places["studio"])
    assert payload["member"]["roles"] == [patron]
    assert not int(payload["member"]["permissions"]) & (1 << 5), "a patron manages nothing"


async def test_only_moderators_and_the_bot_see_the_moderators_channel(
    raw: RawBot, rest: httpx.AsyncClient, ada: Person, grace: Person
) -> None:
    place = next(channel for channel in (await ada.world())["channels"] if channel["name"] == "moderators")
    assert place["seen_by"] == [grace.id]
    with pytest.raises(Refused, match="no such channel"):
        await ada.messages(channel=place["id"])
    posted = await rest.post(f"/channels/{place['id']}/messages", json={"content": "a report"})
    assert posted.status_code == 200
    await grace.wait_for(lambda m: m["content"] == "a report")
    # Whatever Ada's page was sent later than that, the report was not before it.
    await rest.post(f"/channels/{(await ada.world())['channels'][0]['id']}/messages", json={"content": "for all"})
    await ada.wait_for(lambda m: m["content"] == "for all")
    assert await ada.message(posted.json()["id"]) is None


async def test_the_bot_writes_in_a_thread(sandbox: Sandbox, rest: httpx.AsyncClient, ada: Person) -> None:
    places = {channel["name"]: channel["id"] for channel in (await ada.world())["channels"]}
    thread = places["colour studies"]
    sent = await rest.post(f"/channels/{thread}/messages", json={"content": "in the thread"})
    assert sent.status_code == 200
    await ada.wait_for(lambda m: m["channel_id"] == thread)
    listed = await rest.get(f"/guilds/{GUILD_ID}/channels")
    assert thread not in [channel["id"] for channel in listed.json()]
    assert (await rest.get(f"/channels/{thread}")).json()["type"] == 11
    await ada.faults(deny=["SEND_MESSAGES"])
    sent = await rest.post(f"/channels/{thread}/messages", json={"content": "another right"})
    assert sent.status_code == 200
    await ada.faults(deny=["SEND_MESSAGES_IN_THREADS"])
    assert (await rest.post(f"/channels/{thread}/messages", json={"content": "x"})).status_code == 403


async def test_an_answer_names_the_whole_command(sandbox: Sandbox, rest: httpx.AsyncClient, ada: Person) -> None:
    bot = RawBot(sandbox, rest)
    inner = {"type": 1, "name": "set", "description": "s"}
    group = {"type": 2, "name": "quota", "description": "g", "options": [inner]}
    await bot.register([{"name": "admin", "description": "a", "options": [group]}])
    await ada.command("admin quota set")
    await bot.callback(await bot.next(), 4, {"content": "done"})
    answer = await ada.wait_for(lambda m: m["content"] == "done")
    assert answer["interaction_metadata"]["name"] == "admin quota set"


async def test_where_commands_work(raw: RawBot, ada: Person) -> None:
    with pytest.raises(Refused, match="age-restricted channels only"):
        await ada.command("adult")
    await ada.command("adult", channel="age-restricted")
    with pytest.raises(Refused, match="does not work in direct messages"):
        await ada.command("guildonly", channel="dm")
    with pytest.raises(Refused, match="no command called 'fly'"):
        await ada.command("fly")
    with pytest.raises(Refused, match="no such channel"):
        await ada.command("guildonly", channel="1")


async def test_uploads(sandbox: Sandbox, ada: Person) -> None:
    told = await ada.upload(picture(size=(7, 9)), "../../a b?.png")
    assert (told["filename"], told["width"], told["height"]) == ("a_b_.png", 7, 9)
    assert await ada.download(told["url"]) == picture(size=(7, 9))
    renamed = await ada.upload(b"no picture", "x.png")
    assert (renamed["content_type"], renamed["width"]) == ("image/png", None)
    empty = await ada.upload(b"", "empty.png")
    assert empty["size"] == 0


class TestSmallFiles:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(attachment_bytes=1_000)

    async def test_uploads_have_a_limit(self, ada: Person) -> None:
        with pytest.raises(Refused, match="too big"):
            await ada.upload(bytes(1_001), "x.bin")
        with pytest.raises(Refused, match="too big"):
            await ada.upload(bytes(50_000), "x.bin")


async def test_components_are_checked(raw: RawBot, ada: Person, linus: Person) -> None:
    select = {"type": 3, "custom_id": "s", "options": [{"label": "A", "value": "a"}], "placeholder": "Which"}
    buttons = [
        {"type": 2, "style": 1, "label": "Off", "custom_id": "off", "disabled": True},
        {"type": 2, "style": 5, "label": "Link", "url": "https://example.org"},
        {"type": 2, "style": 1, "label": "On", "custom_id": "on"},
    ]
    rows = [{"type": 1, "components": [select]}, {"type": 1, "components": buttons}]
    await ada.command("make", what="xx")
    await raw.callback(await raw.next(), 4, {"content": "menu", "components": rows, "flags": 64})
    message = await ada.wait_for(lambda m: text_of(m) == "menu")
    with pytest.raises(Refused, match="cannot be used"):
        await ada.press(message, "Off")
    with pytest.raises(Refused, match="Which: 'b' is not a choice"):
        await ada.select(message, "s", "b")
    with pytest.raises(Refused, match="Which: choose between 1 and 1"):
        await ada.select(message, "s")
    with pytest.raises(Refused, match="no such message"):
        await linus.press(message, "On")
    with pytest.raises(LookupError, match="no control 'Up'; there is 's', 'Off', 'Link', 'On'"):
        find_control(message, "Up")
    await ada.select(message, "s", "a")
    assert (await raw.next())["data"]["values"] == ["a"]


async def test_strangers_and_broken_requests(sandbox: Sandbox, ada: Person) -> None:
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        for path, body in (
            ("/sandbox/commands", {}),
            ("/sandbox/commands", []),
            ("/sandbox/commands", {"member": "1", "channel": "dm", "name": "x"}),
            ("/sandbox/components", {"member": ada.id, "channel": "dm", "message_id": "1", "custom_id": "x"}),
            ("/sandbox/modals", {"member": ada.id, "interaction_id": "1", "custom_id": "x", "components": []}),
            ("/sandbox/faults", {"rest_500": -1}),
            ("/sandbox/faults", {"explode": True}),
        ):
            answer = await http.post(path, json=body)
            assert answer.status_code == 400, path
            assert answer.json()["error"].strip()
        assert (await http.post("/sandbox/commands", content=b"{")).status_code == 400
        assert (await http.get("/sandbox/messages", params={"member": ada.id, "channel": "dm", "limit": "x"})).is_error
        assert (await http.get("/sandbox/interactions/1")).status_code == 404
        assert (await http.get("/healthz")).json() == {"ok": True}


async def test_other_web_sites_cannot_type_here(sandbox: Sandbox, ada: Person) -> None:
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        foreign = await http.post("/sandbox/faults", json={}, headers={"Origin": "https://example.org"})
        assert foreign.status_code == 403
        rebound = {"Origin": "http://evil.example", "Host": "evil.example"}
        assert (await http.post("/sandbox/faults", json={}, headers=rebound)).status_code == 403
        own = await http.post("/sandbox/faults", json={}, headers={"Origin": sandbox.base_url})
        assert own.status_code == 200
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(
                f"{sandbox.base_url}/sandbox/events?member={ada.id}", headers={"Origin": "https://example.org"}
            )


async def test_other_web_sites_cannot_be_the_bot(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{sandbox.gateway_url}?v=10", headers={"Origin": "https://example.org"})
    async with httpx.AsyncClient(base_url=sandbox.base_url) as http:
        bot = {"Authorization": f"Bot {sandbox.token}"}
        assert (await http.get("/api/v10/users/@me", headers=bot)).status_code == 200
        rebound = await http.get("/api/v10/users/@me", headers={**bot, "Host": "evil.example"})
        assert rebound.status_code == 403
        assert (await http.get("/", headers={"Host": "evil.example"})).status_code == 403
        assert (await http.get("/")).headers["X-Frame-Options"] == "DENY"


async def test_files_of_strangers_do_not_run_in_the_page(ada: Person, sandbox: Sandbox) -> None:
    told = await ada.upload(b"<script>alert(1)</script>", "x.html")
    async with httpx.AsyncClient() as http:
        answer = await http.get(told["url"])
    assert answer.headers["content-disposition"] == "attachment"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "example.org", ""])
async def test_only_this_machine_may_connect(host: str) -> None:
    with pytest.raises(ValueError, match="this machine only"):
        await Sandbox().start(host)


async def test_a_taken_port_is_said_and_leaves_nothing_behind(sandbox: Sandbox) -> None:
    port = int(sandbox.base_url.rsplit(":", 1)[1])
    other = Sandbox()
    with pytest.raises(OSError, match="address already in use"):
        await other.start(port=port)
    await other.start()
    await other.stop()


async def test_an_unknown_owner_is_named() -> None:
    with pytest.raises(ValueError, match=r"Nobody here is called 'Zed'\. There are: Ada, Linus, Grace\."):
        Sandbox(owner="Zed")
