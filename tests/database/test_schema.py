"""What the database itself refuses, and that migrations and tables say the same."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

import flux_core.database
from flux_core.database import claims, locks
from flux_core.database.jobs import values_of
from flux_core.database.schema import config_for
from flux_core.database.tables import audit, jobs, ledger, metadata, pictures
from flux_core.jobs import Job
from flux_core.router import RoutingPolicy
from tests.database.postgres import driver, new_database
from tests.database.scene import ANNE, Scene, a_reply, a_request


async def test_migrations_and_tables_agree(scene: Scene) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    assert await scene.db.read(differences) == []


def _shape(connection: Connection) -> list[tuple[str, str]]:
    """Return the definitions of all tables, constraints and indexes."""
    if connection.dialect.name == "postgresql":
        parts = connection.exec_driver_sql(
            "SELECT conrelid::regclass || ' ' || conname AS name, pg_get_constraintdef(oid) AS sql FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace"
            " UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " UNION ALL SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
        )
        return [(row.name, row.sql) for row in parts if "alembic_version" not in row.name]
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    return [(row.name, " ".join(row.sql.replace('"', "").split())) for row in rows if row.name != "alembic_version"]


async def test_migrations_write_the_same_constraints_and_conditions_as_the_tables(
    scene: Scene, database_url: str
) -> None:
    def create_and_look(connection: Connection) -> list[tuple[str, str]]:
        metadata.create_all(connection)
        return _shape(connection)

    if "postgresql" in database_url:
        other = create_async_engine(driver(await new_database(migrated=False)))
        async with other.begin() as connection:
            shape = await connection.run_sync(create_and_look)
        await other.dispose()
    else:
        with sa.create_engine("sqlite://").begin() as plain:
            shape = create_and_look(plain)
    declared = {name: _parts(sql) for name, sql in shape}
    migrated = {
        name: _parts(sql)
        for name, sql in await scene.db.read(_shape)
        if not name.startswith(("ledger_no_", "audit_no_", "ledger_is_", "audit_is_"))
    }
    assert migrated == declared


def _parts(sql: str) -> set[str]:
    """Split a definition at its commas, in no order."""
    head, _, body = sql.partition("(")
    return {head.strip(), *(part.strip(" )(") for part in body.split(", "))}


async def test_downgrading_leaves_nothing(scene: Scene) -> None:
    @locks.beside_others  # who was alone with the house notes it in a table, which is gone then
    def down(connection: Connection) -> None:
        command.downgrade(config_for(connection), "base")

    await scene.db.write(down)
    assert await scene.db.read(_shape) == []


def test_every_table_and_index_can_be_written_for_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            sql = str(CreateIndex(index).compile(dialect=dialect))
            assert ("WHERE" in sql) == (index.dialect_options["sqlite"]["where"] is not None), sql


def test_every_statement_can_be_said_to_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    said = 0
    for info in pkgutil.iter_modules(flux_core.database.__path__, "flux_core.database."):
        module = importlib.import_module(info.name)
        for statement in [value for value in vars(module).values() if isinstance(value, sa.Executable)]:
            assert isinstance(statement, sa.ClauseElement)
            assert str(statement.compile(dialect=dialect))
            said += 1
    assert "LIMIT 1" in str(claims._first(3).compile(dialect=dialect))
    assert said > 50


@pytest.mark.parametrize("change", [sa.update(ledger).values(amount=0), sa.delete(ledger)])
async def test_the_ledger_only_grows(scene: Scene, change: sa.Update | sa.Delete) -> None:
    job = await scene.submit()
    before = await scene.ledger(job)
    with pytest.raises(IntegrityError, match="append-only"):
        await scene.db.write(lambda connection: connection.execute(change).rowcount)
    assert await scene.ledger(job) == before


def _entry(job: Job, kind: str, amount: int, **more: Any) -> Callable[[Connection], int]:
    row: dict[str, Any] = {"at": 0.0, "guild_id": 7, "user_id": 1, "purse": "granted", "job_id": job.id}
    row |= {"kind": kind, "amount": amount}
    return lambda connection: connection.execute(sa.insert(ledger), row | more).rowcount


async def test_a_job_is_paid_once_and_ends_once(scene: Scene) -> None:
    job = await scene.submit()
    purse = (await scene.ledger(job))[0][1]
    for entry in (
        _entry(job, "reserve", -5, purse=purse),
        _entry(job, "reserve", 5),
        _entry(job, "refund", -5),
        _entry(job, "settle", 1),
        _entry(job, "settle", 0, part=1),
        _entry(job, "settle", 0, job_id=None),
        _entry(job, "settle", 0, job_id="no such job"),
        _entry(job, "grant", 5),
        _entry(job, "gift", 5, job_id=None),
    ):
        with pytest.raises(IntegrityError):
            await scene.db.write(entry)
    await scene.db.write(_entry(job, "settle", 0))
    for entry in (_entry(job, "settle", 0), _entry(job, "refund", 5), _entry(job, "refund", 5, purse=purse)):
        with pytest.raises(IntegrityError):
            await scene.db.write(entry)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "running"},
        {"state": "running", "worker_id": "w"},
        {"state": "running", "lease_until": 1.0},
        {"lease_until": 1.0},
        {"state": "asleep"},
        {"state": "failed"},
        {"ended_at": 1.0},
        {"state": "succeeded", "ended_at": 1.0, "error_code": "x"},
        {"state": "failed", "ended_at": 1.0},
        {"waits_for": "flux-dev"},
        {"cost": -1},
        {"attempts": -1},
        {"finish_tag": 0.0},
        {"units": 0.0},
        {"channel_id": 1},
        {"guild_id": None},
    ],
)
async def test_a_job_that_makes_no_sense_cannot_be_stored(scene: Scene, changes: dict[str, Any]) -> None:
    job = await scene.submit()
    with pytest.raises(IntegrityError):
        await scene.db.write(lambda connection: connection.execute(sa.update(jobs).values(changes)).rowcount)
    assert await scene.studio.job(job.id) == job


def _insert(connection: Connection, row: dict[str, Any]) -> None:
    connection.execute(sa.insert(jobs), row)


async def test_a_job_has_one_key_and_one_id(scene: Scene) -> None:
    job = await scene.submit(key="a")
    for values in (values_of(job, "b"), values_of(job, "a") | {"id": "1" * 24}):
        with pytest.raises(IntegrityError):
            await scene.db.write(_insert, values)


async def test_pictures_belong_to_a_job(scene: Scene) -> None:
    row = {"job_id": "none", "position": 0, "width": 1, "height": 1, "seed": 1, "content_type": "x", "size": 1}
    with pytest.raises(IntegrityError):
        await scene.db.write(lambda connection: connection.execute(sa.insert(pictures), row).rowcount)


@pytest.mark.parametrize("change", [sa.update(audit).values(action="none"), sa.delete(audit)])
async def test_the_audit_log_only_grows(scene: Scene, change: sa.Update | sa.Delete) -> None:
    await scene.studio.set_routing(ANNE.guild_id, RoutingPolicy(providers=()), by=1)
    with pytest.raises(IntegrityError, match="append-only"):
        await scene.db.write(lambda connection: connection.execute(change).rowcount)


async def test_large_discord_ids_and_any_text_come_back(scene: Scene) -> None:
    account = replace(ANNE, guild_id=2**63 - 1, user_id=2**62)
    request = a_request(prompt="Ein roter Kreis 🟥 '; DROP TABLE jobs; -- \n\t 𝕏", seed=2**32 - 1)
    job = await scene.submit(account, request=request, reply_to=a_reply(channel_id=2**63 - 1, message_id=2**62))
    assert await scene.studio.job(job.id) == job
