"""Expand, then contract: a migration that takes something away says which programs it ends (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from flux_core.database import schema
from flux_core.database.tables import metadata, program
from tests.database.shape import Table, missed, shape

BEFORE_ANYBODY_ASKED = ("0001", "0002", "0003", "0004")
"""These came before programs could tell whether they may run on a newer database: an older one always refused, and no
two versions ever ran side by side on them."""
REVISIONS = sorted(script.revision for script in ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions())


def walk() -> dict[str, tuple[dict[str, Table], str | None]]:
    """Migrate an empty database step by step; return its shape and its oldest revision after each."""
    found = {}
    with sa.create_engine("sqlite://").connect() as connection:
        for revision in REVISIONS:
            command.upgrade(schema.config_for(connection), revision)
            has_program = sa.inspect(connection).has_table(program.name)
            oldest = connection.execute(sa.select(program.c.oldest_revision)).scalar_one() if has_program else None
            found[revision] = (shape(connection), oldest)
    return found


def test_revisions_count_up_so_that_a_program_can_compare_one_it_does_not_know() -> None:
    assert [f"{number:04d}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
    assert schema.head() == REVISIONS[-1]


def test_a_migration_that_takes_something_away_ends_the_programs_that_use_it() -> None:
    walked = walk()
    for before, revision in pairwise(REVISIONS):
        if revision in BEFORE_ANYBODY_ASKED:
            continue
        (was, ended_before), (now, ended) = walked[before], walked[revision]
        assert ended is not None
        assert ended <= revision, f"{revision} ends programs that are not written yet"
        assert ended_before is None or ended_before <= ended, f"{revision} lets programs in that were ended before"
        taken = missed(was, now)
        assert not taken or ended == revision, (
            f"Programs before {revision} would miss {', '.join(taken)}. Leave it for a later migration (expand, then "
            f"contract), or, where no version that runs uses it any more, let this one set program.oldest_revision."
        )


def change(work: Callable[[Operations], object]) -> list[str]:
    """Return what a program would miss after a change to today's tables."""
    with sa.create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection)
        before = shape(connection)
        work(Operations(MigrationContext.configure(connection, opts={"render_as_batch": True})))
        return missed(before, shape(connection))


def rename_a_column(op: Operations) -> None:
    with op.batch_alter_table("workers") as batch:
        batch.alter_column("links", new_column_name="has_links")


def demand_a_column(op: Operations) -> None:
    with op.batch_alter_table("workers") as batch:
        batch.alter_column("money_cap", nullable=False, existing_type=sa.BigInteger())


def change_a_type(op: Operations) -> None:
    with op.batch_alter_table("workers") as batch:
        batch.alter_column("pid", type_=sa.Text(), existing_type=sa.BigInteger())


def add_a_check(op: Operations) -> None:
    with op.batch_alter_table("workers") as batch:
        batch.create_check_constraint("ck_workers_slots", "slots < 9")


@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda op: op.drop_table("speeds"), "the table speeds"),
        (lambda op: op.rename_table("speeds", "paces"), "the table speeds"),
        (lambda op: op.drop_column("workers", "links"), "the column workers.links"),
        (rename_a_column, "the column workers.links"),
        (demand_a_column, "that workers.money_cap may be left out"),
        (change_a_type, "the type BIGINT of workers.pid"),
        (add_a_check, "rows that break workers's new check slots < 9"),
        (
            lambda op: op.create_index("uq_workers_pid", "workers", ["pid"], unique=True),
            "rows that break workers's new unique index uq_workers_pid",
        ),
    ],
)
def test_what_programs_would_miss_is_found(work: Callable[[Operations], object], what: str) -> None:
    assert what in change(work)


def test_a_column_that_has_to_be_given_shuts_older_programs_out() -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("CREATE TABLE a (b TEXT)")
        before = shape(connection)
        connection.exec_driver_sql("ALTER TABLE a ADD COLUMN c TEXT NOT NULL DEFAULT ''")
        assert missed(before, shape(connection)) == []
        connection.exec_driver_sql("DROP TABLE a")
        connection.exec_driver_sql("CREATE TABLE a (b TEXT, c TEXT NOT NULL)")
        assert missed(before, shape(connection)) == ["rows without a.c"]


def _expand(op: Operations) -> None:
    op.add_column("jobs", sa.Column("mood", sa.Text()))
    op.add_column("jobs", sa.Column("moods", sa.Integer(), server_default="1", nullable=False))
    op.create_table("moods", sa.Column("name", sa.Text(), primary_key=True))
    op.create_index("ix_jobs_mood", "jobs", ["mood"])
    op.drop_index("ix_jobs_usage", "jobs")


def test_what_only_adds_ends_nobody() -> None:
    assert change(_expand) == []
