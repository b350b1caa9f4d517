"""Reviews and the audit log go when their time is over, and not before."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from flux_core.database.audit import note
from flux_core.database.old_records import drop_entries, drop_reviews
from flux_core.database.reviews import open_report
from flux_core.database.tables import audit, reviews
from flux_core.errors import ConfigurationError
from flux_core.jobs import Account
from flux_core.maintenance import DAY, Retention, chores
from flux_core.settings import load_settings
from tests.database.scene import Scene, a_reply


async def kept(scene: Scene, table: sa.Table) -> int:
    count = sa.select(sa.func.count()).select_from(table)
    return await scene.db.read(lambda connection: connection.execute(count).scalar_one())


async def test_entries_of_the_audit_log_are_dropped_by_age(scene: Scene) -> None:
    now = time.time()  # the database has a clock of its own
    for days in (100, 60, 31, 1):
        await scene.db.write(note, 7, 9, "ban", now - days * DAY)
    assert await scene.db.write(drop_entries, now - 50 * DAY, 500) == 2
    assert await scene.db.write(drop_entries, now - 50 * DAY, 500) == 0
    assert await kept(scene, audit) == 2
    with pytest.raises(IntegrityError, match="append-only"):
        await scene.db.write(drop_entries, now, 500)
    assert await kept(scene, audit) == 2


async def test_reviews_are_dropped_after_their_verdict_was_told(scene: Scene) -> None:
    ids = []
    for user in (1, 2, 3):
        job = await scene.submit(Account(7, user), reply_to=a_reply())
        await scene.db.write(open_report, job, 20 + user, "not nice", scene.clock.now)
        ids.append(job.id)
    for job_id, told in zip(ids[:2], (True, False), strict=True):
        decided = {"verdict": "dismissed", "decided_by": 9, "decided_at": scene.clock.now, "told": told}
        change = sa.update(reviews).where(reviews.c.job_id == job_id).values(decided)
        await scene.db.write(lambda connection, change=change: connection.execute(change).rowcount)
    assert await scene.db.write(drop_reviews, scene.clock.now, 500) == 0
    assert await scene.db.write(drop_reviews, scene.clock.now + 1, 500) == 1
    assert await kept(scene, reviews) == 2


async def test_each_period_is_a_chore_of_its_own(scene: Scene) -> None:
    def names(retention: Retention) -> set[str]:
        return {chore.name for chore in chores(scene.db, scene.queue, scene.store, retention)}

    always = names(Retention())
    assert len(names(Retention(audit_days=40)) - always) == 1
    assert len(names(Retention(reviews_days=5)) - always) == 1


def test_the_audit_log_is_kept_for_a_month_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEP_AUDIT_DAYS", "29")
    with pytest.raises(ConfigurationError, match=r"KEEP_AUDIT_DAYS: .*30 days"):
        load_settings(_env_file=None)
