"""How fast each model was seen to draw."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import speeds
from flux_core.estimates import Speed

c = speeds.c
_FIELDS = ("samples", "units", "seconds", "units_squared", "units_seconds")

_ALL = sa.select(speeds)
_ONE = _ALL.where(c.model == bindparam("of"))
_UPDATE = (
    sa.update(speeds).where(c.model == bindparam("of")).values({name: bindparam(f"new_{name}") for name in _FIELDS})
)
_INSERT = sa.insert(speeds).inline()


def known(connection: Connection) -> dict[str, Speed]:
    """Return the speed of every model that was measured."""
    return {row.model: Speed(*(getattr(row, name) for name in _FIELDS)) for row in connection.execute(_ALL)}


def record(connection: Connection, model: str, units: float, seconds: float) -> None:
    """Add one measured job of ``units`` megapixel-steps."""
    row = connection.execute(_ONE, {"of": model}).one_or_none()
    before = Speed() if row is None else Speed(*(getattr(row, name) for name in _FIELDS))
    after = asdict(before.observed(units, seconds))
    if row is None:
        connection.execute(_INSERT, after | {"model": model})
    else:
        connection.execute(_UPDATE, {f"new_{name}": value for name, value in after.items()} | {"of": model})
