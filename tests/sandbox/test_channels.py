"""Channel messages with the bot token: permissions, files, nonces, direct messages."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from bot.sandbox.community import ADA_ID, APPLICATION_ID, GUILD_ID
from bot.sandbox.driver import Person, Refused
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from tests.sandbox.pictures import picture
from tests.sandbox.raw_bot import code_of, codes_at

V2 = 1 << 15


@pytest.fixture
def limits() -> Limits:
    return Limits(attachment_bytes=5_000, file_budget_bytes=12_000)


@pytest.fixture
async def channels(ada: Person) -> dict[str, str]:
    return {channel["name"]: channel["id"] for channel in (await ada.world())["channels"]}


@pytest.fixture
def studio(channels: dict[str, str]) -> str:
    return f"/channels/{channels['studio']}/messages"


def form(payload: dict[str, Any], *files: tuple[str, bytes]) -> dict[str, Any]:
    """Build a multipart request the way Discord wants it."""
    named = {f"files[{index}]": (name, data, "application/octet-stream") for index, (name, data) in enumerate(files)}
    return {"data": {"payload_json": json.dumps(payload)}, "files": named}


async def test_only_the_bot_may_ask(sandbox: Sandbox, rest: httpx.AsyncClient) -> None:
    for token in ("", "Bot x", sandbox.token, f"Bearer {sandbox.token}"):
        assert code_of(await rest.get("/users/@me", headers={"Authorization": token})) == (401, 0)
    assert (await rest.get("/users/@me")).json()["id"] == APPLICATION_ID


async def test_what_is_not_there(rest: httpx.AsyncClient, studio: str) -> None:
    assert code_of(await rest.get("/nowhere")) == (404, 0)
    assert code_of(await rest.get("/channels/1")) == (404, 10003)
    assert code_of(await rest.post("/channels/1/messages", json={"content": "x"})) == (404, 10003)
    assert code_of(await rest.get(f"{studio}/1")) == (404, 10008)
    assert code_of(await rest.patch(f"{studio}/1", json={"content": "x"})) == (404, 10008)
    assert code_of(await rest.get("/guilds/1")) == (404, 10004)
    assert code_of(await rest.get(f"/guilds/{GUILD_ID}/members/1")) == (404, 10007)
    assert code_of(await rest.get("/users/1")) == (404, 10013)
    assert code_of(await rest.get("/applications/1/commands")) == (404, 10002)
    assert code_of(await rest.post("/webhooks/1/x", json={"content": "x"})) == (404, 10015)


async def test_tokens_are_hidden_in_records(sandbox: Sandbox, rest: httpx.AsyncClient) -> None:
    await rest.post(f"/webhooks/{APPLICATION_ID}/secret", json={"content": "x"})
    await rest.post("/interactions/1/secret/callback", json={"type": 1})
    await rest.post("/webhooks/1/secret/unknown/route")
    assert [record.path for record in sandbox.records] == [
        f"/webhooks/{APPLICATION_ID}/HIDDEN",
        "/interactions/1/HIDDEN/callback",
        "/webhooks/1/HIDDEN/unknown/route",
    ]
    assert sandbox.records[2].route == ""


async def test_create_edit_delete(rest: httpx.AsyncClient, studio: str, ada: Person) -> None:
    message = (await rest.post(studio, json={"content": f"hello <@{ADA_ID}>"})).json()
    assert [user["username"] for user in message["mentions"]] == ["ada"]
    edited = (await rest.patch(f"{studio}/{message['id']}", json={"content": "bye"})).json()
    assert (edited["content"], edited["mentions"]) == ("bye", [])
    suppressed = (await rest.patch(f"{studio}/{message['id']}", json={"flags": 4})).json()
    assert (suppressed["flags"], suppressed["content"]) == (4, "bye")
    assert (await rest.patch(f"{studio}/{message['id']}", json={"content": "still"})).json()["flags"] == 4
    assert (await rest.delete(f"{studio}/{message['id']}")).status_code == 204
    assert code_of(await rest.delete(f"{studio}/{message['id']}")) == (404, 10008)
    await ada.wait_gone(message["id"])


async def test_mentions_only_as_allowed(rest: httpx.AsyncClient, studio: str) -> None:
    body = {"content": f"hello <@{ADA_ID}>", "allowed_mentions": {"parse": []}}
    assert (await rest.post(studio, json=body)).json()["mentions"] == []
    body["allowed_mentions"] = {"parse": [], "users": [ADA_ID]}
    assert len((await rest.post(studio, json=body)).json()["mentions"]) == 1


async def test_history(rest: httpx.AsyncClient, studio: str) -> None:
    ids = [(await rest.post(studio, json={"content": str(n)})).json()["id"] for n in range(4)]
    assert [m["id"] for m in (await rest.get(studio)).json()] == ids[::-1]
    assert [m["id"] for m in (await rest.get(studio, params={"limit": 2})).json()] == [ids[3], ids[2]]
    assert [m["id"] for m in (await rest.get(studio, params={"before": ids[2]})).json()] == [ids[1], ids[0]]
    assert [m["id"] for m in (await rest.get(studio, params={"after": ids[0], "limit": 2})).json()] == [ids[2], ids[1]]


async def test_permissions(rest: httpx.AsyncClient, channels: dict[str, str], studio: str, ada: Person) -> None:
    silent = f"/channels/{channels['read-only']}/messages"
    assert code_of(await rest.post(silent, json={"content": "x"})) == (403, 50013)
    assert (await rest.get(silent)).status_code == 200
    await ada.faults(deny=["SEND_MESSAGES"])
    assert code_of(await rest.post(studio, json={"content": "x"})) == (403, 50013)
    await ada.faults(deny=["ATTACH_FILES"])
    assert code_of(await rest.post(studio, **form({"content": "x"}, ("a.txt", b"a")))) == (403, 50013)
    assert (await rest.post(studio, json={"content": "x"})).status_code == 200
    await ada.faults(deny=["VIEW_CHANNEL"])
    assert code_of(await rest.post(studio, json={"content": "x"})) == (403, 50001)
    assert code_of(await rest.get(f"/channels/{channels['studio']}")) == (403, 50001)
    await ada.faults(deny=[])
    assert (await rest.post(studio, json={"content": "x"})).status_code == 200


async def test_an_unknown_permission_is_named(ada: Person) -> None:
    with pytest.raises(Refused, match="no permission called 'FLY'"):
        await ada.faults(deny=["FLY"])
    assert (await ada.faults())["deny"] == []


async def test_enforced_nonce(rest: httpx.AsyncClient, studio: str) -> None:
    body = {"content": "once", "nonce": "abc", "enforce_nonce": True}
    first = (await rest.post(studio, json=body)).json()
    second = (await rest.post(studio, json={**body, "content": "twice"})).json()
    assert second["id"] == first["id"]
    assert second["content"] == "once"
    assert first["nonce"] == "abc"
    other = (await rest.post(studio, json={**body, "enforce_nonce": False})).json()
    assert other["id"] != first["id"]


async def test_replies(rest: httpx.AsyncClient, studio: str) -> None:
    target = (await rest.post(studio, json={"content": "target"})).json()
    reply = (await rest.post(studio, json={"content": "re", "message_reference": {"message_id": target["id"]}})).json()
    assert (reply["type"], reply["message_reference"]["message_id"]) == (19, target["id"])


async def test_files_in_cards(rest: httpx.AsyncClient, studio: str) -> None:
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://a_b.png"}}]}
    payload = {"flags": V2, "components": [gallery], "attachments": [{"id": 0, "description": "A square"}]}
    data = picture(size=(20, 10))
    sent = await rest.post(studio, **form(payload, ("a b.png", data)))
    message = sent.json()
    attachment = message["attachments"][0]
    assert (attachment["filename"], attachment["description"]) == ("a_b.png", "A square")
    assert (attachment["width"], attachment["height"], attachment["size"]) == (20, 10, len(data))
    media = message["components"][0]["items"][0]["media"]
    assert (media["url"], media["attachment_id"]) == (attachment["url"], attachment["id"])
    downloaded = await rest.get(attachment["url"])
    assert downloaded.content == data
    assert downloaded.headers["content-type"] == "image/png"
    assert downloaded.headers["x-content-type-options"] == "nosniff"
    assert (await rest.get(attachment["proxy_url"])).content == data


async def test_edits_keep_replace_and_add_files(rest: httpx.AsyncClient, studio: str) -> None:
    message = (await rest.post(studio, **form({"content": "x"}, ("a.txt", b"a"), ("b.txt", b"b")))).json()
    address = f"{studio}/{message['id']}"
    first, second = message["attachments"]
    assert (await rest.patch(address, json={"content": "y"})).json()["attachments"] == [first, second]
    added = (await rest.patch(address, **form({"content": "y"}, ("c.txt", b"c")))).json()
    assert [a["filename"] for a in added["attachments"]] == ["a.txt", "b.txt", "c.txt"]
    kept = {"attachments": [{"id": second["id"]}, {"id": 0, "filename": "renamed.txt"}]}
    replaced = (await rest.patch(address, **form(kept, ("d.txt", b"d")))).json()
    assert [a["filename"] for a in replaced["attachments"]] == ["b.txt", "renamed.txt"]
    assert (await rest.get(first["url"])).status_code == 404
    unknown = await rest.patch(address, json={"attachments": [{"id": first["id"]}]})
    assert codes_at(unknown) == {"attachments.0.id": ["ATTACHMENT_NOT_FOUND"]}
    assert (await rest.patch(address, json={"attachments": [], "content": "z"})).json()["attachments"] == []


async def test_file_limits(rest: httpx.AsyncClient, studio: str) -> None:
    assert code_of(await rest.post(studio, **form({}, ("big.bin", bytes(5_001))))) == (413, 40005)
    assert (await rest.post(studio, **form({}, ("big.bin", bytes(5_000))))).status_code == 200
    assert code_of(await rest.post(studio, **form({}, ("huge.bin", bytes(80_000))))) == (413, 40005)
    eleven = await rest.post(studio, **form({}, *((f"{n}.txt", b"x") for n in range(11))))
    assert codes_at(eleven) == {"attachments": ["BASE_TYPE_MAX_LENGTH"]}
    assert code_of(await rest.post(studio, content=b"--x", headers={"Content-Type": "multipart/form-data"}))[1] == 50109


async def test_old_files_give_way(rest: httpx.AsyncClient, studio: str) -> None:
    sent = [(await rest.post(studio, **form({}, (f"{n}.bin", bytes(4_000))))).json() for n in range(4)]
    statuses = [(await rest.get(message["attachments"][0]["url"])).status_code for message in sent]
    assert statuses == [404, 200, 200, 200]


async def test_direct_messages(rest: httpx.AsyncClient, ada: Person) -> None:
    opened = (await rest.post("/users/@me/channels", json={"recipient_id": ADA_ID})).json()
    assert (opened["type"], opened["recipients"][0]["id"]) == (1, ADA_ID)
    assert (await rest.post("/users/@me/channels", json={"recipient_id": int(ADA_ID)})).json()["id"] == opened["id"]
    sent = await rest.post(f"/channels/{opened['id']}/messages", json={"content": "psst"})
    assert "guild_id" not in sent.json()
    await ada.wait_for(lambda m: m["content"] == "psst")
    await ada.faults(closed_dms=True)
    closed = await rest.post(f"/channels/{opened['id']}/messages", json={"content": "psst"})
    assert code_of(closed) == (403, 50007)
    assert code_of(await rest.post("/users/@me/channels", json={"recipient_id": "1"})) == (404, 10013)
    assert "recipient_id" in codes_at(await rest.post("/users/@me/channels", json={}))
