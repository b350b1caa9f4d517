"""The composer: completing commands, filling options, and refusing what Discord's own client would refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from .browser import PageView

pytestmark = pytest.mark.browser

DROP = """
const files = new DataTransfer();
files.items.add(new File(['not really a picture'], 'dropped.png', { type: 'image/png' }));
const drop = new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: files });
document.getElementById('main').dispatchEvent(drop);
"""


def sent(sandbox: Any) -> int:
    """How many interactions have been answered so far."""
    return sum(1 for record in sandbox.records if record.path.endswith("/callback"))


def suggestions(page: PageView) -> list[str]:
    return [str(row.get_attribute("data-suggestion")) for row in page.all("[data-suggestion]") if row.is_displayed()]


def test_a_slash_lists_the_registered_commands(page: PageView) -> None:
    page.one("[data-composer-text]").send_keys("/")
    page.one("[data-suggestion='/imagine']", "Draw pictures from a description")
    assert suggestions(page) == ["/imagine", "/quota", "/silent"], "/admin is for moderators"
    page.type("qu")
    page.wait(lambda: suggestions(page) == ["/quota"])
    page.type(Keys.TAB)
    page.one("[data-command=quota]")
    page.type(Keys.ENTER)
    page.one("[data-ephemeral]", "42 of 50")


def test_a_moderator_sees_subcommands_and_names_a_member(page: PageView) -> None:
    page.become("Grace")
    page.one("[data-composer-text]").send_keys("/admin")
    page.one("[data-suggestion='/admin grant']", "Give credits to a member")
    page.type(Keys.TAB)
    page.type("lin")
    page.wait(lambda: suggestions(page) == ["Linus"])
    page.type(Keys.ENTER)
    page.type(" credits: 25")
    page.type(Keys.ENTER)
    page.one("[data-message-id]", "Linus got 25 credits.")


def test_a_moderator_names_roles_and_channels_and_answers_the_question(page: PageView) -> None:
    page.become("Grace")
    page.one("[data-composer-text]").send_keys("/admin rule ")
    page.wait(lambda: suggestions(page) == ["@everyone", "Patron", "Moderator", "flux-bot"])
    page.type("pat", Keys.TAB)
    page.one("[data-option=channel]").click()
    page.wait(lambda: suggestions(page)[-1] == "moderators")
    assert "colour studies" not in suggestions(page), "a thread is not among the text channels"
    page.type("stu", Keys.TAB, " whom: Mod", Keys.TAB, " thread: col", Keys.TAB, Keys.ENTER)
    question = page.one("[data-ephemeral]", "Rule for @Patron, #studio, Moderator, colour studies?")
    assert "rule.json" in question.text
    page.picture("sandbox-question")
    page.press(question, "Do it")
    page.one("[data-ephemeral]", "Decided.")


def test_required_options_come_first_and_others_can_be_added(page: PageView) -> None:
    page.one("[data-composer-text]").send_keys("/imagine ")
    page.one("[data-option=prompt][data-required]")
    assert [pill.get_attribute("data-option") for pill in page.all("[data-option]")] == ["prompt"]
    assert suggestions(page) == ["aspect", "count", "model", "image", "spoiler"]
    page.type("a red circle asp")
    page.wait(lambda: suggestions(page)[0] == "aspect")
    page.type(Keys.TAB)
    page.one("[data-option=aspect]")
    assert suggestions(page) == ["1:1", "16:9", "9:16"]
    page.type("9", Keys.ENTER)
    page.wait(lambda: page.one("[data-option-field=aspect]").get_attribute("value") == "9:16")
    assert page.one("[data-option-field=prompt]").get_attribute("value") == "a red circle"
    page.type(Keys.BACKSPACE * 4, Keys.BACKSPACE)
    page.none("[data-option=aspect]")


def test_the_bot_is_asked_for_suggestions(page: PageView) -> None:
    page.one("[data-composer-text]").send_keys("/imagine prompt: a cat model: flux-d")
    page.wait(lambda: suggestions(page) == ["flux-dev"])
    page.type(Keys.TAB)
    page.wait(lambda: page.one("[data-option-field=model]").get_attribute("value") == "flux-dev")
    page.type(Keys.ENTER)
    page.one("[data-message-id]", "a cat (1:1, flux-dev)")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("/imagine aspect: 16:9", "prompt is required."),
        ("/imagine prompt: a cat count: 9", "count must be at most 4."),
        ("/imagine prompt: a cat count: 1.5", "count takes a whole number."),
        ("/imagine prompt: a cat count: many", "count takes a number, and “many” is none."),
        ("/imagine prompt: a cat aspect: 7:3", "“7:3” is not one of the choices for aspect."),
        ("/imagine prompt: a cat spoiler: maybe", "“maybe” is not one of the choices for spoiler."),
        ("/nothing at all", "There is no such command here."),
        ("hello there", "This channel takes commands. Type / to see them."),
    ],
)
def test_what_does_not_fit_is_said_and_not_sent(page: PageView, sandbox: Any, typed: str, sentence: str) -> None:
    before = sent(sandbox)
    page.command(typed)
    page.one("#composer-problem", sentence)
    assert sent(sandbox) == before


def test_a_pasted_line_is_read_whole(page: PageView) -> None:
    page.run(
        "const field = document.querySelector('[data-composer-text]'); field.focus(); field.value = args[0];"
        "field.dispatchEvent(new InputEvent('input', { bubbles: true }));",
        "/imagine a fox in snow aspect: 9:16 count: 1",
    )
    values = {
        name: page.one(f"[data-option-field={name}]").get_attribute("value") for name in ("prompt", "aspect", "count")
    }
    assert values == {"prompt": "a fox in snow", "aspect": "9:16", "count": "1"}
    page.type(Keys.ENTER)
    page.one("[data-message-id]", "a fox in snow (9:16, flux-schnell)")
    page.none("[data-option]")
    page.type(Keys.ARROW_UP)
    assert page.one("[data-option-field=prompt]").get_attribute("value") == "a fox in snow", (
        "the last command comes back"
    )


def test_a_picture_goes_along(page: PageView, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.new("RGB", (8, 8), "red").save(path)
    page.one("[data-composer-text]").send_keys("/imagine prompt: my picture ima", Keys.TAB)
    page.all("[data-option-file=image]")[0].send_keys(str(path))
    page.one("[data-option=image]", "small.png")
    page.one(".composer-send").click()
    page.one("[data-message-id]", f"Took small.png, {path.stat().st_size} bytes, for my picture")


def test_a_dropped_picture_starts_the_command_that_takes_one(page: PageView) -> None:
    page.run(DROP)
    page.one("[data-command=imagine] [data-option=image]", "dropped.png")
    page.type("from a drop", Keys.ENTER)
    page.one("[data-message-id]", "Took dropped.png, 20 bytes, for from a drop")
