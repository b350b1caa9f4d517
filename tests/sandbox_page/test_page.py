"""What a member sees and does on the sandbox page: real sockets, a real discord.py bot, a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from .browser import PageView
from .conftest import ROOT, Loop, ScriptedBot
from .line import Line

pytestmark = pytest.mark.browser

CARD = "[data-message-id]:has([data-component=gallery])"


def draw(page: PageView, prompt: str = "a red circle on a blue background", options: str = "") -> WebElement:
    """Run /imagine and return the finished card with its pictures loaded."""
    page.command(f"/imagine prompt: {prompt} {options}")
    card = page.one(CARD, prompt)
    page.wait(lambda: pictures_loaded(page, card), "pictures")
    return card


def pictures_loaded(page: PageView, card: WebElement) -> bool:
    script = (
        "return [...arguments[0].querySelectorAll('.gallery img')].every((i) => i.complete && i.naturalWidth === 512)"
    )
    return bool(page.driver.execute_script(script, card))


def test_an_empty_channel_says_how_to_begin(page: PageView) -> None:
    page.one("[data-channel]", "general").click()
    page.one("[data-hint]", "/imagine prompt: a red circle on a blue background").click()
    field = page.one("[data-option-field=prompt]")
    assert field.get_attribute("value") == "a red circle on a blue background"
    page.picture("sandbox-empty")


def test_imagine_typed_as_one_line_becomes_a_card(page: PageView) -> None:
    card = draw(page, options="aspect: 16:9")
    assert "Ada used /imagine" in card.text.replace("\n", " ")
    assert "APP" in card.text
    assert "a red circle on a blue background (16:9, flux-schnell)" in card.text
    assert len(card.find_elements(By.CSS_SELECTOR, ".gallery-item img")) == 4
    page.none("[data-thinking]")
    page.none("[data-local]")
    page.picture("sandbox-desktop")


def test_an_edit_changes_the_text_and_leaves_the_pictures_alone(page: PageView) -> None:
    card = draw(page, "a boat")
    page.run(
        "for (const image of args[0].querySelectorAll('img')) image.kept = true; performance.clearResourceTimings();",
        card,
    )
    page.press(card, "Count")
    page.one(CARD, "counted 1")
    kept, fetched = page.run(
        "const images = [...args[0].querySelectorAll('.gallery img')];"
        "return [images.every((image) => image.kept && image.complete),"
        " performance.getEntriesByType('resource').filter((entry) => entry.initiatorType === 'img').length];",
        card,
    )
    assert kept is True
    assert fetched == 0


def test_an_edit_above_does_not_move_what_is_being_read(page: PageView) -> None:
    first = draw(page, "a first picture")
    for number in range(3):
        draw(page, f"later picture {number}")
    page.run("document.getElementById('scroller').scrollTop -= 300")
    place = "return document.getElementById('scroller').scrollTop"
    before = page.run(place)
    page.run("args[0].querySelector('[data-label=Count]').click()", first)
    page.wait(lambda: "counted 1" in first.text, "the edit")
    grown = page.run(place) - before
    last = page.all(CARD)[-1]
    assert 0 <= grown < 40, "only what was added above may have moved the position"
    assert last.is_displayed()


def test_a_private_answer_is_for_its_member_alone(page: PageView) -> None:
    page.press(draw(page, "a secret"), "Details")
    note = page.one("[data-ephemeral]", "Seed 7, asked by @Ada")
    assert "Only you can see this" in note.text
    assert "a secret" in note.find_element(By.CSS_SELECTOR, "[data-above=reply]").text, "it names what it answers"
    page.become("Linus")
    page.one(CARD, "a secret")
    assert not page.all("[data-ephemeral]")
    page.become("Ada")
    page.one("[data-ephemeral] [data-action=dismiss]").click()
    page.none("[data-ephemeral]")


def test_a_modal_keeps_what_was_written_until_it_fits(page: PageView) -> None:
    page.press(draw(page), "Remix")
    page.one("[data-modal]", "Remix this picture")
    page.type("ab")
    page.one("[data-modal-submit]").click()
    page.one("[data-modal] [data-label=Prompt]", "At least 3 characters")
    page.type(" green square")
    page.one("[data-modal] [data-component=select]").click()
    page.one("[data-select-list] [data-value=flux-dev]").click()
    page.picture("sandbox-modal")
    page.one("[data-modal-submit]").click()
    page.one("[data-message-id]", "Remixed: ab green square with flux-dev")
    page.none("[data-modal]")


def test_a_press_that_nobody_answers_fails_visibly(page: PageView) -> None:
    card = draw(page)
    page.press(card, "Ignore")
    page.one('[data-label="Ignore"][data-pending]')
    page.one("[data-interaction-failed]", "This interaction failed")
    page.none("[data-pending]")


def test_a_command_that_nobody_answers_says_so(page: PageView) -> None:
    page.command("/silent")
    page.one("[data-local=sending]", "Sending command")
    page.one("[data-local=failed]", "The application did not respond")
    page.one("[data-local=failed] [data-action=dismiss]").click()
    page.none("[data-local]")


def test_a_deleted_message_goes(page: PageView) -> None:
    card = draw(page, "a short life")
    identity = card.get_attribute("data-message-id")
    page.press(card, "Details")
    page.one("[data-ephemeral] [data-above=reply]", "a short life")
    page.press(card, "Delete")
    page.none(f"[data-message-id='{identity}']")
    page.one("[data-ephemeral] [data-above=reply]", "The original message is not here any more")


def test_direct_messages_stay_with_their_member(page: PageView) -> None:
    page.one("[data-channel=dm]").click()
    draw(page, "between us")
    page.one("[data-channel]", "studio").click()
    page.wait(lambda: not [card for card in page.all(CARD) if "between us" in card.text], "the channel")
    page.become("Linus")
    page.one("[data-channel=dm]").click()
    page.one("[data-hint]")
    assert not page.all(CARD)


def test_messages_elsewhere_are_marked_unread(page: PageView, chromium: Callable[..., Any]) -> None:
    other = PageView(chromium(), page.address, ROOT / ".artifacts")
    other.open("Linus", "studio")
    page.one("[data-channel]", "read-only").click()
    draw(other, "news in the studio")
    page.one("[data-channel][data-unread]", "studio").click()
    page.one(CARD, "news in the studio")
    page.none("[data-unread]")


def test_pictures_open_large_and_turn(page: PageView) -> None:
    card = draw(page)
    card.find_elements(By.CSS_SELECTOR, ".gallery-item")[1].click()
    page.one("[data-lightbox]", "2 of 4")
    page.type(Keys.ARROW_RIGHT)
    page.one("[data-lightbox]", "3 of 4")
    page.type(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    page.one("[data-lightbox]", "4 of 4")
    assert page.one("[data-lightbox-download]").get_attribute("download") == "circle-3.png"
    page.type(Keys.ESCAPE)
    page.none("[data-lightbox]")


def test_a_command_on_a_message_runs_from_its_menu(page: PageView) -> None:
    page.command("/quota")
    note = page.one("[data-ephemeral]", "42 of 50")
    page.driver.execute_script("arguments[0].querySelector('[data-action=message-menu]').click()", note)
    page.one("[data-menu-item='Count words']").click()
    page.one("[data-message-id]", "7 words")


def test_a_command_on_a_member_runs_from_their_menu(page: PageView) -> None:
    page.one("[aria-label='More about Linus']").click()
    page.one("[data-menu-item='Who is this']").click()
    page.one("[data-ephemeral]", "Linus is Patron")


def test_only_moderators_find_the_moderators_channel(page: PageView) -> None:
    channels = "//button[@data-channel][.//*[text()='moderators']]"
    assert not page.all(channels)
    page.become("Grace")
    page.one(channels).click()
    page.wait(lambda: "moderators" in page.driver.title)
    page.become("Linus")
    assert not page.all(channels)
    page.wait(lambda: "studio" in page.driver.title, "a channel that Linus sees")


def test_commands_work_in_a_thread(page: PageView) -> None:
    page.one("[data-channel][data-thread]", "colour studies").click()
    draw(page, "a study")
    page.one("[data-channel]", "studio").click()
    page.wait(lambda: not [card for card in page.all(CARD) if "a study" in card.text], "the channel")


def test_a_link_to_a_message_leads_there(page: PageView, sandbox: Any) -> None:
    card = draw(page, "far away")
    here = sandbox.world.messages.newest_first(next(iter(sandbox.world.community.channels)))
    target = next(message for message in here if message.id == card.get_attribute("data-message-id"))
    page.one("[data-channel]", "age-restricted").click()
    link = f"https://discord.com/channels/{sandbox.world.guild_id}/{target.channel_id}/{target.id}"
    elsewhere = next(one.id for one in sandbox.world.community.channels.values() if one.name == "age-restricted")
    answer = httpx.post(
        f"{sandbox.api_base}/channels/{elsewhere}/messages",
        headers={"Authorization": f"Bot {sandbox.token}"},
        json={"content": f"Look [there]({link})."},
    )
    assert answer.status_code == 200
    page.one("[data-message-id]", "Look there.").find_element(By.LINK_TEXT, "there").click()
    page.wait(lambda: "studio" in page.driver.title, "the studio")
    page.one(f"[data-message-id='{target.id}'].flash", "far away")
    assert len(page.driver.window_handles) == 1


def test_what_members_write_is_never_html(page: PageView) -> None:
    card = draw(page, "<img src=x onerror=document.title='broken'> <b>bold</b>")
    assert "<b>bold</b>" in card.text
    assert not card.find_elements(By.CSS_SELECTOR, "img[src=x], .text-display b")
    assert "broken" not in page.driver.title


def test_trouble_is_injected_and_survived(page: PageView, sandbox: Any) -> None:
    page.one("#trouble-toggle").click()
    amount = page.one("[data-trouble='rest-500']")
    amount.clear()
    amount.send_keys("1")
    page.one("[data-trouble='rest-500-apply']").click()
    page.one("[data-trouble-current]", "1 server error to come")
    page.picture("sandbox-trouble")
    page.one("#trouble-close").click()
    draw(page, "in spite of a server error")
    page.wait(lambda: sandbox.world.faults.rest_500 == 0, "the error to be used up")

    page.one("#trouble-toggle").click()
    page.one("[data-trouble=deny-SEND_MESSAGES]").click()
    page.one("[data-trouble-current]", "Denied: Send messages")
    page.one("[data-trouble=clear]").click()
    page.one("[data-trouble-current]", "No trouble at the moment")
    page.one("[data-trouble=resume]").click()
    page.one("[data-trouble-said]", "The connection was cut")
    page.one("#trouble-close").click()
    page.none("[data-banner=offline]")
    draw(page, "after the gateway was cut")


def test_a_lost_connection_is_found_again_with_everything_that_happened(page: PageView, line: Line, loop: Loop) -> None:
    card = draw(page, "before the cut")
    loop.run(line.cut())
    page.one("[data-banner=disconnected]")
    loop.run(line.mend())
    page.none("[data-banner=disconnected]")
    page.press(card, "Count")
    page.one(CARD, "counted 1")
    assert len([each for each in page.all(CARD) if "before the cut" in each.text]) == 1


def test_a_bot_that_left_is_announced(page: PageView, scripted_bot: ScriptedBot) -> None:
    scripted_bot.stop()
    page.one("[data-banner=offline]", "Waiting for the bot to connect")
    scripted_bot.start()
    page.none("[data-banner=offline]")
    page.command("/quota")
    page.one("[data-ephemeral]", "42 of 50")


def test_on_a_phone_nothing_overflows(page: PageView, chromium: Callable[..., Any]) -> None:
    draw(page, "a single picture for the phone", "count: 1")
    draw(page, "a picture for the phone")
    phone = PageView(chromium(width=390, height=844, phone=True), page.address, ROOT / ".artifacts")
    phone.driver.get(phone.address)
    card = phone.one(CARD, "a picture for the phone")
    phone.wait(lambda: pictures_loaded(phone, card), "pictures")
    outside = (
        "return [...document.querySelectorAll('.message *')].filter((node) => node.checkVisibility())"
        ".filter((node) => node.getBoundingClientRect().right > innerWidth).map((node) => node.className);"
    )
    assert phone.driver.execute_script(outside) == []
    phone.picture("sandbox-phone")
    phone.one("#sidebar-toggle").click()
    phone.wait(lambda: phone.one("[data-member]", "Linus").rect["x"] >= 0, "the sidebar")
    phone.picture("sandbox-phone-sidebar")
    phone.become("Linus")
    phone.one("[data-channel]", "general").click()
    phone.one("[data-hint]").click()
    phone.one("[data-option-field=prompt]")
    phone.picture("sandbox-phone-composer")
