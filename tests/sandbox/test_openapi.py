"""What discord.py sends fits Discord's own description, and the check notices what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.recorder import HIDDEN, Record
from bot.sandbox.server import Sandbox
from tests.sandbox import openapi_check
from tests.sandbox.conftest import point_discord_py_at
from tests.sandbox.example_bot import ExampleBot
from tests.sandbox.pictures import picture

CHANNEL = "/channels/{channel_id}/messages"


async def test_every_request_of_a_bot_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records" / "rest.jsonl"
    async with Sandbox(record=path) as sandbox:
        point_discord_py_at(sandbox, monkeypatch)
        bot = ExampleBot()
        await bot.begin(sandbox.token)
        async with Person(sandbox.base_url) as ada:
            await ada.response(await ada.command("later", text="x"))
            message = await ada.response(await ada.command("card"))
            await ada.outcome(await ada.press(message, "Again"))
            await ada.response(await ada.press(message, "Details"))
            await ada.autocomplete("taste", "flavour", "l")
            await ada.outcome(await ada.command("post", text="y"))
            await ada.wait_for(lambda m: m["content"] == "privately: y")
            opener = await ada.command("survey")
            upload = await ada.upload(picture(), "p.png")
            await ada.response(await ada.submit_modal(opener, {"name": "A", "mood": ["bad"], "file": [upload["id"]]}))
        await bot.finish()
        tokens = [interaction.token for interaction in sandbox.world.interactions.every()]
    text = path.read_text()
    assert tokens
    assert not any(token in text for token in tokens)
    records = openapi_check.read_records(path)
    routes = {(record.method, record.route) for record in records}
    assert ("POST", "/interactions/{interaction_id}/{interaction_token}/callback") in routes
    assert ("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original") in routes
    card = next(record for record in records if record.files)
    assert [file["filename"] for file in card.files] == ["red.png", "green.png", "blue.png", "yellow.png"]
    assert card.files[0] == {"name": "files[0]", "filename": "red.png", "size": len(picture("red"))}
    openapi_check.check(records)


@openapi_check.needs_description
@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Record("GET", "/nothing", "/nothing", {}, None, [], 404), "no such operation"),
        (Record("POST", "/channels/1/messages", CHANNEL, {}, {"content": 5}, [], 200), "content"),
        (Record("POST", "/channels/1/messages", CHANNEL, {}, {"components": [{"type": 99}]}, [], 200), "components"),
        (Record("POST", "/channels/x/messages", CHANNEL, {}, {"content": "a"}, [], 200), "channel_id"),
        (Record("GET", "/channels/1/messages", CHANNEL, {"limt": "3"}, None, [], 200), "limt"),
        (Record("GET", "/channels/1/messages", CHANNEL, {"limit": "many"}, None, [], 200), "limit"),
        (Record("POST", "/channels/1/messages", CHANNEL, {}, None, [], 200), "missing"),
    ],
)
def test_what_does_not_fit_is_named(record: Record, words: str) -> None:
    problems = openapi_check.load().violations(record)
    assert problems
    assert words in problems[0]


@openapi_check.needs_description
def test_what_fits_passes() -> None:
    route = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
    body: dict[str, Any] = {"content": "a", "attachments": [{"id": 0, "filename": "a.png"}]}
    files = [{"name": "files[0]", "filename": "a.png", "size": 1}]
    record = Record("PATCH", f"/webhooks/1/{HIDDEN}/messages/@original", route, {}, body, files, 200)
    assert openapi_check.load().violations(record) == []
