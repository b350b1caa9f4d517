"""How fast each provider was seen to draw each model."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import locks
from flux_core.database.tables import speeds
from flux_core.estimates import Speed

c = speeds.c
_FIELDS = ("samples", "units", "seconds", "units_squared", "units_seconds")

_ALL = sa.select(speeds)
_IS_IT = (c.provider == bindparam("by"), c.model == bindparam("of"))
_ONE = _ALL.where(*_IS_IT)
_UPDATE = sa.update(speeds).where(*_IS_IT).values({name: bindparam(f"new_{name}") for name in _FIELDS})
_INSERT = sa.insert(speeds).inline()


def known(connection: Connection) -> dict[tuple[str, str], Speed]:
    """Return the speed of every (provider, model) that was measured."""
    return {
        (row.provider, row.model): Speed(*(getattr(row, name) for name in _FIELDS)) for row in connection.execute(_ALL)
    }


@locks.may_be_undone
def record(connection: Connection, provider: str, model: str, units: float, seconds: float) -> None:
    """Add one measured job of ``units`` megapixel-steps."""
    locks.measures(connection)
    key = {"by": provider, "of": model}
    row = connection.execute(_ONE, key).one_or_none()
    before = Speed() if row is None else Speed(*(getattr(row, name) for name in _FIELDS))
    after = asdict(before.observed(units, seconds))
    if row is None:
        connection.execute(_INSERT, after | {"provider": provider, "model": model})
    else:
        connection.execute(_UPDATE, {f"new_{name}": value for name, value in after.items()} | key)
