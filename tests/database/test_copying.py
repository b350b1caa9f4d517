"""A house moves to another database: all of it, or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer.main
from sqlalchemy import Connection

from bot.command_line.cli import app
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.copying import copy_house
from flux_core.database.tables import jobs, metadata
from flux_core.errors import ConfigurationError
from flux_core.router import RoutingPolicy
from flux_core.shards import Keeper
from tests.database.postgres import new_database
from tests.database.scene import ANNE, BERT, DAY, Scene, a_reply, a_scene


async def live(scene: Scene) -> None:
    """Let something of everything happen."""
    await scene.vendor()
    await scene.studio.set_routing(ANNE.guild_id, RoutingPolicy(order="fastest"), by=1)
    await scene.studio.members.grant(ANNE, 5_000, by=1, reason="ö 🟥", expires_at=scene.clock.now + DAY)
    done = await scene.submit(reply_to=a_reply(), key="a", count=2)
    await scene.claim()
    await scene.succeed(done)
    await scene.submit(BERT)
    await scene.submit(BERT)
    await scene.claim()
    await scene.queue.record_speed("local", "flux-schnell", 4.0, 2.0)


def contents(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables."""
    return {
        table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
        for table in metadata.sorted_tables
    }


@pytest.mark.parametrize("there", ["postgresql", "sqlite"])
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_everything_arrives_and_goes_on(
    scene: Scene, database_url: str, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flux_core.database.copying.ROWS_AT_ONCE", 2)
    await live(scene)
    url = f"sqlite:///{tmp_path / 'copy.db'}" if there == "sqlite" else await new_database()
    async with a_scene(url, tmp_path) as new:
        if database_url.startswith("postgresql") and there == "postgresql":
            with pytest.raises(ConfigurationError, match="SQLite"):
                await copy_house(scene.db, new.db, silent_since=scene.clock.now + 1)
            return
        before = await scene.db.read(contents)
        copied = await copy_house(scene.db, new.db, silent_since=scene.clock.now + 1)
        assert await new.db.read(contents) == before == await scene.db.read(contents)
        assert copied == {name: len(rows) for name, rows in before.items() if rows}
        assert copied["jobs"] == 3
        # New rows get numbers of their own, and turns go on where they were.
        later = await new.submit()
        assert (await new.claim()).account == BERT
        assert (await new.claim()).id == later.id
        assert await new.db.read(discrepancies) == []


A_BOT = Keeper(id="bot", application_id=1, host="here", pid=1, shards=(0,), count=1, started_at=1.0, seen_at=1.0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_house_is_not_mixed_with_another_and_not_moved_under_its_workers(scene: Scene, tmp_path: Path) -> None:
    await live(scene)
    url = await new_database()
    async with a_scene(url, tmp_path) as new:
        with pytest.raises(ConfigurationError, match="at work"):
            await copy_house(scene.db, new.db, silent_since=scene.clock.now)
        scene.clock.now += 100
        await scene.studio.bots.register(A_BOT)
        with pytest.raises(ConfigurationError, match=r"\(1 and 0\) are at work"):
            await copy_house(scene.db, new.db, silent_since=scene.clock.now)
        await new.submit()
        before = await new.db.read(contents)
        with pytest.raises(ConfigurationError, match="not empty"):
            await copy_house(scene.db, new.db, silent_since=scene.clock.now + 1)
        assert await new.db.read(contents) == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_house_that_a_newer_version_has_brought_further_is_left_to_that_one(
    scene: Scene, tmp_path: Path
) -> None:
    go_on = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await scene.db.write(lambda connection: connection.execute(go_on).rowcount)
    async with a_scene(await new_database(), tmp_path) as new:
        before = await new.db.read(contents)
        with pytest.raises(ConfigurationError, match=r"9999.*newer version"):
            await copy_house(scene.db, new.db, silent_since=scene.clock.now)
        assert await new.db.read(contents) == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_copy_that_is_not_the_same_is_undone(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live(scene)
    async with a_scene(await new_database(), tmp_path) as new:
        empty = await new.db.read(contents)
        counted: list[int] = []

        def off_by_one(connection: Connection, table: sa.Table) -> int:
            counted.append(1)
            rows = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            return int(rows) + (1 if table is jobs and connection.dialect.name == "sqlite" else 0)

        monkeypatch.setattr("flux_core.database.copying._count", off_by_one)
        with pytest.raises(ConfigurationError, match="copy of jobs has 3 rows instead of 4"):
            await copy_house(scene.db, new.db, silent_since=scene.clock.now + 1)
        assert counted
        assert await new.db.read(contents) == empty


def test_the_command_tells_what_it_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fill() -> str:
        async with a_scene(f"sqlite:///{tmp_path / 'flux-bot.db'}", tmp_path) as scene:
            await scene.submit()
        return await new_database()

    url = asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bot.command_line.cli.configure_logging", lambda settings: None)
    words = ["db", "copy", url, "--data-dir", str(tmp_path)]
    typer.main.get_command(app).main(words, standalone_mode=False)
    said = capsys.readouterr().out
    assert "         1 jobs\n" in said
    assert "All of it was copied and compared." in said

    with pytest.raises(ConfigurationError, match="not empty"):
        typer.main.get_command(app).main(words, standalone_mode=False)
