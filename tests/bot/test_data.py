"""/data: a member's own data, handed out and forgotten."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from bot.commands.data import as_file, forgotten
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, text_of
from flux_core.database.pictures import discarded_keys
from flux_core.jobs import Account, JobState
from flux_core.preferences import NOTHING_SET
from flux_core.service import Forgotten
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, draw, finished, is_private, order, press
from tests.bot.test_cards import check_limits


async def exported(person: Person) -> tuple[RawMessage, dict[str, Any]]:
    told = await person.response(await person.command("data export"))
    [file] = told["attachments"]
    content = await person.download(file["url"])
    assert file["filename"].endswith(".json")
    return told, json.loads(content)


async def deleted(person: Person) -> str:
    """Confirm, and return what is told then."""
    question = await person.response(await person.command("data delete"))
    assert is_private(question)
    assert "cancelled" in text_of(question)
    await person.press(question, "Forget it all")
    told = await person.wait_for(lambda m: m["id"] == question["id"] and "Kept" in text_of(m), within=30)
    return text_of(told)


async def test_the_export_has_it_all_and_nothing_of_others(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="a “Füchslein” 🦊", seed=41, count=2)
    await draw(stage, linus, prompt="his secret", count=1)
    await ada.response(await ada.command("settings set", count=2, notify=False))
    waiting = await order(stage, ada, prompt="still waiting", private=True)
    told, found = await exported(ada)
    assert is_private(told)
    assert "2 jobs with prompts" in text_of(told)
    assert (found["server"], found["member"]) == (str(account_of(ada).guild_id), ada.id)
    assert found["settings"] == {"count": 2, "notify": False}
    assert found["ban"] is None
    assert found["reports_made"] == []
    first, second = found["jobs"]
    assert first["request"]["prompt"] == "a “Füchslein” 🦊"
    assert first["message"] == done["id"]
    assert first["state"] == "succeeded"
    assert [one["seed"] for one in first["pictures"]] == [41, 42]
    names = [one["filename"].rpartition(".")[0] for one in done["attachments"]]
    assert [one["name"] for one in first["pictures"]] == names
    assert (second["private"], second["message"]) == (True, waiting["id"])
    assert {row["kind"] for row in found["ledger"]} >= {"reserve", "settle"}
    text = json.dumps(found)
    assert "secret" not in text
    assert linus.id not in text
    # No token, no key of the store, nothing that only the house needs.
    assert "interaction_token" not in text
    assert "pictures/" not in text


async def test_nobody_has_several_files_written_at_once(
    stage: Stage, ada: Person, linus: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, export, writing = asyncio.Event(), asyncio.Event(), stage.studio.personal.export, [0, 0]

    async def slow(account: Account) -> dict[str, Any]:
        writing[0] += 1
        writing[1] = max(writing)
        began.set()
        await go_on.wait()
        writing[0] -= 1
        return await export(account)

    monkeypatch.setattr(stage.studio.personal, "export", slow)
    first = await ada.command("data export")
    await began.wait()
    assert "your file is being written" in text_of(await ada.response(await ada.command("data export")))
    others = await linus.command("data export")
    go_on.set()
    for person, asked in ((ada, first), (linus, others)):
        assert "What I know of you" in text_of(await person.response(asked))
    assert writing == [0, 1]
    assert "What I know of you" in text_of(await ada.response(await ada.command("data export")))


async def test_an_export_of_nothing(ada: Person) -> None:
    _, found = await exported(ada)
    assert found["jobs"] == found["ledger"] == []
    assert found["settings"] == {}


def test_a_file_that_is_too_long_is_compressed() -> None:
    document = {"jobs": ["🦊" * 1000], "ledger": []}
    name, content = as_file(document, "mine", 10_000)
    assert (name, json.loads(content)) == ("mine.json", document)
    name, content = as_file(document, "mine", 1_000)
    assert (name, json.loads(gzip.decompress(content))) == ("mine.json.gz", document)
    assert len(content) < 1_000


async def test_deleting_forgets_and_keeps_the_amounts(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="forget me", count=2)
    private = await draw(stage, ada, prompt="me too", count=1, private=True)
    others = await draw(stage, linus, prompt="not me", count=1)
    await ada.response(await ada.command("settings set", count=2))
    spent = (await stage.studio.quota(account_of(ada))).spent
    waiting = await order(stage, ada, prompt="and me", count=1)
    job = (await stage.studio.personal.history(account_of(ada), words="forget")).jobs[0]
    keys = [one.key for one in await stage.studio.pictures(job.id)]
    told = await deleted(ada)
    assert "**Forgotten:** 3 jobs with prompts, 3 pictures, your settings." in told
    assert "1 job that waited or ran: cancelled" in told
    assert "2 messages of mine" in told
    await ada.wait_gone(done["id"])
    await ada.wait_gone(waiting["id"])
    assert await ada.message(private["id"]) is not None
    assert await ada.message(others["id"]) is not None
    assert (await stage.studio.personal.history(account_of(ada))).jobs == []
    assert await stage.studio.recent_prompts(account_of(ada), "") == []
    assert await stage.studio.personal.preferences(account_of(ada)) == NOTHING_SET
    assert (await stage.studio.quota(account_of(ada))).spent == spent
    _, found = await exported(ada)
    assert found["jobs"] == []
    assert {row["job"] for row in found["ledger"]} >= {job.id}
    # The button on what is left of a card finds nothing any more.
    assert "I don't know this picture" in text_of(await press(ada, private, "Reroll"))
    assert len((await stage.studio.personal.history(account_of(linus))).jobs) == 1
    # A worker's chores delete the files; until then they are noted for that.
    noted = await stage.easel.queue._db.read(discarded_keys, 100)
    assert set(keys) < set(noted)


async def test_a_running_job_is_stopped_and_then_forgotten(stage: Stage, ada: Person) -> None:
    await order(stage, ada, prompt="being drawn", count=1)
    job = await stage.easel.take()
    await stage.easel.step(job, 1)
    question = await ada.response(await ada.command("data delete"))
    await ada.press(question, "Forget it all")
    version = None
    async with asyncio.timeout(30):
        while not (await stage.studio.job(job.id)).cancel_requested:
            version = await stage.studio.changed(version, 1)
    await stage.easel.queue.cancelled("easel", job.id)
    told = await ada.wait_for(lambda m: m["id"] == question["id"] and "Kept" in text_of(m), within=20)
    assert "**Forgotten:** 1 job with prompts" in text_of(told)
    assert (await stage.studio.quota(account_of(ada))).spent == 0
    assert (await stage.studio.personal.history(account_of(ada))).jobs == []
    assert await stage.studio.live_jobs() == []


async def test_what_cannot_be_forgotten_yet_is_said(stage: Stage, ada: Person) -> None:
    await order(stage, ada, prompt="being drawn", count=1)
    job = await stage.easel.take()
    done = await stage.studio.personal.forget(account_of(ada), patience=0.05)
    assert done == Forgotten(cancelled=1, busy=1)
    told = text_of_card(done)
    assert "1 job is still being drawn or handed over" in told
    assert (await stage.studio.job(job.id)).state is JobState.RUNNING


async def test_deleting_can_be_left(stage: Stage, ada: Person) -> None:
    done = await draw(stage, ada, prompt="a", count=1)
    question = await ada.response(await ada.command("data delete"))
    await ada.press(question, "Keep as it is")
    await ada.wait_for(lambda m: m["id"] == question["id"] and "Nothing was changed" in text_of(m))
    assert (await finished(ada, done["id"]))["id"] == done["id"]
    assert len((await stage.studio.personal.history(account_of(ada))).jobs) == 1


def text_of_card(done: Forgotten) -> str:
    card = forgotten(done)
    check_limits(card)
    return "\n".join(getattr(item, "content", "") for item in card.walk_children())
