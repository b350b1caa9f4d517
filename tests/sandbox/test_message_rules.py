"""Every limit of a message body, each broken by itself, with the code Discord's error shape carries."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bot.sandbox.driver import Person
from tests.sandbox.raw_bot import code_of, codes_at

V2 = 1 << 15


@pytest.fixture
async def path(ada: Person) -> str:
    """The address of #studio's messages."""
    return f"/channels/{(await ada.world())['channels'][0]['id']}/messages"


def text(content: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": 10, "content": content, **more}


def button(custom_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "L", "custom_id": custom_id, **more}


def row(*children: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(children)}


def box(*children: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": 17, "components": list(children), **more}


def gallery(*addresses: str) -> dict[str, Any]:
    return {"type": 12, "items": [{"media": {"url": address}} for address in addresses]}


def select(*values: str, **more: Any) -> dict[str, Any]:
    options = [{"label": value, "value": value} for value in values]
    return {"type": 3, "custom_id": "s", "options": options, **more}


def v2(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"flags": V2, "components": list(components), **more}


def legacy(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": "c", "components": list(components), **more}


def embed(**fields: Any) -> dict[str, Any]:
    return {"embeds": [fields]}


PICTURE = "https://example.org/a.png"
BROKEN: list[tuple[str, dict[str, Any], str, str]] = [
    ("long content", {"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
    ("content of another type", {"content": 5}, "content", "STRING_TYPE_CONVERT"),
    ("unknown field", {"content": "x", "colour": 1}, "colour", "UNKNOWN_FIELD"),
    ("text that is no boolean", {"content": "x", "tts": "yes"}, "tts", "BOOLEAN_TYPE_CONVERT"),
    ("long nonce", {"content": "x", "nonce": "n" * 26}, "nonce", "BASE_TYPE_MAX_LENGTH"),
    ("a list as nonce", {"content": "x", "nonce": []}, "nonce", "NONCE_TYPE"),
    (
        "mentions both parsed and listed",
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        "allowed_mentions",
        "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
    ),
    ("unknown mention kind", {"content": "x", "allowed_mentions": {"parse": ["all"]}}, "allowed_mentions.parse.0", ""),
    (
        "a file that was not sent",
        {"content": "x", "attachments": [{"id": 0}]},
        "attachments.0.id",
        "ATTACHMENT_NOT_FOUND",
    ),
    (
        "a reply to nothing",
        {"content": "x", "message_reference": {"message_id": "1"}},
        "message_reference",
        "REPLIES_UNKNOWN_MESSAGE",
    ),
    # Embeds
    ("eleven embeds", {"embeds": [{"title": "t"}] * 11}, "embeds", "BASE_TYPE_MAX_LENGTH"),
    ("long embed title", embed(title="x" * 257), "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
    ("long embed description", embed(description="x" * 4097), "embeds.0.description", "BASE_TYPE_MAX_LENGTH"),
    ("26 fields", embed(fields=[{"name": "n", "value": "v"}] * 26), "embeds.0.fields", "BASE_TYPE_MAX_LENGTH"),
    ("field without a value", embed(fields=[{"name": "n"}]), "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"),
    ("unknown embed field", embed(titel="t"), "embeds.0.titel", "UNKNOWN_FIELD"),
    ("an embed's file that was not sent", embed(image={"url": "attachment://a.png"}), "embeds.0.image.url", ""),
    (
        "6,001 characters over two embeds",
        {"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]},
        "embeds",
        "MAX_EMBED_SIZE_EXCEEDED",
    ),
    # Legacy components
    ("six rows", legacy(*(row(button(str(n))) for n in range(6))), "components", "BASE_TYPE_BAD_LENGTH"),
    ("six buttons", legacy(row(*(button(str(n)) for n in range(6)))), "components.0.components", ""),
    ("an empty row", legacy(row()), "components.0.components", "BASE_TYPE_REQUIRED"),
    ("a button outside a row", legacy(button()), "components.0.type", "UNION_TYPE_CHOICES"),
    ("a button beside a select", legacy(row(button(), select("x"))), "components.0.components", ""),
    ("long custom_id", legacy(row(button("x" * 101))), "components.0.components.0.custom_id", "BASE_TYPE_BAD_LENGTH"),
    ("empty custom_id", legacy(row(button(""))), "components.0.components.0.custom_id", "BASE_TYPE_REQUIRED"),
    (
        "the same custom_id twice",
        legacy(row(button("x")), row(button("x"))),
        "components.1.components.0.custom_id",
        "COMPONENT_CUSTOM_ID_DUPLICATED",
    ),
    ("long label", legacy(row(button(label="x" * 81))), "components.0.components.0.label", "BASE_TYPE_MAX_LENGTH"),
    ("neither label nor emoji", legacy(row(button(label=""))), "components.0.components.0.label", ""),
    ("unknown style", legacy(row(button(style=9))), "components.0.components.0.style", "BASE_TYPE_CHOICES"),
    ("a link with a custom_id", legacy(row(button(style=5, url=PICTURE))), "components.0.components.0.custom_id", ""),
    (
        "a button without custom_id",
        legacy(row({"type": 2, "style": 1, "label": "x"})),
        "components.0.components.0.custom_id",
        "",
    ),
    ("unknown button field", legacy(row(button(size=2))), "components.0.components.0.size", "UNKNOWN_FIELD"),
    ("a select without options", legacy(row(select())), "components.0.components.0.options", "BASE_TYPE_REQUIRED"),
    ("26 options", legacy(row(select(*map(str, range(26))))), "components.0.components.0.options", ""),
    ("an option twice", legacy(row(select("x", "x"))), "components.0.components.0.options", ""),
    ("more values than options", legacy(row(select("x", max_values=2))), "components.0.components.0.max_values", ""),
    ("a text display without the flag", legacy(text()), "components.0.type", "UNION_TYPE_CHOICES"),
    ("a container without the flag", legacy(box(text())), "components.0.type", "UNION_TYPE_CHOICES"),
    # Components V2
    (
        "content with the flag",
        v2(text(), content="x"),
        "content",
        "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
    ),
    (
        "embeds with the flag",
        v2(text(), embeds=[{"title": "t"}]),
        "embeds",
        "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
    ),
    ("41 components", v2(*(text() for _ in range(41))), "components", "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED"),
    (
        "41 components with nesting",
        v2(box(*(text() for _ in range(34)), row(*(button(str(n)) for n in range(5))))),
        "components",
        "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED",
    ),
    ("4,001 characters in one text", v2(text("x" * 4001)), "components.0.content", "BASE_TYPE_BAD_LENGTH"),
    (
        "4,001 characters in all",
        v2(text("x" * 2000), box(text("x" * 2001))),
        "components",
        "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
    ),
    ("an empty text", v2(text("")), "components.0.content", "BASE_TYPE_REQUIRED"),
    ("an empty gallery", v2(gallery()), "components.0.items", "BASE_TYPE_REQUIRED"),
    ("11 pictures", v2(gallery(*[PICTURE] * 11)), "components.0.items", "BASE_TYPE_BAD_LENGTH"),
    (
        "a picture that was not sent",
        v2(box(gallery("attachment://a.png"))),
        "components.0.components.0.items.0.media.url",
        "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND",
    ),
    (
        "a picture from elsewhere",
        v2(gallery("ftp://x/y.png")),
        "components.0.items.0.media.url",
        "URL_TYPE_INVALID_SCHEME",
    ),
    (
        "a file by address",
        v2({"type": 13, "file": {"url": PICTURE}}),
        "components.0.file.url",
        "URL_TYPE_INVALID_SCHEME",
    ),
    ("a container in a container", v2(box(box(text()))), "components.0.components.0.type", "UNION_TYPE_CHOICES"),
    ("an empty container", v2(box()), "components.0.components", "BASE_TYPE_REQUIRED"),
    ("a colour too many", v2(box(text(), accent_color=0x1000000)), "components.0.accent_color", "NUMBER_TYPE_MAX"),
    ("a thumbnail alone", v2({"type": 11, "media": {"url": PICTURE}}), "components.0.type", "UNION_TYPE_CHOICES"),
    (
        "a section without accessory",
        v2({"type": 9, "components": [text()]}),
        "components.0.accessory",
        "BASE_TYPE_REQUIRED",
    ),
    (
        "four texts in a section",
        v2({"type": 9, "components": [text()] * 4, "accessory": button()}),
        "components.0.components",
        "",
    ),
    (
        "a select as accessory",
        v2({"type": 9, "components": [text()], "accessory": select("x")}),
        "components.0.accessory.type",
        "",
    ),
    ("wide spacing", v2({"type": 14, "spacing": 3}), "components.0.spacing", "BASE_TYPE_CHOICES"),
    ("the same id twice", v2(text(id=3), text(id=3)), "components.1.id", "COMPONENT_ID_DUPLICATED"),
    ("an unknown component", v2({"type": 99}), "components.0.type", "UNION_TYPE_CHOICES"),
    ("a component that is no object", {"flags": V2, "components": ["x"]}, "components.0.type", "UNION_TYPE_CHOICES"),
    ("components that are no list", {"flags": V2, "components": {}}, "components", "LIST_TYPE_CONVERT"),
    (
        "a text input in a message",
        legacy(row({"type": 4, "custom_id": "t", "style": 1})),
        "components.0.components.0.type",
        "",
    ),
]


@pytest.mark.parametrize(("body", "where", "code"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_broken_bodies(rest: httpx.AsyncClient, path: str, body: dict[str, Any], where: str, code: str) -> None:
    found = codes_at(await rest.post(path, json=body))
    assert where in found
    assert not code or found[where] == [code]
    assert (await rest.get(path)).json() == []


FINE: list[tuple[str, dict[str, Any]]] = [
    ("2,000 characters", {"content": "x" * 2000}),
    ("6,000 characters of embeds", {"embeds": [{"description": "x" * 4000}, {"description": "x" * 2000}]}),
    ("five rows of five buttons", legacy(*(row(*(button(f"{r}{c}") for c in range(5))) for r in range(5)))),
    ("40 components with nesting", v2(box(*(text() for _ in range(33)), row(*(button(str(n)) for n in range(5)))))),
    ("4,000 characters", v2(text("x" * 2000), box(text("x" * 2000)))),
    ("ten pictures", v2(gallery(*[PICTURE] * 10))),
    (
        "a section with a thumbnail",
        v2({"type": 9, "components": [text()], "accessory": {"type": 11, "media": {"url": PICTURE}}}),
    ),
    ("a custom_id of 100", legacy(row(button("x" * 100)))),
    ("a link", legacy(row({"type": 2, "style": 5, "label": "x", "url": PICTURE}))),
    ("an emoji alone", legacy(row({"type": 2, "style": 2, "custom_id": "x", "emoji": {"name": "🎲"}}))),
    ("a select of members", legacy(row({"type": 5, "custom_id": "u"}))),
    ("flags and null fields", {"content": "x", "flags": None, "embeds": None, "components": None, "attachments": None}),
]


@pytest.mark.parametrize("body", [case[1] for case in FINE], ids=[case[0] for case in FINE])
async def test_bodies_at_the_limit(rest: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    sent = await rest.post(path, json=body)
    assert sent.status_code == 200, sent.text
    again = await rest.get(f"{path}/{sent.json()['id']}")
    assert again.json() == sent.json()


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": None, "embeds": []}, {"flags": V2}])
async def test_empty_messages(rest: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    assert code_of(await rest.post(path, json=body)) == (400, 50006)


async def test_bodies_that_are_no_form(rest: httpx.AsyncClient, path: str) -> None:
    broken = await rest.post(path, content=b"{", headers={"Content-Type": "application/json"})
    assert code_of(broken) == (400, 50109)
    assert codes_at(await rest.post(path, json=[])) == {"": ["DICT_TYPE_CONVERT"]}


async def test_an_edit_of_a_v2_message_stays_v2(rest: httpx.AsyncClient, path: str) -> None:
    message = (await rest.post(path, json=v2(text("one")))).json()
    address = f"{path}/{message['id']}"
    wrong = codes_at(await rest.patch(address, json={"content": "x"}))
    assert wrong == {"content": ["MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"]}
    edited = await rest.patch(address, json={"flags": 0, "components": [text("two")]})
    assert edited.json()["flags"] & V2
    assert edited.json()["components"] == [{"type": 10, "content": "two", "id": 1}]


async def test_a_legacy_message_becomes_v2_once_its_content_is_gone(rest: httpx.AsyncClient, path: str) -> None:
    message = (await rest.post(path, json={"content": "old"})).json()
    address = f"{path}/{message['id']}"
    assert "content" in codes_at(await rest.patch(address, json=v2(text())))
    assert "components.0.type" in codes_at(await rest.patch(address, json={"components": [text()]}))
    edited = await rest.patch(address, json=v2(text(), content=None))
    assert edited.json()["flags"] & V2
    assert edited.json()["content"] == ""


async def test_components_come_back_with_ids(rest: httpx.AsyncClient, path: str) -> None:
    sent = await rest.post(path, json=v2(box(text(), row(button(id=1)), id=7), text()))
    container, last = sent.json()["components"]
    assert container["id"] == 7
    assert container["components"][0]["id"] == 2
    assert container["components"][1]["id"] == 3
    assert container["components"][1]["components"][0]["id"] == 1
    assert last["id"] == 4
