"""How the page draws what a bot may post: the bot's own REST calls make the messages, the sandbox checks them."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from bot.sandbox.community import ADA_ID

from .browser import PageView

pytestmark = pytest.mark.browser

COMPONENTS_V2 = 1 << 15
CHANNEL = "age-restricted"
Post = Any


@pytest.fixture
def post(page: PageView, sandbox: Any) -> Post:
    """Post a message to a quiet channel with the bot's token and return its element."""
    page.one("[data-channel]", CHANNEL).click()
    channels = sandbox.world.community.channels.values()
    place = next(channel.id for channel in channels if channel.name == CHANNEL)

    def send(files: dict[str, bytes] | None = None, **message: Any) -> WebElement:
        parts: list[tuple[str, Any]] = [("payload_json", (None, json.dumps(message), "application/json"))]
        for index, (name, data) in enumerate((files or {}).items()):
            parts.append((f"files[{index}]", (name, data)))
        answer = httpx.post(
            f"{sandbox.api_base}/channels/{place}/messages",
            headers={"Authorization": f"Bot {sandbox.token}"},
            files=parts,
        )
        assert answer.status_code == 200, answer.text
        return page.one(f"[data-message-id='{answer.json()['id']}']")

    return send


def pictures(count: int, width: int = 120, height: int = 90) -> dict[str, bytes]:
    files = {}
    for number in range(count):
        data = io.BytesIO()
        Image.new("RGB", (width, height), (20 * number, 90, 200)).save(data, "PNG")
        files[f"p{number}.png"] = data.getvalue()
    return files


def media(number: int, **more: Any) -> dict[str, Any]:
    return {"media": {"url": f"attachment://p{number}.png"}, **more}


@pytest.mark.parametrize("count", range(1, 11))
def test_galleries_fill_their_box_without_overlap(post: Post, count: int) -> None:
    gallery = {"type": 12, "items": [media(number) for number in range(count)]}
    message = post(pictures(count), flags=COMPONENTS_V2, components=[gallery])
    box = message.find_element(By.CSS_SELECTOR, ".gallery").rect
    items = [item.rect for item in message.find_elements(By.CSS_SELECTOR, ".gallery-item")]
    assert len(items) == count
    area = sum(item["width"] * item["height"] for item in items)
    assert 0.9 < area / (box["width"] * box["height"]) <= 1.0
    for item in items:
        assert item["width"] >= 80
        assert item["x"] + item["width"] <= box["x"] + box["width"] + 1
        assert item["y"] + item["height"] <= box["y"] + box["height"] + 1


def test_a_spoiler_is_blurred_until_it_is_pressed(page: PageView, post: Post) -> None:
    gallery = {"type": 12, "items": [media(0, spoiler=True), media(1)]}
    message = post(pictures(2), flags=COMPONENTS_V2, components=[gallery])
    hidden = message.find_elements(By.CSS_SELECTOR, ".gallery-item")[0]
    image = hidden.find_element(By.TAG_NAME, "img")
    assert "blur" in image.value_of_css_property("filter")
    hidden.click()
    page.wait(lambda: image.value_of_css_property("filter") == "none")
    assert not page.all("[data-lightbox]"), "the first press only shows it"
    hidden.click()
    page.one("[data-lightbox]", "1 of 2")


def test_a_card_with_everything(page: PageView, post: Post) -> None:
    options = [{"label": "flux-schnell", "value": "s", "description": "4 steps"}, {"label": "flux-dev", "value": "d"}]
    styles = enumerate(("One", "Two", "Three", "Four"), start=1)
    buttons: list[dict[str, Any]] = [
        {"type": 2, "style": style, "label": label, "custom_id": label} for style, label in styles
    ]
    buttons.append({"type": 2, "style": 5, "label": "Site", "url": "https://example.org/x"})
    choice = {"type": 3, "custom_id": "model", "placeholder": "Choose a model", "options": options}
    text = {"type": 10, "content": "### Settings\n-# small print"}
    section = {"type": 9, "components": [text], "accessory": {"type": 11, **media(0)}}
    card = [
        section,
        {"type": 14, "divider": True, "spacing": 2},
        {"type": 13, "file": {"url": "attachment://settings.json"}},
        {"type": 1, "components": [choice]},
        {"type": 1, "components": [{"type": 5, "custom_id": "who"}]},
        {"type": 1, "components": buttons},
        {"type": 1, "components": [{"type": 2, "style": 2, "label": "Off", "custom_id": "off", "disabled": True}]},
    ]
    files = {**pictures(1), "settings.json": b"{}"}
    message = post(files, flags=COMPONENTS_V2, components=[{"type": 17, "accent_color": 0xFF8800, "components": card}])

    def find(where: str) -> WebElement:
        found: WebElement = message.find_element(By.CSS_SELECTOR, where)
        return found

    assert find("[data-component=container]").value_of_css_property("border-left-color") == "rgba(255, 136, 0, 1)"
    assert find("[data-component=thumbnail] img").get_attribute("alt") == "p0.png"
    assert find("[data-component=separator]").get_attribute("data-spacing") == "2"
    assert "settings.json\n2 bytes" in find("[data-component=file]").text
    assert find("[data-label=Site]").get_attribute("href") == "https://example.org/x"
    assert not find("[data-label=Off]").is_enabled()
    page.picture("sandbox-components")

    find("[data-component=select][data-custom-id=model]").click()
    page.one("[data-select-list] [data-value=d]").click()
    page.wait(lambda: "flux-dev" in find("[data-custom-id=model]").text, "the choice")
    page.one("[data-interaction-failed]", "This interaction failed")
    assert "Choose a model" in find("[data-custom-id=model]").text, "a choice that failed is taken back"
    find("[data-component=select][data-custom-id=who]").click()
    page.one("[data-select-list] [data-label=Grace]")


def test_the_older_kind_of_message(page: PageView, post: Post) -> None:
    fields = [{"name": "Left", "value": "1", "inline": True}, {"name": "Right", "value": "**2**", "inline": True}]
    embed = {
        "title": "A card",
        "description": "with *text*",
        "color": 0x2A8A57,
        "fields": fields,
        "footer": {"text": "foot"},
    }
    first = post(pictures(1), content=f"Hello <@{ADA_ID}>, ||see||", embeds=[embed])
    assert "A card" in first.find_element(By.CSS_SELECTOR, "[data-component=embed]").text
    left, right = (field.rect for field in first.find_elements(By.CSS_SELECTOR, ".embed-field"))
    assert left["y"] == right["y"]
    assert first.find_elements(By.CSS_SELECTOR, ".gallery-item img")
    hidden = first.find_element(By.CSS_SELECTOR, ".spoiler")
    hidden.click()
    assert hidden.get_attribute("data-revealed") is not None

    reply = post(content="Yes", message_reference={"message_id": first.get_attribute("data-message-id")})
    line = reply.find_element(By.CSS_SELECTOR, "[data-above=reply]")
    assert "Hello @Ada, ▒▒▒ A card with text" in line.text, "plain words, and no spoiler given away"
    line.click()
    page.wait(lambda: page.driver.switch_to.active_element == first, "the original to be focused")
