"""/jobs and /history: one's own jobs in pages."""

from __future__ import annotations

import pytest

from bot.delivery import posting
from bot.interactions.job_lists import CURSOR_LENGTH, Search, read_search
from bot.interactions.paging import PAGED
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, pictures_of, text_of
from flux_core.errors import OutOfMemory
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Origin
from flux_core.service import Submission
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, draw, finished, is_private, order, press
from tests.bot.test_reviews import held, moderate


async def submit(stage: Stage, account: Account, prompt: str, model: str = "flux-tiny") -> str:
    """Put a job in the queue behind the bot's back, without a message."""
    request = resolve(RequestOptions(prompt=prompt, model=model, count=1, seed=1), stage.studio.catalogue)
    return (await stage.studio.submit(Submission(account=account, request=request, origin=Origin.IMAGINE))).id


async def command(person: Person, name: str, **options: object) -> RawMessage:
    return await person.response(await person.command(name, **options))


async def turned(person: Person, listed: RawMessage, button: str, expected: str) -> RawMessage:
    await person.press(listed, button)
    return await person.wait_for(lambda m: m["id"] == listed["id"] and expected in text_of(m))


async def test_jobs_tell_place_and_move_up(stage: Stage, ada: Person, linus: Person) -> None:
    await order(stage, linus, prompt="his first")
    for prompt in ("her first", "her second", "her third"):
        await order(stage, ada, prompt=prompt)
    listed = await command(ada, "jobs")
    text = text_of(listed)
    assert is_private(listed)
    assert text.index("her first") < text.index("her second") < text.index("her third")
    assert "2nd in the queue" in text
    assert "his first" not in text
    # The first has nobody of its own before it.
    assert labels_of(listed) == [*["Cancel", "Details"], *["Cancel", "Move up", "Details"] * 2]
    last, middle, _ = await stage.studio.jobs_of(account_of(ada))
    await ada.press(listed, f"flux:up:{last.id}")
    await ada.wait_for(
        lambda m: m["id"] == listed["id"] and text_of(m).index("her third") < text_of(m).index("her first")
    )
    drawn = [(await stage.easel.take()).request.prompt for _ in range(4)]
    assert drawn.index("her third") < drawn.index("her first") < drawn.index("her second")
    assert drawn.index("his first") <= 1
    # By now it is drawn: the button finds that out and tells.
    await ada.press(listed, f"flux:up:{middle.id}")
    await ada.wait_for(lambda m: m["id"] == listed["id"] and "Drawing" in text_of(m))


async def test_pictures_are_shown_smaller_where_discord_takes_less_than_it_tells(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "DM_UPLOAD_LIMIT", 60_000)
    card = await ask(ada, prompt="noise", count=2, format="png")
    await stage.easel.finish(await stage.easel.take(), noisy=True)
    await finished(ada, card["id"])
    listed = await command(ada, "jobs")
    stage.sandbox.inject(largest_file=60_000)
    shown = await press(ada, listed, "Show")
    assert is_private(shown)
    assert len(pictures_of(shown)) == 2
    assert max(one["size"] for one in shown["attachments"]) <= 60_000


async def test_moving_up_draws_the_list_anew(stage: Stage, ada: Person) -> None:
    for prompt in ("one", "two"):
        await order(stage, ada, prompt=prompt)
    listed = await ada.response(await ada.command("jobs"))
    await ada.press(listed, "Move up")
    relisted = await ada.wait_for(
        lambda m: m["id"] == listed["id"] and text_of(m).index("two") < text_of(m).index("one")
    )
    assert labels_of(relisted) == ["Cancel", "Details", "Cancel", "Move up", "Details"]
    assert "two" in text_of(await ada.response(await ada.command("history", words="two")))


async def test_nobody_moves_the_jobs_of_others(stage: Stage, ada: Person, linus: Person) -> None:
    for prompt in ("one", "two"):
        await order(stage, ada, prompt=prompt)
    mine = await command(linus, "jobs")
    last = (await stage.studio.jobs_of(account_of(ada)))[0]
    for action in ("up", "stop", "show"):
        answer = await linus.response(await linus.forge(mine, f"flux:{action}:{last.id}"))
        assert "not one of mine" in text_of(answer)
    assert [
        job.request.prompt for job in sorted(await stage.studio.jobs_of(account_of(ada)), key=lambda j: j.start_tag)
    ] == [
        "one",
        "two",
    ]


async def test_many_jobs_come_in_pages(stage: Stage, ada: Person) -> None:
    for number in range(8):
        await submit(stage, account_of(ada), f"number {number}")
    listed = await command(ada, "jobs")
    assert labels_of(listed)[-1] == "More"
    assert "number 5" in text_of(listed)
    assert "number 6" not in text_of(listed)
    listed = await turned(ada, listed, "More", "number 7")
    assert "8th in the queue" in text_of(listed)
    assert labels_of(listed)[-1] == "Back"
    # Cancelling there draws the list anew, from its beginning.
    await ada.press(listed, f"flux:stop:{(await stage.studio.jobs_of(account_of(ada)))[0].id}")
    listed = await ada.wait_for(lambda m: m["id"] == listed["id"] and "number 0" in text_of(m))
    assert len(await stage.studio.jobs_of(account_of(ada))) == 7


async def test_history_has_everything_and_finds_it_again(stage: Stage, ada: Person, linus: Person) -> None:
    assert "There are none." in text_of(await command(ada, "history"))
    done = await draw(stage, ada, prompt="a Красный fox", count=1)
    await submit(stage, account_of(linus), "a fox of his")
    for number in range(7):
        await submit(stage, account_of(ada), f"owl {number}", "flux-dev")
    listed = await command(ada, "history")
    assert is_private(listed)
    assert text_of(listed).index("owl 6") < text_of(listed).index("owl 1")
    older = await turned(ada, listed, "More", "owl 0")
    assert f"/{done['id']})" in text_of(older)
    assert "of his" not in text_of(older)
    assert labels_of(older) == ["Cancel", "Details", "Show", "Details", "Back"]
    # The newest Details on the page is that of the last owl.
    details = await press(ada, older, "Details")
    assert "owl 0" in text_of(details)
    assert "Drawn in" not in text_of(details)
    await turned(ada, older, "Back", "owl 6")
    found = await command(ada, "history", words="красный FOX")
    assert "with “красный FOX”" in text_of(found)
    assert labels_of(found) == ["Show", "Details"]
    assert "owl" not in text_of(found)
    found = await command(ada, "history", words="owl", model="flux-dev")
    assert "by `flux-dev`" in text_of(found)
    found = await turned(ada, found, "More", "owl 0")
    assert labels_of(found) == ["Cancel", "Details", "Back"]
    assert "There are none." in text_of(await command(ada, "history", words="owl", model="flux-tiny"))


async def test_odd_searches_get_a_sentence(ada: Person) -> None:
    assert "There is no model “dall-e” here." in text_of(await command(ada, "history", model="dall-e"))
    assert "name fewer words" in text_of(await command(ada, "history", words="ё" * 40))
    assert "There are none." in text_of(await command(ada, "history", words='"\\%_'))
    offered = [choice["value"] for choice in await ada.autocomplete("history", "model", "pro")]
    assert "flux-pro-1.1" in offered


async def test_pages_work_after_a_restart(stage: Stage, ada: Person) -> None:
    for number in range(8):
        await submit(stage, account_of(ada), f"number {number}")
    listed = await command(ada, "history", words="number")
    await stage.stop_bot()
    await stage.start_bot()
    await turned(ada, listed, "More", "number 1")


async def test_a_failed_job_offers_its_details_alone(stage: Stage, ada: Person) -> None:
    await order(stage, ada, prompt="a wreck")
    await stage.easel.fail(await stage.easel.take(), OutOfMemory())
    listed = await command(ada, "history")
    assert labels_of(listed) == ["Details"]
    assert "memory" in text_of(listed)


@pytest.mark.parametrize("words", ["", "a fox", "красный", "🦊🦊", "x" * 27])
@pytest.mark.parametrize("offset", [0, 6, 99_999])
def test_a_search_survives_its_cursor(words: str, offset: int) -> None:
    search = Search(words, "flux-kontext-pro", offset)
    assert search.fits()
    assert read_search(str(search)) == search
    assert len(str(search)) <= CURSOR_LENGTH
    assert PAGED.fullmatch(f"flux:page:history:{search}")


@pytest.mark.parametrize("cursor", ["", "|", "-1|x|!", "x|y|z", "999999999999||", "1|a|b|c", "_|_|____"])
def test_a_forged_cursor_is_only_a_beginning(cursor: str) -> None:
    search = read_search(cursor)
    assert 0 <= search.offset <= 99_999


async def test_what_waits_for_approval_is_in_nobodys_way(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    await held(stage, ada)
    await order(stage, ada, prompt="an owl")
    listed = await ada.response(await ada.command("jobs"))
    assert labels_of(listed) == ["Cancel", "Details", "Cancel", "Details"]
    assert "moderator's approval" in text_of(await ada.response(await ada.command("history")))
