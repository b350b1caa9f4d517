"""What hosted providers cost: one row for each job and provider, reserved with the claim, corrected when it ends."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import spending
from flux_core.jobs import Job

c = spending.c

_DELETE = sa.delete(spending).where(c.job_id == bindparam("job"), c.provider == bindparam("by"))
_INSERT = sa.insert(spending).inline()
_CORRECT = (
    sa.update(spending)
    .where(c.job_id == bindparam("job"), c.provider == bindparam("by"))
    .values(microdollars=bindparam("amount"))
)
_OF_DAY = (
    sa.select(c.provider, sa.func.sum(c.microdollars).label("microdollars"))
    .where(c.day == bindparam("of"))
    .group_by(c.provider)
)


_OF_GUILD = sa.select(sa.func.coalesce(sa.func.sum(c.microdollars), 0)).where(
    c.guild_id == bindparam("guild"), c.day == bindparam("of")
)


def reserve(connection: Connection, job: Job, provider: str, expected: int, day: str, now: float) -> None:
    """Count ``expected`` millionths of a dollar towards ``day``, in place of what the provider had for this job."""
    connection.execute(_DELETE, {"job": job.id, "by": provider})
    row = {"job_id": job.id, "provider": provider, "guild_id": job.account.guild_id, "day": day, "at": now}
    connection.execute(_INSERT, row | {"microdollars": expected})


def correct(connection: Connection, job_id: str, provider: str, amount: int) -> None:
    """Set what a job really cost; nothing where nothing was reserved."""
    connection.execute(_CORRECT, {"job": job_id, "by": provider, "amount": amount})


def of_guild(connection: Connection, guild_id: int, day: str) -> int:
    """Return what hosted providers got for a guild on ``day``, in millionths of a dollar; what is reserved counts."""
    return int(connection.execute(_OF_GUILD, {"guild": guild_id, "of": day}).scalar_one())


def on(connection: Connection, day: str) -> dict[str, int]:
    """Return what every provider got on ``day``, in millionths of a dollar."""
    return {row.provider: int(row.microdollars) for row in connection.execute(_OF_DAY, {"of": day})}
