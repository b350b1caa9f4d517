"""How fast each device was seen to draw pictures together (see ``flux_core.batching``)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.batching import UNSEEN, Pace
from flux_core.database import locks
from flux_core.database.tables import batches

c = batches.c

_IS_IT = (c.device == bindparam("on"), c.model == bindparam("of"), c.scale == bindparam("at"))
_KNOWN = sa.select(c.pictures, c.samples, c.pace).where(*_IS_IT)
_UPDATE = (
    sa.update(batches)
    .where(*_IS_IT, c.pictures == bindparam("number"))
    .values(samples=bindparam("new_samples"), pace=bindparam("new_pace"))
)
_INSERT = sa.insert(batches).inline()


def known(connection: Connection, device: str, model: str, scale: int) -> dict[int, Pace]:
    """Return the paces of a device for a model and a size of picture, by the number of pictures drawn at once."""
    rows = connection.execute(_KNOWN, {"on": device, "of": model, "at": scale})
    return {row.pictures: Pace(row.samples, row.pace) for row in rows}


@locks.may_be_undone
def record(
    connection: Connection, device: str, model: str, scale: int, pictures: int, units: float, seconds: float
) -> None:
    """Add one drawing: ``pictures`` at once, ``units`` megapixel-steps in all, in ``seconds``."""
    locks.measures(connection)
    before = known(connection, device, model, scale).get(pictures)
    after = (before or UNSEEN).observed(seconds / units)
    if before is None:
        key = {"device": device, "model": model, "scale": scale, "pictures": pictures}
        connection.execute(_INSERT, key | {"samples": after.samples, "pace": after.seconds})
    else:
        key = {"on": device, "of": model, "at": scale, "number": pictures}
        connection.execute(_UPDATE, key | {"new_samples": after.samples, "new_pace": after.seconds})
