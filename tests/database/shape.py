"""What a database offers to a program: its tables, columns and rules, and what a program would miss after a change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

BOOKKEEPING = "alembic_version"


@dataclass(frozen=True)
class Column:
    """A column as a program that writes rows has to know it."""

    type: str
    nullable: bool
    filled: bool
    """Whether it has a value where a row is written without it."""


@dataclass(frozen=True)
class Table:
    """A table, with all that can refuse a row."""

    columns: dict[str, Column]
    rules: frozenset[str]
    """Primary key, foreign keys, unique constraints and indexes, checks."""


def shape(connection: Connection) -> dict[str, Table]:
    """Return the tables of a database by name."""
    inspector = sa.inspect(connection)
    return {name: _table(inspector, name) for name in inspector.get_table_names() if name != BOOKKEEPING}


def _table(inspector: sa.Inspector, name: str) -> Table:
    key = inspector.get_pk_constraint(name)["constrained_columns"]
    rules = {f"primary key {key}"}
    rules |= {f"reference {one['constrained_columns']}" for one in inspector.get_foreign_keys(name)}
    rules |= {f"unique {one['column_names']}" for one in inspector.get_unique_constraints(name)}
    rules |= {f"unique index {one['name']}" for one in inspector.get_indexes(name) if one["unique"]}
    rules |= {f"check {' '.join(str(one['sqltext']).split())}" for one in inspector.get_check_constraints(name)}
    columns = {
        one["name"]: Column(str(one["type"]), one["nullable"], one["nullable"] or one["default"] is not None)
        for one in inspector.get_columns(name)
    }
    return Table(columns, frozenset(rules))


def missed(before: dict[str, Table], after: dict[str, Table]) -> list[str]:
    """Return what a program written for ``before`` would miss in ``after``, or be refused for; empty: it works on."""
    return list(_missed(before, after))


def _missed(before: dict[str, Table], after: dict[str, Table]) -> Iterator[str]:
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            yield f"the table {name}"
            continue
        for column, was in old.columns.items():
            now = new.columns.get(column)
            if now is None:
                yield f"the column {name}.{column}"
            elif now.type != was.type:
                yield f"the type {was.type} of {name}.{column}"
            elif (was.filled and not now.filled) or (was.nullable and not now.nullable):
                yield f"that {name}.{column} may be left out"
        yield from (
            f"rows without {name}.{column}"
            for column, now in new.columns.items()
            if column not in old.columns and not now.filled
        )
        yield from (f"rows that break {name}'s new {rule}" for rule in sorted(new.rules - old.rules))
