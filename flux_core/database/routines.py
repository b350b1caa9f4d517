"""Whole transactions in one message to a PostgreSQL server, beneath what SQLAlchemy does around every statement.

What a member or a worker waits for most (a submit, a claim, a result) is one statement that has to begin after its
locks were taken, since a statement sees what was committed before it began. A routine of the server's own does both:
each statement in it begins anew, and the call is a transaction by itself. The statements are SQLAlchemy's, compiled
once; each connection makes the routines it calls in ``pg_temp``, so they belong to the program that calls them, and
programs of two versions do not meet in them.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

import asyncpg
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

from flux_core.database.locks import Contended
from flux_core.database.opening import driver_of

_DIALECT: sa.Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]
_BEGINS: sa.Select[Any] = sa.select(sa.literal_column("1"))
_NUMBERED = re.compile(r"\$(\d+)")


class _Text:
    """Compiled statements that share their numbered parameters; constants are written out."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        """Parameter → its type, in order."""

    def of(self, statement: sa.ClauseElement) -> str:
        compiled: Any = statement.compile(dialect=_DIALECT)
        written = [self._parameter(compiled.binds[name]) for name in compiled.positiontup]
        return _NUMBERED.sub(lambda found: written[int(found[1]) - 1], compiled.string)

    def _parameter(self, bound: sa.BindParameter[Any]) -> str:
        if not bound.required:
            if bound.value is None:
                return "NULL"
            write = bound.type.dialect_impl(_DIALECT).literal_processor(_DIALECT)
            assert write is not None
            return str(write(bound.value))
        self.names.setdefault(bound.key, bound.type.compile(_DIALECT))
        return f"${list(self.names).index(bound.key) + 1}"


class Direct:
    """A query that runs beneath SQLAlchemy: by itself, in queries marked so (``locks.in_a_message``), before their
    transaction has begun; else as a part of it.
    """

    _writes = False

    def __init__(self, statement: sa.Select[Any]) -> None:
        """Run ``statement``."""
        self._statement = statement

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the rows, as tuples whose fields have the names of the columns."""
        words, names = self._compiled
        arguments = [parameters[name] for name in names]
        driver = driver_of(connection)
        if not (driver.in_a_message or driver.is_in_transaction()):
            connection.execute(_BEGINS)
        driver.begun |= self._writes
        records = _run(connection, lambda driver: driver.fetch(words, *arguments))
        make = self._row._make
        return [make(record) for record in records]

    @cached_property
    def _compiled(self) -> tuple[str, tuple[str, ...]]:
        text = _Text()
        return text.of(self._statement), tuple(text.names)

    @cached_property
    def _row(self) -> Any:
        return namedtuple("_row", [column.name for column in self._statement.selected_columns])


class Routine(Direct):
    """A statement with what precedes and follows it, as one transaction."""

    _writes = True

    def __init__(
        self,
        name: str,
        statement: sa.Select[Any],
        *,
        before: Sequence[str | sa.ClauseElement] = (),
        provided: sa.Exists | None = None,
        after: Sequence[sa.ClauseElement] = (),
    ) -> None:
        """Run ``before`` (selects, such as locks), ``statement`` for its rows, and ``after`` (that return none).

        Where ``provided`` does not hold once ``before`` is done, there are no rows, and nothing is changed.
        """
        super().__init__(statement)
        self._name, self._before, self._provided, self._after = name, before, provided, after

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the rows, as ``Direct``; raises Contended where the server lets nobody make routines."""
        driver = driver_of(connection)
        if self._name not in driver.routines:
            _run(connection, lambda driver: driver.execute(self._made[0]))
            driver.routines.add(self._name)
        return super().rows(connection, parameters)

    @cached_property
    def _made(self) -> tuple[str, dict[str, str]]:
        text = _Text()
        steps = [f"PERFORM {_selected(one if isinstance(one, str) else text.of(one))};" for one in self._before]
        if self._provided is not None:
            steps.append(f"IF NOT {text.of(self._provided)} THEN RETURN; END IF;")
        steps.append(f"RETURN QUERY {text.of(self._statement)};")
        steps += [f"{text.of(one)};" for one in self._after]
        columns = ", ".join(
            f"{_DIALECT.identifier_preparer.quote(column.name)} {column.type.compile(_DIALECT)}"
            for column in self._statement.selected_columns
        )
        head = f"CREATE FUNCTION pg_temp.{self._name}({', '.join(text.names.values())}) RETURNS TABLE ({columns})"
        # What a name means that is both a column's and a field's of the result: the column's.
        body = "\n".join(("#variable_conflict use_column", "BEGIN", *steps, "END"))
        return f"{head} LANGUAGE plpgsql AS $routine$\n{body}\n$routine$", text.names

    @cached_property
    def _compiled(self) -> tuple[str, tuple[str, ...]]:
        names = self._made[1]
        places = ", ".join(f"${number + 1}" for number in range(len(names)))
        return f"SELECT * FROM pg_temp.{self._name}({places})", tuple(names)


def _selected(select: str) -> str:
    """Return what a select selects, as PL/pgSQL wants it in a statement of its own."""
    assert select.startswith("SELECT ")
    return select.removeprefix("SELECT ")


def _run(connection: Connection, what: Callable[[Any], Awaitable[Any]]) -> Any:
    """Have the driver's connection do something; raise its errors as SQLAlchemy would, which shows no parameters."""
    adapted: Any = connection.connection.dbapi_connection
    try:
        return adapted.run_async(what)
    except asyncpg.InsufficientPrivilegeError:
        raise Contended from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        _raise_as_usual(connection, adapted, error)
    except BaseException:
        connection.invalidate()  # cancelled or out of time: nobody knows what the server is doing
        raise


def _raise_as_usual(connection: Connection, adapted: Any, error: Exception) -> NoReturn:
    dialect = connection.dialect
    base = dialect.loaded_dbapi.Error
    try:
        adapted._handle_exception(error)
    except base as wrapped:
        ended = dialect.is_disconnect(wrapped, adapted, None) or isinstance(error, asyncpg.InternalClientError)
        if ended:
            connection.invalidate(wrapped)
        raise sa.exc.DBAPIError.instance(
            None, None, wrapped, base, hide_parameters=True, connection_invalidated=ended, dialect=dialect
        ) from error
    raise error
