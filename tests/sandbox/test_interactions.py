"""Interactions: in time, once, with a living token, public or private for good."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from bot.sandbox.driver import Person
from bot.sandbox.interactions import NO_RESPONSE
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from tests.sandbox.raw_bot import RawBot, code_of, codes_at

EPHEMERAL = 64
BUTTON = {"type": 1, "components": [{"type": 2, "style": 1, "label": "Press", "custom_id": "press"}]}
MODAL: dict[str, Any] = {
    "custom_id": "m",
    "title": "T",
    "components": [{"type": 18, "label": "L", "component": {"type": 4, "style": 1, "custom_id": "t"}}],
}


@pytest.fixture
async def raw(sandbox: Sandbox, rest: httpx.AsyncClient) -> RawBot:
    bot = RawBot(sandbox, rest)
    assert (await bot.register()).status_code == 200
    return bot


async def test_the_payload_is_discords(raw: RawBot, ada: Person, sandbox: Sandbox) -> None:
    await ada.command("find", what="x", most=3)
    payload = await raw.next()
    assert payload["type"] == 2
    assert payload["data"]["options"] == [
        {"name": "what", "type": 3, "value": "x"},
        {"name": "most", "type": 4, "value": 3},
    ]
    assert payload["attachment_size_limit"] == 10 * 1024 * 1024
    assert payload["member"]["user"]["id"] == ada.id
    assert int(payload["app_permissions"]) & (1 << 11)
    assert payload["context"] == 0
    await ada.command("go", channel="dm")
    payload = await raw.next()
    assert payload["user"]["id"] == ada.id
    assert "member" not in payload
    assert "guild_id" not in payload
    assert payload["context"] == 1


async def test_with_response_tells_what_became_of_it(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    first = await raw.next()
    answer = await raw.callback(first, 4, {"content": "a", "flags": EPHEMERAL}, query="?with_response=1")
    assert answer.status_code == 200
    told = answer.json()
    assert told["interaction"]["response_message_ephemeral"] is True
    assert told["interaction"]["response_message_loading"] is False
    assert told["resource"]["type"] == 4
    assert told["resource"]["message"]["content"] == "a"
    assert told["resource"]["message"]["flags"] == EPHEMERAL
    await ada.command("go")
    assert (await raw.callback(await raw.next(), 5)).status_code == 204


async def test_the_second_acknowledgement(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    assert (await raw.callback(interaction, 5)).status_code == 204
    assert code_of(await raw.callback(interaction, 4, {"content": "x"})) == (400, 40060)


async def test_a_wrong_token_or_id(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    assert code_of(await raw.callback(interaction, 5, token="x")) == (404, 10062)
    assert code_of(await raw.callback({**interaction, "id": "1"}, 5)) == (404, 10062)
    assert code_of(await raw.webhook("POST", {"token": "x"}, json={"content": "x"})) == (401, 50027)


async def test_a_broken_body_leaves_the_interaction_open(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    assert codes_at(await raw.callback(interaction, 4, {"content": "x" * 2001})) == {
        "data.content": ["BASE_TYPE_MAX_LENGTH"]
    }
    assert code_of(await raw.callback(interaction, 4, {})) == (400, 50006)
    assert (await raw.callback(interaction, 4, {"content": "x"})).status_code == 204


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 6, 7, 8, 10, 99, True, "4", None])
async def test_callback_types_that_do_not_fit_a_command(raw: RawBot, ada: Person, kind: Any) -> None:
    await ada.command("go")
    assert codes_at(await raw.callback(await raw.next(), kind)) == {"type": ["BASE_TYPE_CHOICES"]}


async def test_nothing_to_edit_before_the_acknowledgement(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    assert code_of(await raw.original("PATCH", interaction, json={"content": "x"})) == (404, 10015)
    assert code_of(await raw.webhook("POST", interaction, json={"content": "x"})) == (404, 10015)


async def test_the_placeholder_becomes_the_first_follow_up(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    await raw.callback(interaction, 5)
    thinking = (await raw.original("GET", interaction)).json()
    assert thinking["flags"] == 128
    await ada.wait_for(lambda m: m["interaction_state"] == "thinking")
    first = (await raw.webhook("POST", interaction, json={"content": "one", "flags": EPHEMERAL})).json()
    assert first["id"] == thinking["id"]
    assert first["flags"] == 0
    second = (await raw.webhook("POST", interaction, json={"content": "two"})).json()
    assert second["id"] != thinking["id"]
    assert (await raw.webhook("GET", interaction, f"/messages/{second['id']}")).json()["content"] == "two"


async def test_a_deleted_placeholder_makes_room_for_a_private_answer(raw: RawBot, ada: Person, linus: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    await raw.callback(interaction, 5)
    placeholder = await linus.wait_for(lambda m: m["interaction_state"] == "thinking")
    assert (await raw.original("DELETE", interaction)).status_code == 204
    await linus.wait_gone(placeholder["id"])
    assert code_of(await raw.original("PATCH", interaction, json={"content": "x"})) == (404, 10008)
    answer = (await raw.webhook("POST", interaction, json={"content": "no", "flags": EPHEMERAL})).json()
    assert answer["flags"] == EPHEMERAL
    assert (await ada.wait_for(lambda m: m["content"] == "no"))["ephemeral_for"] == ada.id
    assert await linus.message(answer["id"]) is None


async def test_public_or_private_is_decided_by_the_acknowledgement(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    await raw.callback(interaction, 5, {"flags": EPHEMERAL})
    edited = await raw.original("PATCH", interaction, json={"content": "x", "flags": 0})
    assert edited.json()["flags"] == EPHEMERAL
    await ada.command("go")
    interaction = await raw.next()
    await raw.callback(interaction, 5)
    edited = await raw.original("PATCH", interaction, json={"content": "x", "flags": EPHEMERAL})
    assert edited.json()["flags"] == 0


async def test_private_messages_are_not_in_the_channel(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    interaction = await raw.next()
    await raw.callback(interaction, 4, {"content": "hidden", "flags": EPHEMERAL})
    message = await ada.wait_for(lambda m: m["content"] == "hidden")
    path = f"/channels/{message['channel_id']}/messages"
    for method in ("GET", "DELETE"):
        assert code_of(await raw.client.request(method, f"{path}/{message['id']}")) == (404, 10008)
    assert code_of(await raw.client.patch(f"{path}/{message['id']}", json={"content": "x"})) == (404, 10008)
    assert (await raw.client.get(path)).json() == []
    assert (await raw.original("DELETE", interaction)).status_code == 204


async def test_one_token_does_not_open_another_interactions_messages(raw: RawBot, ada: Person) -> None:
    for content in ("one", "two"):
        await ada.command("go")
        interaction = await raw.next()
        await raw.callback(interaction, 4, {"content": content})
    one = await ada.wait_for(lambda m: m["content"] == "one")
    assert code_of(await raw.webhook("DELETE", interaction, f"/messages/{one['id']}")) == (404, 10008)


async def test_expired_tokens(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    old = await raw.next()
    await raw.callback(old, 5)
    await ada.faults(expire_tokens=True)
    for method in ("PATCH", "GET", "DELETE"):
        body = {"json": {"content": "x"}} if method == "PATCH" else {}
        assert code_of(await raw.original(method, old, **body)) == (401, 50027)
    await ada.command("go")
    new = await raw.next()
    await raw.callback(new, 5)
    assert (await raw.original("PATCH", new, json={"content": "x"})).status_code == 200


async def test_components_update_or_answer(raw: RawBot, ada: Person, linus: Person) -> None:
    await ada.command("go")
    await raw.callback(await raw.next(), 4, {"content": "menu", "components": [BUTTON]})
    message = await linus.wait_for(lambda m: m["content"] == "menu")
    await linus.press(message, "Press")
    press = await raw.next()
    assert (press["type"], press["data"]["custom_id"], press["data"]["component_type"]) == (3, "press", 2)
    assert press["message"]["id"] == message["id"]
    assert press["member"]["user"]["id"] == linus.id
    await raw.callback(press, 6)
    assert (await raw.original("PATCH", press, json={"content": "menu 2"})).json()["id"] == message["id"]
    await linus.press(message, "press")
    press = await raw.next()
    assert (await raw.callback(press, 7, {"content": "menu 3", "components": []})).status_code == 204
    await ada.wait_for(lambda m: m["content"] == "menu 3")
    with pytest.raises(LookupError):
        await linus.press(message, "Press")


async def test_forged_presses_reach_the_bot(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    await raw.callback(await raw.next(), 4, {"content": "menu", "components": [BUTTON]})
    message = await ada.wait_for(lambda m: m["content"] == "menu")
    await ada.forge(message, "delete:everything")
    assert (await raw.next())["data"]["custom_id"] == "delete:everything"


async def test_an_update_of_a_deleted_message(raw: RawBot, ada: Person) -> None:
    await ada.command("go")
    origin = await raw.next()
    await raw.callback(origin, 4, {"content": "menu", "components": [BUTTON]})
    message = await ada.wait_for(lambda m: m["content"] == "menu")
    await ada.press(message, "Press")
    press = await raw.next()
    await raw.original("DELETE", origin)
    assert code_of(await raw.callback(press, 7, {"content": "x"})) == (404, 10008)


async def test_modals_open_once_and_answer(raw: RawBot, ada: Person) -> None:
    opener = await ada.command("go")
    interaction = await raw.next()
    assert (await raw.callback(interaction, 9, MODAL)).status_code == 204
    answer = await ada.submit_modal(opener, {"t": "text"})
    submitted = await raw.next()
    assert submitted["type"] == 5
    assert submitted["data"]["components"][0]["component"]["value"] == "text"
    assert codes_at(await raw.callback(submitted, 9, MODAL)) == {"type": ["BASE_TYPE_CHOICES"]}
    await raw.callback(submitted, 4, {"content": "thanks"})
    assert (await ada.response(answer))["content"] == "thanks"


def _modal(**changes: Any) -> dict[str, Any]:
    return {**MODAL, **changes}


def _field(**changes: Any) -> dict[str, Any]:
    field = {"type": 4, "style": 1, "custom_id": "t", **changes}
    return _modal(components=[{"type": 18, "label": "L", "component": field}])


@pytest.mark.parametrize(
    ("modal", "path"),
    [
        (_modal(title="x" * 46), "data.title"),
        (_modal(title=""), "data.title"),
        (_modal(custom_id="x" * 101), "data.custom_id"),
        (_modal(components=[]), "data.components"),
        (_modal(components=MODAL["components"] * 6), "data.components"),
        (_modal(components=MODAL["components"] * 2), "data.components"),
        (_modal(components=[BUTTON]), "data.components.0.components.0.type"),
        (_modal(components=[{"type": 12, "items": []}]), "data.components.0.type"),
        (_modal(colour="red"), "data.colour"),
        (_field(style=3), "data.components.0.component.style"),
        (_field(min_length=4001), "data.components.0.component.min_length"),
        (_field(placeholder="x" * 101), "data.components.0.component.placeholder"),
        (_field(type=3, options=[]), "data.components.0.component.style"),
    ],
)
async def test_modals_are_checked(raw: RawBot, ada: Person, modal: dict[str, Any], path: str) -> None:
    await ada.command("go")
    assert path in codes_at(await raw.callback(await raw.next(), 9, modal))


async def test_autocompletion(raw: RawBot, ada: Person) -> None:
    asked = asyncio.create_task(ada.autocomplete("find", "what", "ab"))
    interaction = await raw.next()
    assert interaction["type"] == 4
    assert interaction["data"]["options"] == [{"name": "what", "type": 3, "value": "ab", "focused": True}]
    choices = [{"name": "Abc", "value": "abc"}]
    too_many = {"choices": choices * 26}
    assert codes_at(await raw.callback(interaction, 8, too_many)) == {"data.choices": ["BASE_TYPE_MAX_LENGTH"]}
    long_name = {"choices": [{"name": "x" * 101, "value": "abc"}]}
    assert "data.choices.0.name" in codes_at(await raw.callback(interaction, 8, long_name))
    assert codes_at(await raw.callback(interaction, 4, {"content": "x"})) == {"type": ["BASE_TYPE_CHOICES"]}
    assert (await raw.callback(interaction, 8, {"choices": choices})).status_code == 204
    assert await asked == choices
    assert code_of(await raw.webhook("POST", interaction, json={"content": "x"})) == (404, 10015)


async def test_autocompletion_of_numbers(raw: RawBot, ada: Person) -> None:
    asked = asyncio.create_task(ada.autocomplete("find", "most", "1", what="x"))
    interaction = await raw.next()
    wrong = {"choices": [{"name": "ten", "value": "10"}]}
    assert codes_at(await raw.callback(interaction, 8, wrong)) == {"data.choices.0.value": ["NUMBER_TYPE_COERCE"]}
    await raw.callback(interaction, 8, {"choices": [{"name": "ten", "value": 10}]})
    assert (await asked)[0]["value"] == 10


class TestShortTimes:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(ack_seconds=0.5, token_seconds=1.0)

    async def test_too_late(self, raw: RawBot, ada: Person) -> None:
        outcome = await ada.outcome(await ada.command("go"))
        assert (outcome.state, outcome.reason) == ("failed", NO_RESPONSE)
        assert code_of(await raw.callback(await raw.next(), 4, {"content": "x"})) == (404, 10062)
        assert await ada.messages() == []

    async def test_completions_that_never_come_are_empty(self, raw: RawBot, ada: Person) -> None:
        assert await ada.autocomplete("find", "what", "ab") == []

    async def test_a_token_dies_by_itself(self, raw: RawBot, ada: Person) -> None:
        await ada.command("go")
        interaction = await raw.next()
        await raw.callback(interaction, 5)
        assert (await raw.original("PATCH", interaction, json={"content": "x"})).status_code == 200
        await asyncio.sleep(1.1)
        assert code_of(await raw.original("PATCH", interaction, json={"content": "y"})) == (401, 50027)
