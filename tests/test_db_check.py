"""`flux-bot db check` and the chore that does the same once a day."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest
import typer.main

from bot.command_line.cli import app
from flux_core.maintenance import BOOKS_CHECKED_AFTER, DAY, Chore, chores
from tests.database.scene import a_scene

URL = "sqlite:///{}/flux-bot.db"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and the logs of whoever runs the tests out of this."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bot.command_line.cli.configure_logging", lambda settings: None)


def check(folder: Path) -> int:
    """Run the command; return its exit status."""
    words = ["db", "check", "--data-dir", str(folder)]
    try:
        return typer.main.get_command(app).main(words, standalone_mode=False) or 0
    except typer.Exit as end:
        return end.exit_code


async def submitted(folder: Path, *, damaged: bool) -> None:
    """Have one job wait, and its pay taken away when ``damaged``."""
    async with a_scene(URL.format(folder), folder) as scene:
        await scene.submit()
    if damaged:
        take_pay(folder)


def take_pay(folder: Path) -> None:
    """Change what the job costs, past everything."""
    connection = sqlite3.connect(folder / "flux-bot.db", isolation_level=None)
    connection.execute("UPDATE jobs SET cost = 1")
    connection.close()


def test_sound_books_are_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(submitted(tmp_path, damaged=False))
    assert check(tmp_path) == 0
    assert capsys.readouterr().out == "Ledger, counters and jobs agree.\n"


def test_a_policy_that_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(submitted(tmp_path, damaged=False))
    connection = sqlite3.connect(tmp_path / "flux-bot.db", isolation_level=None)
    connection.execute("INSERT INTO policies (guild_id, policy, by_user, since) VALUES (42, '{', 1, 0)")
    connection.close()
    assert check(tmp_path) == 1
    said = capsys.readouterr().out
    assert "Servers whose policy cannot be read, so that nothing is drawn there: 1, such as 42." in said
    assert "/admin policy import" in said


def test_what_is_off_is_told_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(submitted(tmp_path, damaged=True))
    assert check(tmp_path) == 1
    first, advice, last = capsys.readouterr().out.splitlines()
    assert first.startswith("Jobs with another amount reserved than their cost: 1, such as 0")
    assert advice == "  Even it out with /admin quota grant, which also takes credits back."
    assert last.startswith("Please keep a copy of the database")


async def test_the_chore_logs_it_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with a_scene(URL.format(tmp_path), tmp_path) as scene:
        await scene.submit()
        [chore] = [one for one in chores(scene.db, scene.queue, scene.store) if one.name == "the books checked"]
        assert (chore.every, chore.after) == (DAY, BOOKS_CHECKED_AFTER)
        assert await chore.work() == 0
        assert caplog.records == []
        take_pay(tmp_path)
        assert await chore.work() == 0
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "Jobs with another amount reserved than their cost: 1" in record.getMessage()
    assert "Even it out with /admin quota grant" in record.getMessage()


async def test_a_chore_that_comes_later_does_nothing_in_a_process_that_ends_at_once() -> None:
    rounds = 0

    async def work() -> int:
        nonlocal rounds
        rounds += 1
        stop.set()
        return 0

    stop = asyncio.Event()
    late = asyncio.create_task(Chore("late", DAY, work, after=DAY).run(stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(late, 20)
    assert rounds == 0
    stop = asyncio.Event()
    await asyncio.wait_for(Chore("soon", DAY, work, after=0.001).run(stop), 20)
    assert rounds == 1
